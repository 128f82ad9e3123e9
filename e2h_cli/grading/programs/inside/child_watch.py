"""Follows a child until it ends, ends it where it is over a limit, and leaves nothing behind."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from os import _exit
from pathlib import Path
from typing import NoReturn

_TICK = 0.02  # seconds between two looks at what a child uses
_TASKS = 64  # threads of a test; without isolation, of all its processes
_ERROR_BYTES = 4096  # of standard error, those that are kept


class ChildWatch:
    """Reads the pipes of a child until it ends, and ends it where it is over a limit."""

    def __init__(
        self, child: int, requests: int, output: int, errors: int, seconds: float, wall: float
    ) -> None:
        self.output, self.errors = bytearray(), bytearray()
        self.stopped: tuple[str, str] | None = None  # why it was ended
        self.status = 0
        self.cpu = 0.0
        self._child = child
        self._requests = requests
        self._pipes = {output: self.output, errors: self.errors}
        self._output = output
        self._error_bytes = 0
        self._seconds = seconds
        self._end = time.monotonic() + wall
        self._wall = wall

    def follow(self, output_bytes: int, error_bytes: int) -> None:
        """Return when the child has ended and its pipes are read."""
        poll = select.poll()
        poll.register(self._requests, 0)
        for pipe in self._pipes:
            poll.register(pipe, select.POLLIN)
        look = time.monotonic() + _TICK
        while not self.stopped:
            if len(self._pipes) == 0:
                signal.sigtimedwait([signal.SIGCHLD], _TICK)
            for pipe, events in poll.poll(_TICK * 1000 if self._pipes else 0):
                if pipe == self._requests:
                    if events & (select.POLLHUP | select.POLLERR):
                        end_everything()
                elif not self._read(pipe):
                    poll.unregister(pipe)
                    self._close(pipe)
            self._check_output(output_bytes, error_bytes)
            now = time.monotonic()
            if (not self._pipes or now > look) and self._ended():
                break
            if now > look:
                look = now + _TICK
                self._check_use(now)
        self._finish(output_bytes, error_bytes)

    def _read(self, pipe: int) -> bool:
        """Read what is there; False at the end. Of standard error the end is kept."""
        data = os.read(pipe, 1 << 16)
        self._pipes[pipe] += data
        if pipe != self._output:
            self._error_bytes += len(data)
            del self.errors[:-_ERROR_BYTES]
        return bool(data)

    def _close(self, pipe: int) -> None:
        del self._pipes[pipe]
        os.close(pipe)

    def _check_output(self, output_bytes: int, error_bytes: int) -> None:
        if len(self.output) > output_bytes or self._error_bytes > error_bytes:
            self.stopped = ("too much output", f"more than {output_bytes:,} bytes")

    def _check_use(self, now: float) -> None:
        used = 0.0
        with suppress(OSError):  # the clock of all threads of the child
            used = time.clock_gettime((~self._child << 3) | 2)
        if used > self._seconds:
            self.stopped = ("timed out", f"longer than {self._seconds:g} s")
        elif now > self._end:
            self.stopped = ("timed out", f"longer than {self._wall:g} s of wall time")
        elif _tasks() > _TASKS:
            self.stopped = ("error", f"more than {_TASKS} threads or processes")

    def _ended(self) -> bool:
        ended, status, use = os.wait4(self._child, os.WNOHANG)
        if ended:
            self.status, self.cpu = status, use.ru_utime + use.ru_stime
            self._child = 0
        return bool(ended)

    def _finish(self, output_bytes: int, error_bytes: int) -> None:
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            _, self.status, use = os.wait4(self._child, 0)
            self.cpu = use.ru_utime + use.ru_stime
        end_descendants()
        for pipe in list(self._pipes):
            while not self.stopped and self._read(pipe):
                self._check_output(output_bytes, error_bytes)
            self._close(pipe)


def _descendants() -> list[int]:
    """The processes below this one, where the kernel lists them."""
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        process = waiting.pop()
        with suppress(OSError, ValueError):
            for task in _threads(process):
                listed = Path(f"/proc/{process}/task/{task}/children").read_text("ascii")
                children = [int(number) for number in listed.split()]
                found += children
                waiting += children
    return found


def _tasks() -> int:
    """The number of threads of all processes below this one."""
    return sum(len(_threads(process)) for process in _descendants())


def _threads(process: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{process}/task")  # noqa: PTH208 as fast as can be
    except OSError:
        return []


def end_descendants() -> None:
    """Kill and reap whatever is left below this process."""
    while True:
        try:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                for process in _descendants():
                    with suppress(OSError):
                        os.kill(process, signal.SIGKILL)
                time.sleep(0.001)
        except ChildProcessError:
            return


def end_everything() -> NoReturn:
    """End this process and all below it: its parent has ended, or wants it to."""
    end_descendants()
    _exit(0)
