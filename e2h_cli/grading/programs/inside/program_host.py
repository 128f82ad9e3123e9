"""The host: one process per worker that forks a child for every test and passes on its output.

It reads frames (8 bytes of length, then JSON) from standard input: first its settings, then jobs.
For each it writes a line of JSON and the bytes that the line announces. A host knows no expected
output. It runs nothing of a program itself, and hands compiled code on without reading it.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from os import _exit
from typing import Any, NoReturn

from . import confinement, program_child
from .child_watch import ChildWatch, end_everything

_OPEN_FILES = 64
_OWN_DESCRIPTORS = 100  # those of the host start here; a child closes them
_MOST_DESCRIPTORS = 256
_OUTPUTS = 64  # times the output of a test is the output of a program
_CODE_BYTES = 32 * 1024**2

Outcome = tuple[str, str, bytes]  # status, detail, output


class Host:
    """Runs the jobs of one worker.

    Args:
        settings: ``limits``; ``readable`` and ``writable`` paths; ``filter``, the seccomp filter
            in hexadecimal. Without a filter nothing is isolated.
        requests: the descriptor on which jobs arrive. When it closes, everything ends.
    """

    def __init__(self, settings: dict[str, Any], requests: int) -> None:
        limits = settings["limits"]
        self._seconds: float = limits["seconds"]
        self._wall_factor: float = limits["wall_factor"]
        self._memory_bytes: int = limits["memory_bytes"]
        self._output_bytes: int = limits["output_bytes"]
        self._program_seconds: float = limits["program_seconds"]
        self._requests = requests
        self._null = _own(os.open(os.devnull, os.O_RDWR))
        self._isolated = bool(settings["filter"])
        if self._isolated:
            self._filter = confinement.SystemCallFilter(bytes.fromhex(settings["filter"]))
        self.landlock = confinement.landlock_version() if self._isolated else 0
        program_child.add_exit()
        self._names = program_child.function_names()
        if self.landlock:
            readable, writable = settings["readable"], settings["writable"]
            self._ruleset = _own(confinement.landlock_ruleset(readable, writable))
            own = confinement.landlock_ruleset([*readable, "/proc"], writable)
            confinement.enforce_landlock(own)
            os.close(own)
        confinement.hide_memory()
        confinement.adopt_orphans()

    def run(self, job: dict[str, Any]) -> Iterator[Outcome]:
        """The outcome on each input, in order."""
        source = job["program"].encode("utf-8", "surrogatepass")
        function = job["function"]
        compiled, _ = self._child(
            lambda: program_child.compile_program(source), self._seconds, _CODE_BYTES
        )
        status, detail, code = compiled
        wall = cpu = 0.0
        left = _OUTPUTS * self._output_bytes
        for text in job["inputs"]:
            seconds = min(self._seconds, self._program_seconds - cpu)
            if status != "finished":
                yield status, detail, b""
            elif seconds <= 0 or wall > self._program_seconds * self._wall_factor:
                yield "timed out", "all tests of the program together", b""
            elif left < 0:
                yield "too much output", "all tests of the program together", b""
            else:
                start = time.monotonic()
                data = text.encode("utf-8", "surrogatepass")
                outcome, used = self._test(code, function, data, seconds)
                wall += time.monotonic() - start
                cpu += used
                left -= len(outcome[2])
                yield outcome

    def _test(
        self, code: bytes, function: str | None, data: bytes, seconds: float
    ) -> tuple[Outcome, float]:
        if function is None:
            return self._child(
                lambda: program_child.run_program(code), seconds, self._output_bytes, data
            )
        outcome, used = self._child(
            lambda: program_child.call_function(code, function, data, self._names),
            seconds,
            self._output_bytes,
        )
        if outcome[0] == "finished" and not outcome[2]:
            outcome = ("error", "it ended without a result", b"")
        return outcome, used

    def _child(
        self,
        work: Callable[[], NoReturn],
        seconds: float,
        output_bytes: int,
        stdin: bytes | None = None,
    ) -> tuple[Outcome, float]:
        """Fork, confine, work; the outcome and the seconds of CPU time.

        With ``stdin`` the output is standard output, otherwise what is written to ``RESULT``.
        """
        source = self._null if stdin is None else _sealed_file(stdin)
        output, output_end = os.pipe()
        errors, errors_end = os.pipe()
        host = os.getpid()
        child = os.fork()
        if child == 0:
            try:
                self._confine(host, source, output_end, errors_end, seconds, stdin is None)
            except BaseException:
                os.kill(os.getpid(), signal.SIGKILL)  # which nothing but the sandbox does
            try:
                work()
            finally:
                _exit(1)
        os.close(output_end)
        os.close(errors_end)
        if stdin is not None:
            os.close(source)
        watch = ChildWatch(
            child, self._requests, output, errors, seconds, seconds * self._wall_factor
        )
        watch.follow(output_bytes, self._output_bytes)
        status, detail = self._judge(watch, seconds)
        return (status, detail, bytes(watch.output) if status == "finished" else b""), watch.cpu

    def _confine(
        self, host: int, source: int, output: int, errors: int, seconds: float, function: bool
    ) -> None:
        """What the child gives up before it runs anything of the program."""
        confinement.end_with_parent(signal.SIGKILL)
        if os.getppid() != host:
            _exit(1)
        os.setsid()
        os.dup2(source, 0)
        os.dup2(self._null if function else output, 1)
        os.dup2(errors, 2)
        if function:
            os.dup2(output, program_child.RESULT)
        if self.landlock:
            confinement.enforce_landlock(self._ruleset)
        os.closerange(program_child.RESULT + function, _MOST_DESCRIPTORS)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        confinement.limit_resources(seconds, self._memory_bytes, _OPEN_FILES)
        if self._isolated:
            confinement.drop_capabilities()
            self._filter.enforce()

    def _judge(self, watch: ChildWatch, seconds: float) -> tuple[str, str]:
        lines = watch.errors.decode("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")[:200]
        if watch.stopped:
            return watch.stopped
        if watch.cpu > seconds:
            return "timed out", f"longer than {seconds:g} s"
        if os.WIFSIGNALED(watch.status):
            number = os.WTERMSIG(watch.status)
            if number == signal.SIGKILL and self._isolated:
                raise SystemExit(1)  # by the kernel's lack of memory, or not confined: start anew
            return "error", f"killed by {_signal_name(number)}"
        if code := os.waitstatus_to_exitcode(watch.status):
            if last.startswith("MemoryError"):
                return "too much memory", last
            return "error", last or f"exit status {code}"
        return "finished", ""


def main() -> None:
    """Read settings and jobs from standard input until it closes, and write outcomes."""
    requests, replies = _own(os.dup(0)), _own(os.dup(1))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_DESCRIPTORS, most))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    host = Host(_receive(requests), requests)
    _freeze()
    _send(replies, {"landlock": host.landlock})
    while True:
        for status, detail, output in host.run(_receive(requests)):
            _send(replies, {"status": status, "detail": detail, "bytes": len(output)}, output)


def _freeze() -> None:
    """Keep the garbage collector, and so the copying of pages, away from what is loaded."""
    gc.collect()
    gc.disable()
    gc.freeze()


def _own(descriptor: int) -> int:
    """Move a descriptor up to those that are closed in a child."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _OWN_DESCRIPTORS)
    os.close(descriptor)
    return moved


def _sealed_file(data: bytes) -> int:
    """A file in memory, as standard input from a file, that nobody can change."""
    file = os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
    os.lseek(file, 0, os.SEEK_SET)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    return file


def _receive(requests: int) -> Any:
    size = int.from_bytes(_read_exactly(requests, 8), "little")
    return json.loads(_read_exactly(requests, size))


def _read_exactly(descriptor: int, size: int) -> bytearray:
    data = bytearray()
    while len(data) < size:
        part = os.read(descriptor, min(size - len(data), 1 << 20))
        if not part:
            end_everything()
        data += part
    return data


def _send(replies: int, header: dict[str, Any], output: bytes = b"") -> None:
    view = memoryview(json.dumps(header).encode("ascii") + b"\n" + output)
    try:
        while view:
            view = view[os.write(replies, view) :]
    except BrokenPipeError:
        end_everything()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
