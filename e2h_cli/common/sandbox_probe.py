"""What this machine offers for shutting in programs that a model has written."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

from e2h_cli.common.machine_facts import SandboxFacts

_SECONDS = 3.0
# CLONE_NEWUSER; unshare has no name in the standard library before Python 3.12.
_UNSHARE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(0 if libc.unshare(0x10000000) == 0 else os.strerror(ctypes.get_errno()))
"""
_LANDLOCK_CREATE_RULESET = 444
_ASK_FOR_VERSION = 1


def sandbox_facts() -> SandboxFacts:
    """Look at the machine; takes some tens of milliseconds."""
    return SandboxFacts(
        no_namespaces=_reason([sys.executable, "-I", "-S", "-c", _UNSHARE]),
        no_bubblewrap=_bubblewrap(),
        landlock_abi=_landlock_abi(),
        seccomp="Seccomp:" in _text(Path("/proc/self/status")),
    )


def _bubblewrap() -> str:
    program = shutil.which("bwrap")
    if program is None:
        return "not installed"
    return _reason([program, "--ro-bind", "/", "/", "--unshare-all", "--die-with-parent", "true"])


def _reason(command: list[str]) -> str:
    """Why a command fails; empty if it does not."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "no answer"
    except OSError as error:
        return error.strerror or str(error)
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _landlock_abi() -> int:
    if not sys.platform.startswith("linux"):
        return 0
    asked = ctypes.CDLL(None).syscall(_LANDLOCK_CREATE_RULESET, None, 0, _ASK_FOR_VERSION)
    return max(int(asked), 0)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
