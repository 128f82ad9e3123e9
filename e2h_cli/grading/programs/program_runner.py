"""Runs programs in host processes, several at once, and gives their results."""

from __future__ import annotations

import os
import select
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence

from e2h_cli.common.errors import InputError, RunError, reason_of
from e2h_cli.grading.programs.host_process import HostFailure, HostProcess
from e2h_cli.grading.programs.program_run import Limits, ProgramJob, RunResult, is_json
from e2h_cli.grading.programs.sandboxes import open_sandbox
from e2h_cli.settings.base import SandboxName

_ATTEMPTS = 3  # to run a job; a host that ends by itself is replaced
_Results = tuple[RunResult, ...]


class ProgramRunner:
    """Runs programs that a model wrote, in a sandbox.

    The host processes stay for the next call of ``run``, and end with this object or when this
    process ends, however it does.

    Args:
        sandbox: ``auto`` takes the best that works here; ``none`` isolates nothing.
        limits: of a test and of a program.
        workers: programs at once; by default as many as there are cores.
        grace: seconds that a host may take on top of a program's limits before it is replaced.

    Raises:
        RunError: if the sandbox cannot be used; the message says what to install.
        InputError: for fewer than one worker.
    """

    def __init__(
        self,
        sandbox: SandboxName = "auto",
        *,
        limits: Limits | None = None,
        workers: int | None = None,
        grace: float = 30,
    ) -> None:
        if workers is not None and workers < 1:
            raise InputError("running programs needs at least one worker")
        self.limits = limits or Limits()
        self.workers = workers or len(os.sched_getaffinity(0))
        self._grace = grace
        self._owner = os.getpid()
        self._folder = tempfile.TemporaryDirectory(prefix="e2h-programs-")
        try:
            opened = open_sandbox(sandbox, self.limits, self._folder.name, grace=grace)
        except BaseException:
            self._folder.cleanup()
            raise
        self.sandbox = opened.name
        self._command = opened.command
        self._idle = [opened.host]

    def run(self, jobs: Sequence[ProgramJob]) -> Iterator[tuple[int, _Results]]:
        """Run programs on their inputs.

        Yields:
            In order of completion: the index of the job, and a result per input.
        """
        waiting = deque((index, 0) for index in range(len(jobs)))  # and the attempts so far
        busy: dict[HostProcess, int] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < self.workers:
                    index, attempts = waiting.popleft()
                    if (results := _without_running(jobs[index])) is not None:
                        yield index, results
                    else:
                        busy[self._give(index, jobs[index])] = attempts + 1
                for host, results in self._exchange(list(busy)) if busy else ():
                    attempts = busy.pop(host)
                    if results is not None:
                        self._idle.append(host)
                        yield host.index, results
                    elif attempts < _ATTEMPTS:
                        waiting.appendleft((host.index, attempts))
                    else:
                        yield host.index, _not_judged(jobs[host.index], "the sandbox kept ending")
        finally:
            for host in busy:  # an interrupt: nobody waits for their results any more
                host.kill()

    def _give(self, index: int, job: ProgramJob) -> HostProcess:
        try:
            host = self._idle.pop() if self._idle else self._start()
        except OSError as error:
            raise RunError(f"no process for programs can be started: {reason_of(error)}") from error
        host.give(index, job)
        return host

    def _start(self) -> HostProcess:
        return HostProcess(self._command, self.limits, self._folder.name, self._grace)

    def _exchange(self, hosts: Sequence[HostProcess]) -> list[tuple[HostProcess, _Results | None]]:
        """Wait until a host can be read or written; the hosts with results, None for a dead one."""
        poll = select.poll()
        by_descriptor = {}
        for host in hosts:
            by_descriptor[host.output] = by_descriptor[host.input] = host
            poll.register(host.output, select.POLLIN)
            if host.sending:
                poll.register(host.input, select.POLLOUT)
        now = time.monotonic()
        nearest = min(host.deadline for host in hosts)
        events = poll.poll(max(0.0, nearest - now) * 1000)
        done: dict[HostProcess, _Results | None] = {}
        for host in {by_descriptor[descriptor]: None for descriptor, _ in events}:
            try:
                if (results := host.exchange()) is not None:
                    done[host] = results
            except HostFailure:
                host.kill()
                done[host] = None
        for host in hosts:
            if host not in done and host.deadline <= time.monotonic():
                host.kill()
                done[host] = None
        return list(done.items())

    def close(self) -> None:
        """End the host processes."""
        if self._owner != os.getpid():  # after a fork they are the parent's
            return
        for host in self._idle:
            host.kill()
        self._idle.clear()
        self._folder.cleanup()

    def __enter__(self) -> ProgramRunner:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _without_running(job: ProgramJob) -> _Results | None:
    """The results where no program is needed: no inputs, or inputs that are no lists of JSON."""
    if job.function is None or all(is_json(text, list) for text in job.inputs):
        return None if job.inputs else ()
    return _not_judged(job, "the inputs of a function are not all lists of JSON")


def _not_judged(job: ProgramJob, detail: str) -> _Results:
    return (RunResult("not judged", "", detail),) * len(job.inputs)
