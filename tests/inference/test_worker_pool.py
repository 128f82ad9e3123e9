"""Workers get GPUs of their own, and a killed one is reported."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError, RunError
from e2h_cli.inference.worker_pool import gpus_per_engine, run_in_processes


def visible_gpus(own: Path) -> dict[str, object]:
    """Wait for the other job, so that each has a worker of its own."""
    own.touch()
    deadline = time.monotonic() + 60
    while len(list(own.parent.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return {"job": own.name, "gpus": os.environ["CUDA_VISIBLE_DEVICES"]}


def killed(job: int) -> dict[str, object]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def test_an_engine_uses_the_product_of_its_parallel_sizes() -> None:
    assert gpus_per_engine({}) == 1
    assert gpus_per_engine({"tensor_parallel_size": 2, "pipeline_parallel_size": 3}) == 6
    with pytest.raises(InputError, match=r"parallel sizes \['x', 1\] are not whole numbers"):
        gpus_per_engine({"tensor_parallel_size": "x"})


def test_more_gpus_than_there_are_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with pytest.raises(InputError, match="2 workers with 2 GPUs each, and 3 GPUs here"):
        list(run_in_processes(killed, [0, 1], 2, lambda: None))


@pytest.mark.slow
def test_workers_do_not_share_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    jobs = [tmp_path / "a", tmp_path / "b"]
    records = list(run_in_processes(visible_gpus, jobs, 2, lambda: None))
    assert {record["job"] for record in records} == {"a", "b"}
    assert {record["gpus"] for record in records} == {"4,5", "6,7"}


@pytest.mark.slow
def test_a_killed_worker_is_reported() -> None:
    with pytest.raises(RunError, match="a worker was killed"):
        list(run_in_processes(killed, [0, 1], 1, lambda: None))
