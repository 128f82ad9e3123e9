"""Share work among engines: here, in a process per share with its own GPUs, or as Ray tasks.

Workers share nothing but the folder of part files. Each finds out by itself what is missing of its
share and writes its own part files, so a worker that dies is replaced by one that goes on from what
is on disk.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

from e2h_cli.common.console import progress_bar
from e2h_cli.common.errors import InputError, RunError
from e2h_cli.common.parquet_store import ShardedParquetStore
from e2h_cli.inference.local_workers import LocalWorkers
from e2h_cli.inference.ray_workers import RayWorkers
from e2h_cli.inference.workers import JobFunction, Record, WorkerDied, Workers, gpu_count
from e2h_cli.settings.base import WorkerSettings

logger = logging.getLogger(__name__)

# Workers of one share that may die in a row without having written anything.
MAX_DEATHS = 3


class SharedJob(Protocol):
    """A picklable dataclass that says what is to be made, and where; part of it is a job, too."""

    @property
    def writer(self) -> str:
        """Path of the folder of its part files in the folder of the store."""

    def share(self, index: int, count: int, writer: str) -> Self:
        """Share ``index``, from 0, of ``count``, which writes in a folder of its own.

        What a share holds does not depend on what is on disk. Shares can be shared again.
        """

    def store(self) -> ShardedParquetStore:
        """Everything on disk, of all shares; new rows go to the folder of the writer."""


def gpus_per_engine(engine_args: Mapping[str, Any]) -> int:
    """GPUs that one engine uses: product of vLLM's parallel sizes.

    Raises:
        InputError: a size is not a positive whole number.
    """
    sizes = [engine_args.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline")]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise InputError(f"--engine-arg: parallel sizes {sizes} are not whole numbers from 1")
    return int(sizes[0] * sizes[1])


def run_shared(
    function: JobFunction,
    job: SharedJob,
    settings: WorkerSettings,
    *,
    title: str,
    total: int,
    in_worker: bool = False,
    gpus_per_job: int = 1,
) -> Iterator[Record]:
    """Share a job among engines, with a progress bar; yield what those return that did something.

    Args:
        function: picklable; called as ``function(job)`` in a worker, and in this process as
            ``function(job, on_progress)`` where ``on_progress`` takes a number of new samples. It
            does what is missing of the job on disk, and returns an empty record if nothing is.
        job: the whole.
        settings: how many engines, and where; one engine works in this process.
        title, total: of the progress bar; the number of missing samples.
        in_worker: start a process even for one engine, so that its GPU memory is free afterwards.
        gpus_per_job: GPUs of one engine.

    Raises:
        InputError: there are too few GPUs, or no Ray cluster.
        RunError: workers of one share died again and again. What they had written is on disk.
    """
    count = settings.workers or gpu_count() // gpus_per_job or 1
    jobs = [job.share(i, count, f"{job.writer}/{i}-of-{count}") for i in range(count)]
    with progress_bar() as bar:
        task = bar.add_task(title, total=total, unit="samples", note="", start=False)

        def on_progress(more: int) -> None:
            bar.start_task(task)
            bar.advance(task, more)

        if count == 1 and settings.ray is None and not in_worker:
            yield from filter(None, [function(jobs[0], on_progress)])
            return
        bar.start_task(task)
        store = job.store()
        before = store.rows_of_writer()

        def update() -> None:
            bar.update(task, completed=min(total, store.rows_of_writer() - before))

        workers: Workers
        if settings.ray is None:
            workers = LocalWorkers(function, count, gpus_per_job)
        else:
            workers = RayWorkers(function, gpus_per_job, settings.ray)
        yield from filter(None, run_jobs(workers, jobs, update))


def run_jobs(
    workers: Workers, jobs: Sequence[SharedJob], on_poll: Callable[[], None]
) -> Iterator[Record]:
    """Run each job in a worker of its own; one that dies is replaced.

    ``on_poll`` is called about every second.

    Raises:
        RunError: see ``run_shared``.
    """
    try:
        shares = [_Share(job) for job in jobs]
        waiting = {workers.start(share.job, i): i for i, share in enumerate(shares)}
        while waiting:
            for handle in workers.wait([*waiting]):
                slot = waiting.pop(handle)
                try:
                    yield workers.result(handle)
                except WorkerDied as death:
                    waiting[workers.start(shares[slot].after(death), slot)] = slot
            on_poll()
    finally:
        workers.close()


class _Share:
    """A job and the deaths of its workers."""

    def __init__(self, job: SharedJob) -> None:
        self.job = job
        self._store = job.store()
        self._rows = self._store.rows_of_writer()
        self._deaths = 0  # since the last new row
        self._attempts = 0

    def after(self, death: WorkerDied) -> SharedJob:
        """The job for the next worker."""
        rows = self._store.rows_of_writer()
        self._deaths = 1 if rows > self._rows else self._deaths + 1
        if self._deaths >= MAX_DEATHS:
            raise RunError(
                f"a worker was killed {self._deaths} times in a row before it had written anything "
                f"({death}; out of memory?)",
                where=self.job.writer,
                hint="finished work is kept; the same command goes on from there",
            )
        self._rows = rows
        self._attempts += 1
        logger.warning(
            f"a worker of {self.job.writer} was killed ({death}) after {rows:,} samples; another "
            "one goes on from there"
        )
        # A machine that is only cut off may still write: nobody else writes in its folder.
        writer = f"{self.job.writer}/again-{self._attempts}"
        return dataclasses.replace(self.job, writer=writer)  # type: ignore[type-var]
