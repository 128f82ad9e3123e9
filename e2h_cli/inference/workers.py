"""What workers are: processes that run one job each, wherever they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

POLL_SECONDS = 1.0
Record = dict[str, Any]
JobFunction = Callable[..., Record]


class WorkerDied(Exception):
    """A worker was killed, or its machine was lost; the message says what is known."""


class Workers(Protocol):
    """Processes that run one job each."""

    def start(self, job: Any, slot: int) -> Any:
        """Start a worker in a slot, which nobody else uses as long as it lives; return a handle."""

    def wait(self, handles: Sequence[Any]) -> Sequence[Any]:
        """Those that have ended, after at most ``POLL_SECONDS``."""

    def result(self, handle: Any) -> Record:
        """What the job returned; what it raised is raised. Raises WorkerDied."""

    def close(self) -> None:
        """End all workers."""


def gpu_count() -> int:
    """GPUs that this process may use."""
    import torch

    return torch.cuda.device_count()
