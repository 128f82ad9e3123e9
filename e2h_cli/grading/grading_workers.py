"""Worker processes: math-verify and sympy grade a pair in a sandbox and within a time limit.

``WorkerPool`` starts one *supervisor*, a Python process of its own, which loads the libraries once
and then forks the workers with pebble. Forking from there, not from this process, means that a
killed worker is replaced in milliseconds, that this process may have threads or CUDA, and that its
``__main__`` is not run again. Questions and verdicts are lines of JSON on pipes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import RunError
from e2h_cli.grading.verdict import Question, Verdict, VerdictKind

DEFAULT_TIMEOUT = 5.0  # seconds that one pair may take in a worker
START_TIMEOUT = 120.0  # seconds that the supervisor may take to start; it imports sympy
MAX_WORKERS = 8
MEMORY_BYTES = 2 * 1024**3  # address space of a worker
_GRACE = 2  # seconds after which a worker without a supervisor ends itself
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
_START_SUPERVISOR = "from e2h_cli.grading.grading_workers import supervise; supervise()"


class WorkerPool:
    """Grades questions in worker processes, which start on first use and stay for the next.

    Threads may share it (they take turns). After a fork the child starts its own workers. All
    processes end when this one does, since the input of the supervisor closes.

    Args:
        workers: most worker processes; by default half of the cores, at most 8.
        timeout: seconds per pair, after which its worker is killed and replaced.
    """

    def __init__(self, workers: int | None = None, timeout: float = DEFAULT_TIMEOUT) -> None:
        cores = len(os.sched_getaffinity(0))
        self.size = max(1, min(MAX_WORKERS, cores // 2) if workers is None else workers)
        self.timeout = timeout
        self.supervisor: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._buffer = b""

    def ask(self, questions: Sequence[Question]) -> list[Verdict]:
        """The verdicts on questions, in order.

        Raises:
            RunError: if the workers cannot be started, or keep failing.
        """
        verdicts: dict[int, Verdict] = {}
        with self._lock:
            try:
                failures = 0
                while len(verdicts) < len(questions):
                    before = len(verdicts)
                    self._exchange(questions, verdicts)
                    failures = failures + 1 if len(verdicts) == before else 0
                    if failures > 1:  # the first supervisor may have been killed long ago
                        raise RunError("the grading workers keep ending")
            except BaseException:
                self._stop()
                raise
        return [verdicts[index] for index in range(len(questions))]

    def close(self) -> None:
        """End the workers; the pool can still be used and would start new ones."""
        with self._lock:
            self._stop()

    def _exchange(self, questions: Sequence[Question], verdicts: dict[int, Verdict]) -> None:
        """Ask the open questions and collect the verdicts until the supervisor ends."""
        if self._owner != os.getpid():  # after a fork: the supervisor is the parent's
            self._owner = os.getpid()
            self.supervisor = None
        supervisor = self.supervisor or self._start()
        assert supervisor.stdin is not None
        lines = [
            json.dumps([index, question.task, question.gold, question.answer]) + "\n"
            for index, question in enumerate(questions)
            if index not in verdicts
        ]
        with suppress(BrokenPipeError):  # its end shows when its output is read
            supervisor.stdin.write("".join(lines).encode("ascii"))
            supervisor.stdin.flush()
        while len(verdicts) < len(questions):
            received = self._receive(self.timeout + START_TIMEOUT)
            if received is None:
                self._stop()
                return
            for index, kind, reason, milliseconds in received:
                verdicts[index] = Verdict(kind, reason, milliseconds)

    def _start(self) -> subprocess.Popen[bytes]:
        paths = filter(None, [_PACKAGE_ROOT, os.environ.get("PYTHONPATH")])
        self.supervisor = subprocess.Popen(
            [sys.executable, "-P", "-c", _START_SUPERVISOR, str(self.size), str(self.timeout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                "OMP_NUM_THREADS": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
        )
        self._buffer = b""
        if self._receive(START_TIMEOUT) is None:
            raise RunError(
                "the grading workers did not start",
                hint=f"run `python -c '{_START_SUPERVISOR}' 1 5` to see why",
            )
        return self.supervisor

    def _receive(self, seconds: float) -> list[Any] | None:
        """The next lines of the supervisor; None if it has ended or takes too long."""
        assert self.supervisor is not None and self.supervisor.stdout is not None
        output = self.supervisor.stdout.fileno()
        if not select.select([output], [], [], seconds)[0]:
            return None
        data = os.read(output, 1 << 16)
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines] if data else None

    def _stop(self) -> None:
        supervisor, self.supervisor = self.supervisor, None
        if supervisor is None or self._owner != os.getpid():
            return
        with supervisor:  # closes its input: it ends its workers, then itself
            try:
                supervisor.communicate(timeout=_GRACE)
            except subprocess.TimeoutExpired:
                supervisor.kill()


def supervise() -> None:
    """The supervisor: fork workers and pass them the questions from standard input, until it ends.

    Arguments on the command line: the number of workers and the seconds per pair. Lines in are
    ``[index, task, gold, answer]``, lines out ``[index, verdict, reason, milliseconds]``.
    """
    from pebble import ProcessExpired, ProcessPool

    size, timeout = int(sys.argv[1]), float(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    source, output = os.dup(0), os.dup(1)  # multiprocessing closes sys.stdin in a forked worker,
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)  # which would wait while this process reads it
    os.dup2(0, 1)
    load_libraries()
    fork = multiprocessing.get_context("fork")
    pool = ProcessPool(size, initializer=_start_worker, initargs=(source, output), context=fork)

    def send(*fields: Any) -> None:
        with suppress(BrokenPipeError):
            os.write(output, json.dumps(fields).encode("ascii") + b"\n")

    def schedule(index: int, question: list[str], attempts: int) -> None:
        try:
            future = pool.schedule(judge, args=(*question, timeout), timeout=timeout)
        except RuntimeError:  # an idle worker was killed, which ends the pool
            os._exit(1)  # the parent starts another supervisor
        future.add_done_callback(lambda done: reply(done, index, question, attempts))

    def reply(future: Future[Any], index: int, question: list[str], attempts: int) -> None:
        error = future.exception()
        if error is None:
            send(index, *future.result())
        elif isinstance(error, TimeoutError):
            send(index, "timed out", f"longer than {timeout:g} s", timeout * 1000)
        elif isinstance(error, ProcessExpired) and attempts > 1:  # once may be chance
            schedule(index, question, attempts - 1)
        elif isinstance(error, BrokenProcessPool):
            os._exit(1)
        else:
            send(index, "unreadable", "ended the worker process", 0.0)

    os.write(output, b"[]\n")  # ready
    with os.fdopen(source, encoding="ascii") as lines:
        for line in lines:
            index, *question = json.loads(line)
            schedule(index, question, attempts=2)
    pool.stop()
    pool.join()


def load_libraries() -> None:
    """Load what the libraries load on first use, and keep sympy from evaluating text."""
    import logging

    import math_verify.parser
    from sympy.parsing import sympy_parser

    for library in ("math_verify", "latex2sympy2_extended"):
        logging.getLogger(library).setLevel(logging.ERROR)
    for gold, answer in (
        ("x^2+2x+1=0", "(x+1)^2=0"), (r"\{1,2\}", "1,2"), (r"(1,2)\cup(3,4)", "x<3"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)"), (r"\int_0^1 x dx", r"\frac{1}{2}"),
        (r"\sqrt{2}\sin x", r"\log_2 8"), ("2x<3y", r"y>\frac{2x}{3}"), (r"\text{east}", "west"),
    ):  # fmt: skip
        judge("library", f"${gold}$", f"${answer}$")
    judge("sympy", "3\\sqrt{2}", "\\sqrt{18}")

    math_verify.parser.parse_expr = _parse_without_eval
    sympy_parser.parse_expr = _parse_without_eval
    judge("sympy", "\\sin(x)", "2\\sin(x/2)\\cos(x/2)")


def _parse_without_eval(text: str, *_: Any, **__: Any) -> Any:
    """What math-verify needs of sympy's ``parse_expr``, which would end in Python's ``eval``."""
    import sympy

    from e2h_cli.grading.answer_text import tokenize
    from e2h_cli.grading.expression_parser import parse_expression
    from e2h_cli.grading.prm800k_rule import to_sympy

    if re.fullmatch(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", text):
        return sympy.Float(text) if "." in text else sympy.Integer(text)
    with sympy.evaluate(False):
        return to_sympy(parse_expression(tokenize(text)).node)


def judge(task: str, gold: str, answer: str, timeout: float = 60) -> tuple[VerdictKind, str, float]:
    """Grade one pair with a library: verdict, reason, milliseconds. An error is ``unreadable``."""
    from e2h_cli.grading.e2h_rule import library_verdict
    from e2h_cli.grading.prm800k_rule import compare, difference_is_zero

    signal.setitimer(signal.ITIMER_REAL, timeout + _GRACE)
    start = time.perf_counter()
    kind: VerdictKind = "unreadable"
    try:
        if task == "sympy":
            verdict = compare(gold, answer, difference_is_zero)
            kind, reason = verdict.verdict, f"sympy: {verdict.reason}"
        else:
            kind, reason = library_verdict(gold, answer, task == "latex")
    except MemoryError:
        reason = "too much memory"
    except RecursionError:
        reason = "nested too deep"
    except Exception as error:  # a library of this size may raise anything on such input
        reason = f"{type(error).__name__} in {task}"
    signal.setitimer(signal.ITIMER_REAL, 0)
    return kind, reason, round((time.perf_counter() - start) * 1000, 3)


def _start_worker(*pipes: int) -> None:
    """Close the pipes of the supervisor and lock the worker down."""
    for pipe in pipes:
        os.close(pipe)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # ends it at once, even inside of C code
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    lock_down()


def lock_down() -> None:
    """Forbid this process everything but computing and its open pipes. Cannot be undone.

    Two layers: resource limits, which the kernel enforces, and an audit hook, which Python
    enforces. This is a fence around libraries that are trusted but large, not a jail for hostile
    native code: no text of a model is ever executed in the first place.
    """
    for kind, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0), (resource.RLIMIT_NOFILE, 64), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        with suppress(ValueError, OSError):  # a lower hard limit is in force already
            resource.setrlimit(kind, (limit, limit))
    sys.addaudithook(_audit)


_FORBIDDEN_EVENTS = (
    "socket.", "subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn",
    "os.startfile", "os.kill", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link",
    "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.utime", "os.setxattr",
    "os.removexattr", "os.putenv", "os.unsetenv", "pty.", "shutil.", "tempfile.", "ctypes.",
    "ftplib.", "urllib.", "smtplib.", "webbrowser.", "syslog.", "sqlite3.", "signal.pthread_kill",
)  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (
            isinstance(flags, int) and flags & _WRITING
        ):
            raise PermissionError("a grading worker may not write files")
    elif event in ("exec", "compile"):
        source = arguments[1] if event == "compile" else getattr(arguments[0], "co_filename", "")
        if str(source).startswith("<string"):
            raise PermissionError("a grading worker may not run code from strings")
    elif event.startswith(_FORBIDDEN_EVENTS):
        raise PermissionError(f"a grading worker may not use {event}")
