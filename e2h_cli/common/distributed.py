"""Several processes that train together, as ``accelerate launch`` starts them.

Rank 0 locks the stage, decides what to do, prints and writes files; the other ranks only compute.
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
    """Number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def shards_models() -> bool:
    """Whether each process holds a part of the models (FSDP), as accelerate's config says."""
    return world_size() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def is_main_process() -> bool:
    """Whether this is rank 0, which prints and writes files."""
    return rank() == 0


def run_on_main(function: Callable[[], T]) -> T:
    """Run a function on rank 0 and broadcast its result.

    Raises:
        E2HError: on rank 0, what the function raised; the other ranks exit with its exit code.
    """
    if world_size() == 1:
        return function()
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    if PartialState._shared_state == {}:
        # The other ranks may wait for hours while rank 0 samples. A process group that is not
        # destroyed before the interpreter ends can abort it.
        state = PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=7))
        atexit.register(state.destroy_process_group)
    found: list[T | None] = [None]
    code: list[int] = [0]
    failure: E2HError | None = None
    if is_main_process():
        try:
            found[0] = function()
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
    """Rank of this process, from 0."""
    return int(os.environ.get("RANK", "0")) if world_size() > 1 else 0


def split_between_processes(items: Sequence[T]) -> list[T]:
    """Every ``world_size``-th item, from this process's rank on."""
    return list(items[rank() :: world_size()])


def wait_for_everyone() -> None:
    """Block until all processes have reached this point."""
    run_on_main(lambda: None)


def all_reduce_sum(tensors: Sequence[Any]) -> None:
    """Sum each tensor over all processes, in place."""
    if world_size() == 1:
        return
    import torch

    for tensor in tensors:
        # NCCL sends tensors on GPUs only.
        on_gpu = torch.distributed.get_backend() == "nccl"
        sent = tensor.cuda() if on_gpu and not tensor.is_cuda else tensor
        torch.distributed.all_reduce(sent)
        if sent is not tensor:
            tensor.copy_(sent)
