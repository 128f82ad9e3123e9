"""Run jobs here, in a process per job with GPUs of its own, or as tasks of a Ray cluster.

Workers share nothing but the folder of part files. Each finds out by itself what is missing of its
job and writes its own part files, so a worker that dies is simply started again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from e2h_cli.common.console import progress_bar
from e2h_cli.common.errors import InputError, RunError
from e2h_cli.common.parquet_store import ShardedParquetStore

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
Record = dict[str, Any]
JobFunction = Callable[..., Record]


def gpu_count() -> int:
    """GPUs that this process may use."""
    import torch

    return torch.cuda.device_count()


def gpus_per_engine(engine_args: Mapping[str, Any]) -> int:
    """GPUs that one engine uses: product of vLLM's parallel sizes.

    Raises:
        InputError: a size is not a positive whole number.
    """
    sizes = [engine_args.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline")]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise InputError(f"--engine-arg: parallel sizes {sizes} are not whole numbers from 1")
    return int(sizes[0] * sizes[1])


def run_with_progress(
    function: JobFunction,
    jobs: Sequence[Any],
    store: ShardedParquetStore,
    *,
    title: str,
    total: int,
    in_worker: bool = False,
    gpus_per_job: int = 1,
    ray_address: str | None = None,
) -> Iterator[Record]:
    """Run jobs that write samples to a store, with a progress bar; yield what they return.

    Args:
        function: picklable; called as ``function(job)`` in a worker, and in this process as
            ``function(job, on_progress)`` where ``on_progress`` takes a number of new samples.
        jobs: one per worker; a single job is run in this process, unless ``in_worker``.
        store: of all jobs; the progress of workers is the number of new rows in it.
        title, total: of the progress bar; the number of missing samples.
        ray_address: of a Ray cluster; None for local processes.
    """
    with progress_bar() as bar:
        task = bar.add_task(title, total=total, unit="samples", note="", start=False)

        def on_progress(count: int) -> None:
            bar.start_task(task)
            bar.advance(task, count)

        if len(jobs) == 1 and ray_address is None and not in_worker:
            yield function(jobs[0], on_progress)
            return
        bar.start_task(task)
        before = store.rows_on_disk()

        def update() -> None:
            bar.update(task, completed=min(total, store.rows_on_disk() - before))

        if ray_address is None:
            yield from run_in_processes(function, jobs, gpus_per_job, update)
        else:
            yield from run_in_ray(function, jobs, gpus_per_job, update, ray_address)


def run_in_processes(
    function: JobFunction, jobs: Sequence[Any], gpus_per_job: int, on_poll: Callable[[], None]
) -> Iterator[Record]:
    """Run each job in a process with its own GPUs; ``on_poll`` is called every second.

    Raises:
        InputError: there are too few GPUs.
        RunError: a process was killed. What it had written is on disk.
    """
    names = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpu_count())))
    gpus = [name.strip() for name in names.split(",") if name.strip()]
    if gpus and len(jobs) * gpus_per_job > len(gpus):
        raise InputError(
            f"{len(jobs)} workers with {gpus_per_job} GPUs each, and {len(gpus)} GPUs here",
            hint="lower --workers",
        )
    # Spawned, since a forked process cannot use CUDA.
    context = multiprocessing.get_context("spawn")
    devices = context.Queue()
    for i in range(len(jobs)):
        devices.put(",".join(gpus[i * gpus_per_job : (i + 1) * gpus_per_job]))
    with ProcessPoolExecutor(
        len(jobs), context, initializer=_start_worker, initargs=(devices, os.getpid())
    ) as pool:
        waiting = {pool.submit(function, job) for job in jobs}
        try:
            while waiting:
                done, waiting = wait(waiting, _POLL_SECONDS, FIRST_COMPLETED)
                yield from (future.result() for future in done)
                on_poll()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list((pool._processes or {}).values()):
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise RunError(
                    "a worker was killed (out of memory?)",
                    hint="finished work is kept; the same command goes on from there",
                ) from error
            raise


def _start_worker(devices: Any, parent: int) -> None:
    """In a new worker: take GPUs, and exit when the main process is gone, even by kill -9."""
    gpus = devices.get()
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus

    def exit_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()


def run_in_ray(
    function: JobFunction,
    jobs: Sequence[Any],
    gpus_per_job: int,
    on_poll: Callable[[], None],
    address: str,
) -> Iterator[Record]:
    """Run each job as a Ray task with its own GPUs; all machines must see the run folder.

    Raises:
        InputError: Ray is not installed, or there is no cluster at ``address``.
        RunError: a task failed.
    """
    ray = _connect_to_ray(address)
    try:
        gpus = gpus_per_job if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(function).options(num_gpus=gpus, num_cpus=1, max_retries=3)
        waiting = [task.remote(job) for job in jobs]
        logger.info(f"{len(waiting)} Ray tasks")
        while waiting:
            done, waiting = ray.wait(waiting, timeout=_POLL_SECONDS)
            for reference in done:
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error
                except ray.exceptions.RayError as error:
                    raise RunError(
                        f"a Ray task failed: {str(error).strip().splitlines()[0]}",
                        hint="the same command goes on from what is on disk",
                    ) from error
            on_poll()
    finally:
        ray.shutdown()


def _connect_to_ray(address: str) -> Any:
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
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
        raise InputError(
            f"--ray {address}: {reason}", hint="give the address of a cluster, auto or local"
        ) from error
    return ray
