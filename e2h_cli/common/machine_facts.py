"""What ``e2h doctor`` looks at: facts about a machine, without a judgement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

TrialOutcome = Literal["sampled", "failed", "crashed", "timeout"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as ``nvidia-smi`` knows it; ``memory`` in bytes."""

    name: str
    memory: int
    driver: str


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """GPUs, their driver, and the build of torch.

    Attributes:
        gpus: those that the driver knows.
        device_files: whether there are device files of GPUs.
        driver_cuda: newest CUDA of the driver, 1000 * major + 10 * minor; None without libcuda.
        torch_version: None if torch is not installed.
        torch_cuda: CUDA that torch is built for, as "13.0"; empty for a build without it.
    """

    gpus: tuple[Gpu, ...] = ()
    device_files: bool = False
    driver_cuda: int | None = None
    torch_version: str | None = None
    torch_cuda: str = ""


@dataclass(frozen=True, slots=True)
class EngineTrial:
    """What became of a process that samples one token; ``detail``: an error or an exit code."""

    engine: str
    outcome: TrialOutcome
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """The disk under the run folder.

    Attributes:
        path: the run folder or, where it is not there yet, the nearest folder above it.
        file_system: its type.
        free: bytes that may still be written.
        total: bytes.
        free_inodes: files that may still be made.
        not_writable: why nothing can be written; empty if it can.
        no_rename: why a file cannot be replaced in one step.
        no_lock: why a lock does not keep another process out.
        seconds: that a small file took, with fsync.
    """

    path: Path
    file_system: str
    free: int
    total: int
    free_inodes: int = 10**9
    not_writable: str = ""
    no_rename: str = ""
    no_lock: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class HubFacts:
    """Access to the Hugging Face Hub.

    Attributes:
        offline: whether HF_HUB_OFFLINE is set.
        endpoint: address.
        unreachable: why it did not answer; empty if it did, or was not asked.
        token: whether there is one.
        cache: folder.
        cache_size: bytes that were counted.
        cache_size_is_least: whether there are more, for which there was no time.
        cache_not_writable: why nothing can be written there.
    """

    offline: bool
    endpoint: str
    unreachable: str
    token: bool
    cache: Path
    cache_size: int = 0
    cache_size_is_least: bool = False
    cache_not_writable: str = ""
