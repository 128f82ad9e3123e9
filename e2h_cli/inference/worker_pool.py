"""One engine, an engine per GPU, or Ray tasks: who draws the samples of a job.

Workers share nothing but the folder of parts. Each draws a share of its own, finds out by itself
what is missing of it, and writes parts of its own; so a worker that dies is simply started again.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from e2h_cli.common.console import console, progress_bar
from e2h_cli.common.errors import InputError, RunError

if TYPE_CHECKING:
    from e2h_cli.inference.sampling import SamplingJob
_POLL_SECONDS = 1.0


def sample_all(
    job: SamplingJob, todo: int, title: str, apart: bool = False
) -> Iterator[dict[str, Any]]:
    """Draw what is missing of a job; yield the records of the engines that did it.

    Args:
        job: the whole work, or a shard of it.
        todo: how many samples are missing.
        title: of the progress bar.
        apart: in processes of their own, so that the GPU's memory is free again at the end.
    """
    from e2h_cli.inference.sampling import sample

    count = job.settings.workers or gpu_count() // gpus_per_engine(job) or 1
    with progress_bar() as bar:
        task = bar.add_task(title, total=todo, unit="samples", note="", start=False)

        def advance(done: int) -> None:
            bar.start_task(task)
            bar.advance(task, done)

        if count == 1 and job.settings.ray is None and not apart:
            yield sample(job, advance)
            return
        bar.start_task(task)
        jobs = [
            replace(job, writer=f"{job.writer}-{i}-of-{count}", shares=(*job.shares, (i, count)))
            for i in range(count)
        ]
        store = job.store()
        before = store.rows_on_disk()

        def tick() -> None:
            bar.update(task, completed=min(todo, store.rows_on_disk() - before))

        if job.settings.ray is None:
            yield from run_in_processes(sample, jobs, gpus_per_engine(job), tick)
        else:
            yield from _with_ray(jobs, tick)


def gpus_per_engine(job: SamplingJob) -> int:
    """GPUs that one engine spreads over, as vLLM's own arguments say."""
    arguments = job.settings.engine_arg
    sizes = [arguments.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline")]
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise InputError(f"--engine-arg: parallel sizes {sizes} are not whole numbers from 1")
    return int(sizes[0] * sizes[1])


def gpu_count() -> int:
    """GPUs that this process may use."""
    import torch

    return torch.cuda.device_count()


def run_in_processes(
    function: Callable[[Any], dict[str, Any]],
    jobs: Sequence[Any],
    each: int,
    tick: Callable[[], None],
) -> Iterator[dict[str, Any]]:
    """One process per job, each with ``each`` GPUs of its own; ``tick`` is called every second.

    Raises:
        RunError: a process was killed. What it had written is on disk.
    """
    gpus = _visible()
    if gpus and len(jobs) * each > len(gpus):
        raise InputError(
            f"{len(jobs)} workers with {each} GPUs each, and {len(gpus)} GPUs here",
            hint="lower --workers",
        )
    # Spawned, since a forked process cannot use CUDA.
    context = multiprocessing.get_context("spawn")
    devices = context.Queue()
    for i in range(len(jobs)):
        devices.put(",".join(gpus[i * each : (i + 1) * each]))
    with ProcessPoolExecutor(
        len(jobs), context, initializer=_begin, initargs=(devices, os.getpid())
    ) as pool:
        futures = [pool.submit(function, job) for job in jobs]
        try:
            yield from _results(futures, tick)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list((pool._processes or {}).values()):
                process.terminate()
            raise


def _results(
    futures: list[Future[dict[str, Any]]], tick: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    waiting = set(futures)
    while waiting:
        try:
            for future in as_completed(waiting, timeout=_POLL_SECONDS):
                waiting.discard(future)
                yield future.result()
        except TimeoutError:
            pass
        except BrokenProcessPool as error:
            raise RunError(
                "a worker was killed (out of memory?)",
                hint="what the workers had finished is kept; the same command goes on from there",
            ) from error
        tick()


def _begin(devices: Any, parent: int) -> None:
    """In a new worker: take GPUs, and stop when the main process is gone, even by kill -9."""
    mine = devices.get()
    if mine:
        os.environ["CUDA_VISIBLE_DEVICES"] = mine

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _visible() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(i) for i in range(gpu_count())]


def _reach(address: str) -> None:
    """Raise InputError where nothing listens at host:port; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "//" in host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise InputError(
            f"--ray {address}: {error.strerror or error}",
            hint="give the address of a cluster, auto or local",
        ) from error


def _with_ray(jobs: list[SamplingJob], tick: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """One Ray task per job, with its GPUs; all machines must see the run folder."""
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "--ray: Ray is not installed", hint="install it with: pip install 'e2h[ray]'"
        ) from error
    address = jobs[0].settings.ray or ""
    _reach(address)
    try:
        ray.init(
            address=None if address == "local" else address,
            log_to_driver=False,
            logging_level="error",
            **({"include_dashboard": False} if address == "local" else {}),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"--ray {address}: {reason}", hint="give the address of a cluster, auto or local"
        ) from error
    from e2h_cli.inference.sampling import sample

    try:
        each = gpus_per_engine(jobs[0]) if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(sample).options(num_gpus=each, num_cpus=1, max_retries=3)
        waiting = [task.remote(job) for job in jobs]
        console.print(f"[dim]{len(waiting)} Ray tasks[/dim]")
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
            tick()
    finally:
        ray.shutdown()
