"""Several processes at one training, as ``accelerate launch`` starts them.

The main process (rank 0) locks the stage, decides what is to do, prints and writes; the others only
compute.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from e2h_cli.common.errors import E2HError

T = TypeVar("T")


def world_size() -> int:
    """How many processes work together."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def is_main_process() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def run_on_main(decide: Callable[[], T]) -> T:
    """What the main process finds, in every process; the others wait for it.

    Raises:
        E2HError: in the main process, what ``decide`` raised. The others leave quietly.
    """
    if world_size() == 1:
        return decide()
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    if PartialState._shared_state == {}:
        # Threads of the process group that still run when the process ends would abort it.
        # Sampling may take the main process hours, and the others wait.
        state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=7))
        atexit.register(state.destroy_process_group)
    found: list[T | None] = [None]
    code: list[int] = [0]
    failure: E2HError | None = None
    if is_main_process():
        try:
            found[0] = decide()
        except E2HError as error:
            failure, code[0] = error, error.exit_code
    broadcast_object_list(code)
    if failure is not None:
        raise failure
    if code[0]:
        raise SystemExit(code[0])
    broadcast_object_list(found)
    return found[0]  # type: ignore[return-value]


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


def split_between_processes(items: Sequence[T]) -> list[T]:
    """The part of a list that this process works on."""
    return list(items[rank() :: world_size()])


def wait_for_everyone() -> None:
    """Go on when all processes have come here."""
    run_on_main(lambda: None)


def all_reduce_sum(tensors: Sequence[Any]) -> None:
    """Replace tensors by their sums over the processes."""
    if world_size() == 1:
        return
    import torch

    for tensor in tensors:
        # Between GPUs only what lies on them is sent.
        on_gpu = torch.distributed.get_backend() == "nccl"
        sent = tensor.cuda() if on_gpu and not tensor.is_cuda else tensor
        torch.distributed.all_reduce(sent)
        if sent is not tensor:
            tensor.copy_(sent)
