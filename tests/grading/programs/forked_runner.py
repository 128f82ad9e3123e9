"""A runner of trusted programs for tests: one forked process each, and no sandbox."""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from e2h_cli.grading.programs.program_run import Limits, ProgramJob, RunResult


class ForkedRunner:
    """Runs programs one after another; ``jobs`` has all that were run."""

    def __init__(self, sandbox: str = "forked 1", seconds: float = 0.5) -> None:
        self.sandbox = sandbox
        self.limits = Limits(seconds=seconds)
        self.jobs: list[ProgramJob] = []
        self.closed = False

    def run(self, jobs: Sequence[ProgramJob]) -> Iterator[tuple[int, tuple[RunResult, ...]]]:
        for index, job in enumerate(jobs):
            self.jobs.append(job)
            yield index, self._forked(job)

    def close(self) -> None:
        self.closed = True

    def _forked(self, job: ProgramJob) -> tuple[RunResult, ...]:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reader)
                seconds = int(self.limits.seconds * len(job.inputs)) + 2
                resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
                results = [_run(job, text, self.limits.seconds) for text in job.inputs]
                with os.fdopen(writer, "w") as pipe:
                    json.dump(results, pipe)
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            found = pipe.read()
        os.waitpid(child, 0)
        if not found:
            return (RunResult("timed out"),) * len(job.inputs)
        return tuple(RunResult(*one) for one in json.loads(found))


def _run(job: ProgramJob, text: str, seconds: float) -> tuple[str, str, str]:
    def late(*_: object) -> None:
        raise TimeoutError

    out = io.StringIO()
    sys.stdin = io.StringIO(text)
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with contextlib.redirect_stdout(out):
            space: dict[str, Any] = {"__name__": "__main__"}
            exec(compile(job.program, "program", "exec"), space)
            result = None
            if job.function is not None:
                owner = space["Solution"]() if "Solution" in space else None
                function = getattr(owner, job.function) if owner else space[job.function]
                result = json.dumps(function(*json.loads(text)))
    except TimeoutError:
        return "timed out", "", ""
    except MemoryError:
        return "too much memory", "", ""
    except BaseException as error:
        return "error", "", f"{type(error).__name__}: {error}"[:200]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "finished", out.getvalue() if result is None else result, ""
