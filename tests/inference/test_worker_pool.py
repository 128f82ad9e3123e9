"""Workers get GPUs of their own, and a killed one is replaced as long as there is progress."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError, RunError
from e2h_cli.common.parquet_store import SCORE_SCHEMA, ShardedParquetStore
from e2h_cli.inference.local_workers import LocalWorkers
from e2h_cli.inference.ray_workers import RayWorkers
from e2h_cli.inference.worker_pool import gpus_per_engine, run_jobs, run_shared
from e2h_cli.settings.base import WorkerSettings

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is not installed here; pip install 'e2h[ray]'"
)
BACKENDS = ["local", pytest.param("ray", marks=needs_ray)]


@dataclass(frozen=True)
class Numbers:
    """Rows with the numbers that are to be written; the worker is killed at some of them."""

    folder: Path
    numbers: tuple[int, ...]
    deadly: tuple[int, ...] = ()
    killed_before_writing: bool = False
    writer: str = "parts"

    def store(self) -> ShardedParquetStore:
        target, folder = self.folder / "all.parquet", self.folder / "unfinished"
        return ShardedParquetStore(target, folder, SCORE_SCHEMA, self.writer, 1e-9)

    def share(self, index: int, count: int, writer: str) -> Numbers:
        return replace(self, writer=writer, numbers=self.numbers[index::count])


def write_numbers(job: Numbers, on_progress: object = None) -> dict[str, object]:
    store, written = job.store(), 0
    for number in job.numbers:
        if ("id", number) in store.keys():  # noqa: SIM118
            continue
        deadly = number in job.deadly
        if deadly and job.killed_before_writing:
            os.kill(os.getpid(), signal.SIGKILL)
        store.add([{"id": "id", "sample": number, "step_scores": [], "outcome_score": 0.5}])
        store.flush()
        written += 1
        if deadly:
            os.kill(os.getpid(), signal.SIGKILL)
    return {"written": written} if written else {}


def settings(backend: str, workers: int) -> WorkerSettings:
    ray = "local" if backend == "ray" else None
    return WorkerSettings.model_validate({"workers": workers, "ray": ray})


def visible_gpus(job: Numbers) -> dict[str, object]:
    """Wait for the other job, so that each has a worker of its own."""
    own = job.folder / job.writer
    own.touch()
    deadline = time.monotonic() + 60
    while len([*job.folder.glob("worker-*")]) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return {"job": own.name, "gpus": os.environ["CUDA_VISIBLE_DEVICES"]}


def bad_input(job: Numbers) -> dict[str, object]:
    raise InputError("not good", where=job.writer, hint="give another")


def fails_oddly(job: Numbers) -> dict[str, object]:
    class LocalError(Exception):
        pass

    raise LocalError("cannot be sent")


def test_an_engine_uses_the_product_of_its_parallel_sizes() -> None:
    assert gpus_per_engine({}) == 1
    assert gpus_per_engine({"tensor_parallel_size": 2, "pipeline_parallel_size": 3}) == 6
    with pytest.raises(InputError, match=r"parallel sizes \['x', 1\] are not whole numbers"):
        gpus_per_engine({"tensor_parallel_size": "x"})


def test_more_gpus_than_there_are_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with pytest.raises(InputError, match="2 workers with 2 GPUs each, and 3 GPUs here"):
        LocalWorkers(write_numbers, 2, 2)


@pytest.mark.slow
def test_workers_do_not_share_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    jobs = [Numbers(tmp_path, (), writer=f"worker-{i}") for i in range(2)]
    records = list(run_jobs(LocalWorkers(visible_gpus, 2, 2), jobs, lambda: None))
    assert {record["job"] for record in records} == {"worker-0", "worker-1"}
    assert {record["gpus"] for record in records} == {"4,5", "6,7"}


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_killed_workers_are_replaced_and_cost_nothing(
    backend: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Three deaths of one share and one of the other, each after a row that is on disk."""
    job = Numbers(tmp_path, tuple(range(20)), deadly=(0, 2, 4, 7))
    records = list(run_shared(write_numbers, job, settings(backend, 2), title="", total=20))
    rows = Counter(
        number for table in job.store().tables(["id"]) for number in table["sample"].to_pylist()
    )
    assert rows == Counter(range(20))
    # Nothing was written twice: each part file has one row.
    assert len([*tmp_path.rglob("part-*.parquet")]) == 20
    # Only those that came to their end have a record.
    assert sorted(record["written"] for record in records) == [6, 7]
    told = [r.message for r in caplog.records if "another one goes on from there" in r.message]
    assert len(told) == 4


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_deaths_without_progress_are_one_error(backend: str, tmp_path: Path) -> None:
    job = Numbers(tmp_path, tuple(range(10)), deadly=(5,), killed_before_writing=True)
    with pytest.raises(RunError, match="a worker was killed 3 times in a row") as found:
        list(run_shared(write_numbers, job, settings(backend, 2), title="", total=10))
    assert "parts/1-of-2" in found.value.line
    # The other share, and what was done of this one, are on disk.
    assert {("id", n) for n in (1, 3)} <= set(job.store().keys())


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_error_of_a_worker_is_its_own(backend: str, tmp_path: Path) -> None:
    job = Numbers(tmp_path, (1, 2))
    with pytest.raises(InputError, match="not good; give another") as found:
        list(run_shared(bad_input, job, settings(backend, 2), title="", total=2))
    assert found.value.hint == "give another"


@pytest.mark.slow
def test_an_error_that_cannot_be_sent_is_told(tmp_path: Path) -> None:
    job = Numbers(tmp_path, (1, 2))
    with pytest.raises(RunError, match="a worker failed: LocalError: cannot be sent"):
        list(run_shared(fails_oddly, job, settings("local", 2), title="", total=2))


@pytest.mark.slow
def test_no_worker_outlives_the_others_failure(tmp_path: Path) -> None:
    workers = LocalWorkers(bad_input, 2, 1)
    with pytest.raises(InputError):
        list(run_jobs(workers, [Numbers(tmp_path, ())] * 2, lambda: None))
    assert not any(process.is_alive() for process in workers._processes.values())


def test_a_ray_address_where_nothing_listens_is_one_line() -> None:
    pytest.importorskip("ray")
    with pytest.raises(InputError, match=r"--ray 127.0.0.1:9: .*give the address of a cluster"):
        RayWorkers(write_numbers, 1, "127.0.0.1:9")
