"""Worker processes that are killed and replaced when a pair takes too long."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from e2h_cli.common.errors import RunError
from e2h_cli.grading.rule import Question
from e2h_cli.grading.verdict import Verdict

DEFAULT_TIMEOUT = 5.0
"""Seconds that one pair may take in a worker."""

START_TIMEOUT = 120.0
"""Seconds that a worker may take to start; it imports sympy."""

MAX_WORKERS = 8
_CHUNK = 16
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])


class Worker:
    """One worker process and the questions it is working on."""

    def __init__(self, timeout: float) -> None:
        paths = [_PACKAGE_ROOT, os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "e2h_cli.grading.worker", str(timeout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.input = self.process.stdin.fileno()
        self.output = self.process.stdout.fileno()
        self.timeout = timeout
        self.ready = False
        self.queue: deque[int] = deque()
        self.deadline = time.monotonic() + START_TIMEOUT
        self._buffer = b""

    def give(self, chunk: Sequence[int], questions: Sequence[Question]) -> None:
        """Send questions, named by their positions."""
        lines = [[q.task, q.gold, q.answer] for q in (questions[index] for index in chunk)]
        data = json.dumps(lines).encode("ascii") + b"\n"
        self.queue.extend(chunk)
        self.deadline = time.monotonic() + self.timeout
        with suppress(BrokenPipeError):  # its end shows when its output is read
            while data:
                data = data[os.write(self.input, data) :]

    def lines(self) -> list[bytes] | None:
        """The complete lines that have come; None when the process has ended."""
        data = os.read(self.output, 1 << 16)
        if not data:
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return lines

    def kill(self) -> None:
        """End the process at once and forget it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


class Pool:
    """Answers questions in worker processes, which start on first use and stay for the next.

    Safe to use from several threads (they take turns) and after a fork (the child starts its own
    workers). Workers end with this process: their input closes.

    Args:
        workers: how many processes at most; by default half of the cores, at most 8.
        timeout: seconds per pair, after which its worker is killed and replaced.
    """

    def __init__(self, workers: int | None = None, timeout: float = DEFAULT_TIMEOUT) -> None:
        cores = len(os.sched_getaffinity(0))
        self.size = max(1, min(MAX_WORKERS, cores // 2) if workers is None else workers)
        self.timeout = timeout
        self._workers: list[Worker] = []
        self._owner = os.getpid()
        self._lock = threading.Lock()
        weakref.finalize(self, _end, self._workers, self._owner)

    def ask(self, questions: Sequence[Question]) -> list[Verdict]:
        """The verdicts on questions, in order.

        Raises:
            RunError: if no worker process can be started.
        """
        if not questions:
            return []
        with self._lock:
            if self._owner != os.getpid():
                self._workers.clear()
                self._owner = os.getpid()
            try:
                return self._run(questions)
            except BaseException:
                self._discard_all()
                raise

    def close(self) -> None:
        """End the workers; the pool can still be used and would start new ones."""
        with self._lock:
            self._discard_all()

    def _discard_all(self) -> None:
        while self._workers:
            self._workers.pop().kill()

    def _run(self, questions: Sequence[Question]) -> list[Verdict]:
        waiting = deque(range(len(questions)))
        results: dict[int, Verdict] = {}
        crashed: set[int] = set()
        chunk = max(1, min(_CHUNK, len(questions) // self.size))
        while len(results) < len(questions):
            missing = min(self.size, len(waiting)) - len(self._workers)
            self._workers.extend(Worker(self.timeout) for _ in range(missing))
            for worker in self._workers:
                if worker.ready and not worker.queue and waiting:
                    part = [waiting.popleft() for _ in range(min(chunk, len(waiting)))]
                    worker.give(part, questions)
            busy = [worker for worker in self._workers if worker.queue or not worker.ready]
            wait = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
            readable, _, _ = select.select([worker.output for worker in busy], [], [], wait)
            for worker in busy:
                if worker.output in readable:
                    self._receive(worker, waiting, results, crashed)
                elif time.monotonic() >= worker.deadline:
                    self._expire(worker, waiting, results)
        return [results[index] for index in range(len(questions))]

    def _receive(
        self, worker: Worker, waiting: deque[int], results: dict[int, Verdict], crashed: set[int]
    ) -> None:
        lines = worker.lines()
        if lines is None:
            if not worker.ready:
                raise RunError(
                    "a grading worker ended before it was ready",
                    hint="run `python -m e2h_cli.grading.worker 5` to see why",
                )
            self._retire(worker)
            if worker.queue:  # died on the first of these: once may be chance, twice is the pair
                culprit = worker.queue.popleft()
                if culprit in crashed:
                    results[culprit] = Verdict("unreadable", "ended the worker process")
                else:
                    crashed.add(culprit)
                    waiting.append(culprit)
                waiting.extendleft(reversed(worker.queue))
            return
        for line in lines:
            if not worker.ready:
                worker.ready = True
                continue
            verdict, reason, milliseconds = json.loads(line)
            results[worker.queue.popleft()] = Verdict(verdict, reason, milliseconds)
            worker.deadline = time.monotonic() + self.timeout

    def _expire(self, worker: Worker, waiting: deque[int], results: dict[int, Verdict]) -> None:
        self._retire(worker)
        if not worker.ready:
            raise RunError(
                f"a grading worker did not start within {START_TIMEOUT:.0f} s",
                hint="the machine is overloaded; try fewer workers",
            )
        culprit = worker.queue.popleft()
        results[culprit] = Verdict(
            "timed out", f"longer than {self.timeout:g} s", self.timeout * 1000
        )
        waiting.extendleft(reversed(worker.queue))

    def _retire(self, worker: Worker) -> None:
        worker.kill()
        self._workers.remove(worker)


def _end(workers: list[Worker], owner: int) -> None:
    if os.getpid() == owner:
        for worker in workers:
            worker.kill()
