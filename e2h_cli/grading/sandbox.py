"""Locks a worker process down, once everything it needs has been imported.

Two layers: resource limits, which the kernel keeps, and an audit hook, which Python keeps. After
``lock_down`` the process cannot write to files, open sockets, start processes or run code from
strings. This is a fence around libraries that are trusted but large, not a jail for hostile
native code: no text of a model is ever executed in the first place.
"""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from typing import Any

MEMORY_BYTES = 2 * 1024**3
"""Address space of a worker."""

_OPEN_FILES = 64
_FORBIDDEN = (
    "socket.",
    "subprocess.",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "os.kill",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.chown",
    "os.truncate",
    "os.utime",
    "os.setxattr",
    "os.removexattr",
    "os.putenv",
    "os.unsetenv",
    "pty.",
    "shutil.",
    "tempfile.",
    "ctypes.",
    "ftplib.",
    "urllib.",
    "smtplib.",
    "webbrowser.",
    "syslog.",
    "sqlite3.",
    "signal.pthread_kill",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def lock_down(memory: int = MEMORY_BYTES) -> None:
    """Forbid this process everything but computing and its open pipes. Cannot be undone.

    Args:
        memory: the address space that it may use, in bytes.
    """
    for kind, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):  # a lower hard limit is in force already
            resource.setrlimit(kind, (limit, limit))
    sys.addaudithook(_audit)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (
            isinstance(flags, int) and flags & _WRITING
        ):
            raise PermissionError("a grading worker may not write files")
    elif event == "exec":
        if getattr(arguments[0], "co_filename", "").startswith("<string"):
            raise PermissionError("a grading worker may not run code from strings")
    elif event == "compile":
        if str(arguments[1]).startswith("<string"):
            raise PermissionError("a grading worker may not compile code from strings")
    elif event.startswith(_FORBIDDEN):
        raise PermissionError(f"a grading worker may not use {event}")
