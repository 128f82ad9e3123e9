"""Worker processes on this machine, each with GPUs of its own."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from e2h_cli.common.errors import InputError, RunError, reason_of
from e2h_cli.inference.workers import POLL_SECONDS, JobFunction, Record, WorkerDied, gpu_count

_SECONDS_TO_STOP = 10


class LocalWorkers:
    """A process per job. They end with this process, even if it is killed.

    Raises InputError if there are too few GPUs for all jobs.
    """

    def __init__(self, function: JobFunction, count: int, gpus_per_job: int) -> None:
        names = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpu_count())))
        gpus = [name.strip() for name in names.split(",") if name.strip()]
        if gpus and count * gpus_per_job > len(gpus):
            raise InputError(
                f"{count} workers with {gpus_per_job} GPUs each, and {len(gpus)} GPUs here",
                hint="lower --workers",
            )
        self._function = function
        self._gpus = [
            ",".join(gpus[i * gpus_per_job : (i + 1) * gpus_per_job]) for i in range(count)
        ]
        self._processes: dict[Connection, BaseProcess] = {}

    def start(self, job: Any, slot: int) -> Connection:
        """Start a process with the GPUs of a slot."""
        # Spawned, since a forked process cannot use CUDA.
        context = multiprocessing.get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        arguments = (self._function, job, self._gpus[slot], os.getpid(), sending)
        # Not a daemon: those may not start processes, as vLLM does.
        process = context.Process(target=_work, args=arguments, daemon=False)
        process.start()
        sending.close()
        self._processes[receiving] = process
        return receiving

    def wait(self, handles: Sequence[Connection]) -> list[Any]:
        """Those that have sent something or have ended."""
        return wait(handles, POLL_SECONDS)

    def result(self, handle: Connection) -> Record:
        """What the job returned."""
        try:
            done, value = handle.recv()
        except (EOFError, ConnectionError):
            done, value = None, None
        process = self._processes.pop(handle)
        handle.close()
        process.join()
        if done is None:
            code = process.exitcode or 0
            raise WorkerDied(signal.Signals(-code).name if code < 0 else f"exit code {code}")
        if not done:
            raise value
        record: Record = value
        return record

    def close(self) -> None:
        """End all processes."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.join(_SECONDS_TO_STOP)
            process.kill()
            process.join()


def _work(function: JobFunction, job: Any, gpus: str, parent: int, connection: Connection) -> None:
    """In a new process: take GPUs, do the job, send what it returns or raises."""
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus

    def exit_with_parent() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
    # What is finished is written before it stops.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        answer: tuple[bool, Any] = True, function(job)
    except KeyboardInterrupt:
        os._exit(130)
    except Exception as error:
        # Of another process only the text of a traceback can be shown.
        error.add_note(traceback.format_exc())
        answer = False, _sendable(error)
    connection.send(answer)


def _sendable(error: Exception) -> Exception:
    """The error, or what it says if it cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RunError(f"a worker failed: {type(error).__name__}: {reason_of(error)}")
    return error
