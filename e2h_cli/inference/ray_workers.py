"""Workers as tasks of a Ray cluster, whose machines must all see the run folder."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence
from typing import Any

from e2h_cli.common.errors import InputError, reason_of
from e2h_cli.inference.workers import POLL_SECONDS, JobFunction, Record, WorkerDied

logger = logging.getLogger(__name__)


class RayWorkers:
    """A Ray task per job, with its own GPUs where the cluster has any.

    Raises InputError if Ray is not installed, or there is no cluster at ``address``.
    """

    def __init__(self, function: JobFunction, gpus_per_job: int, address: str) -> None:
        self._ray = _connect(address)
        gpus = gpus_per_job if self._ray.cluster_resources().get("GPU") else 0
        # Ray's own retries know nothing of progress.
        options = {"num_gpus": gpus, "num_cpus": 1, "max_retries": 0}
        self._task = self._ray.remote(function).options(**options)

    def start(self, job: Any, slot: int) -> Any:
        """Submit a task; it waits for free CPUs and GPUs."""
        return self._task.remote(job)

    def wait(self, handles: Sequence[Any]) -> list[Any]:
        """Those that have ended."""
        done, _ = self._ray.wait([*handles], num_returns=1, timeout=POLL_SECONDS)
        return list(done)

    def result(self, handle: Any) -> Record:
        """What the job returned."""
        exceptions = self._ray.exceptions
        try:
            record: Record = self._ray.get(handle)
        except exceptions.RayTaskError as error:
            raise error.cause from error
        except exceptions.RayError as error:
            raise WorkerDied(reason_of(error)) from error
        return record

    def close(self) -> None:
        """Leave the cluster, which ends the tasks."""
        self._ray.shutdown()


def _connect(address: str) -> Any:
    """Import Ray and connect to a cluster; return the module."""
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "--ray: Ray is not installed", hint="install it with: pip install 'e2h[ray]'"
        ) from error
    options = {"include_dashboard": False} if address == "local" else {"address": address}
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdecimal() and "//" not in host:
            # Where nothing listens, Ray itself would try for minutes.
            socket.create_connection((host, int(port)), timeout=5).close()
        ray.init(log_to_driver=False, logging_level="error", **options)
    # Ray raises a bare Exception where a machine is too slow to start it.
    except Exception as error:
        reason = getattr(error, "strerror", None) or reason_of(error)
        raise InputError(
            f"--ray {address}: {reason}", hint="give the address of a cluster, auto or local"
        ) from error
    return ray
