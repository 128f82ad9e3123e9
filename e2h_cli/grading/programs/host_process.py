"""One host process as its parent sees it: started in a sandbox, given jobs, read, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, get_args

from e2h_cli.grading.programs.program_run import Limits, ProgramJob, RunResult, RunStatus, is_json

_HEADER_BYTES = 4096
_CHUNK = 1 << 20


class HostFailure(Exception):
    """The host ended, hung, or sent what no host sends."""


@dataclass(frozen=True, slots=True)
class HostCommand:
    """How a host is started.

    Attributes:
        arguments: the command line.
        environment: all of its environment.
        settings: what it reads first; the limits are added.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    settings: Mapping[str, Any]


class HostProcess:
    """A host and the job that it works on. The pipes never block this process.

    Args:
        command: how it is started.
        limits: of a test and of a program.
        folder: its working folder.
        grace: seconds that it may take on top of a program's limits, its start included.
    """

    def __init__(self, command: HostCommand, limits: Limits, folder: str, grace: float) -> None:
        self._limits = limits
        self._grace = grace
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 closed with the process
        self._process = subprocess.Popen(
            command.arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=command.environment,
            cwd=folder,
            bufsize=0,
            start_new_session=True,  # a Ctrl-C is the parent's
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self.input, self.output = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self.input, False)
        os.set_blocking(self.output, False)
        self._unsent = b""
        self._received = bytearray()
        self._header: dict[str, Any] | None = None
        self._job: ProgramJob | None = None
        self._results: list[RunResult] = []
        self.index = -1  # of the job
        self.deadline = 0.0
        self.ready: dict[str, Any] | None = None  # its answer to the settings
        self._send({**command.settings, "limits": asdict(limits)})

    @property
    def sending(self) -> bool:
        """Whether a part of the job waits until the host reads."""
        return bool(self._unsent)

    def give(self, index: int, job: ProgramJob) -> None:
        """Send a job."""
        self.index, self._job, self._results = index, job, []
        self._send(asdict(job))
        limits = self._limits
        most = (limits.program_seconds + 2 * limits.seconds) * limits.wall_factor
        self.deadline = time.monotonic() + most + self._grace

    def exchange(self) -> tuple[RunResult, ...] | None:
        """Send and receive what is possible now.

        Returns:
            The results of the job once they are complete.

        Raises:
            HostFailure: if the host has ended or sends what no host sends.
        """
        try:
            if self._unsent:
                self._unsent = self._unsent[os.write(self.input, self._unsent[:_CHUNK]) :]
        except BlockingIOError:
            pass
        except OSError as error:
            raise HostFailure("the host ended") from error
        try:
            data = os.read(self.output, 1 << 18)
        except BlockingIOError:
            return None
        if not data:
            raise HostFailure("the host ended")
        self._received += data
        return self._take()

    def _take(self) -> tuple[RunResult, ...] | None:
        while True:
            if self._header is None:
                end = self._received.find(b"\n", 0, _HEADER_BYTES)
                if end < 0 and len(self._received) < _HEADER_BYTES:
                    return None
                self._header = self._parse(bytes(self._received[: max(end, 0)]))
                del self._received[: end + 1]
            if self.ready is None:
                self.ready, self._header = self._header, None
                continue
            size = self._header["bytes"]
            if len(self._received) < size:
                return None
            self._results.append(self._result(self._header, bytes(self._received[:size])))
            del self._received[:size]
            self._header = None
            if self._job is not None and len(self._results) == len(self._job.inputs):
                self._job = None
                return tuple(self._results)

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            header: dict[str, Any] = json.loads(line)
            if self.ready is None:
                known = isinstance(header["landlock"], int)
            else:
                known = header["status"] in get_args(RunStatus) and self._job is not None
                known &= 0 <= header["bytes"] <= self._limits.output_bytes
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise HostFailure("the host sent no header")
        return header

    def _result(self, header: Mapping[str, Any], output: bytes) -> RunResult:
        text = output.decode("utf-8", "replace")
        assert self._job is not None
        if header["status"] == "finished" and self._job.function is not None and not is_json(text):
            return RunResult("error", "", "the result is no JSON")
        return RunResult(header["status"], text, str(header["detail"]))

    def _send(self, message: Mapping[str, Any]) -> None:
        data = json.dumps(message).encode("ascii")
        self._unsent += len(data).to_bytes(8, "little") + data

    def last_error(self) -> str:
        """The last line that the host or bubblewrap wrote to standard error."""
        self._errors.seek(0)
        lines = self._errors.read(1 << 16).decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def kill(self) -> None:
        """End the host and everything in it."""
        with suppress(ProcessLookupError):  # bubblewrap and its host share a process group
            os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        self._process.wait()
