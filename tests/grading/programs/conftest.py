"""Runners of every sandbox that this machine offers, and what programs are not to reach."""

from __future__ import annotations

import os
import resource
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from e2h_cli.common.errors import RunError
from e2h_cli.grading.programs.program_run import Limits, ProgramJob, RunResult
from e2h_cli.grading.programs.program_runner import ProgramRunner
from e2h_cli.settings.base import SandboxName

# Small for those that run into them, and large enough for all others on a busy machine.
LIMITS = Limits(seconds=1, wall_factor=2, memory_bytes=256 * 1024**2, program_seconds=5)
ISOLATING: list[SandboxName] = ["bubblewrap", "landlock"]


def run_one(
    runner: ProgramRunner, program: str, *inputs: str, function: str | None = None
) -> tuple[RunResult, ...]:
    """The results of one program; without inputs it gets an empty one."""
    [(index, results)] = runner.run([ProgramJob(program, function, inputs or ("",))])
    assert index == 0
    return results


def host_processes(owner: int | None = None) -> set[int]:
    """Hosts of a process, of this one by default, and what was forked from them, wherever it is.

    They share a command line, which names the process.
    """
    found = set()
    mark = f"of-process-{owner or os.getpid()}\0".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if mark in command and state != "Z":
                found.add(int(folder.name))
    return found


def wait_until(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def own_memory() -> int:
    """The most memory that this process has had so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass
class Target:
    """What programs try to reach: files with a secret, and sockets that nobody may connect to."""

    folder: Path
    secret: str = field(default_factory=lambda: secrets.token_hex(16))

    def __post_init__(self) -> None:
        self.gold = self.folder / "run" / "expected.json"
        self.home = self.folder / "home"
        (self.home / ".ssh").mkdir(parents=True)
        self.gold.parent.mkdir()
        for file in (self.gold, self.home / ".ssh" / "id_ed25519", self.home / "notes.txt"):
            file.write_text(self.secret)
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(self.folder / "socket"))
        self.unix.listen()
        self.abstract = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.abstract.bind(f"\0{self.secret}-socket")
        for listener in self._sockets():
            listener.setblocking(False)
        self.before = self.tree()

    def fill(self, program: str) -> str:
        """A program with the names of what it is to reach."""
        # The secret itself stands in no program: it could print it otherwise.
        for name, value in (
            ("FOLDER", str(self.folder)),
            ("GOLD", str(self.gold)),
            ("HOME", str(self.home)),
            ("TCP", str(self.tcp.getsockname()[1])),
            ("UDP", str(self.udp.getsockname()[1])),
            ("UNIX", str(self.folder / "socket")),
            ("PARENT", str(os.getpid())),
            ("PACKAGE", str(Path(__file__).resolve().parents[3] / "e2h_cli")),
        ):
            program = program.replace(f"@{name}@", value)
        return program

    def tree(self) -> dict[str, tuple[int, int]]:
        """Every file with its size and time of change."""
        files = (path for path in self.folder.rglob("*"))
        return {str(f): (f.lstat().st_size, f.lstat().st_mtime_ns) for f in files}

    def check(self) -> None:
        """Nothing was changed, and nobody connected or sent anything."""
        assert self.tree() == self.before
        for listener, receive in (
            (self.tcp, self.tcp.accept),
            (self.unix, self.unix.accept),
            (self.udp, lambda: self.udp.recv(1)),
            (self.abstract, lambda: self.abstract.recv(1)),
        ):
            with pytest.raises(BlockingIOError):
                receive()
            assert listener.fileno() >= 0

    def close(self) -> None:
        for listener in self._sockets():
            listener.close()

    def _sockets(self) -> tuple[socket.socket, ...]:
        return self.tcp, self.udp, self.unix, self.abstract


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    target = Target(tmp_path_factory.mktemp("target"))
    os.environ["E2H_TEST_SECRET"] = target.secret
    yield target
    del os.environ["E2H_TEST_SECRET"]
    target.close()


def open_runner(name: SandboxName, limits: Limits = LIMITS, workers: int = 1) -> ProgramRunner:
    """A runner, or a skipped test that says why the machine has none of this name."""
    try:
        return ProgramRunner(name, limits=limits, workers=workers)
    except RunError as error:
        if name == "none":
            raise
        pytest.skip(error.problem)


@pytest.fixture(scope="module", params=ISOLATING)
def runner(request: pytest.FixtureRequest, target: Target) -> Iterator[ProgramRunner]:
    """One per sandbox; ``target`` is first, so that its environment is there to be read."""
    with open_runner(request.param) as runner:
        yield runner


@pytest.fixture(scope="module", params=[*ISOLATING, "none"])
def any_runner(request: pytest.FixtureRequest) -> Iterator[ProgramRunner]:
    """Also without isolation, and with time for slow machines."""
    with open_runner(request.param, replace(LIMITS, seconds=10, program_seconds=60)) as runner:
        yield runner
