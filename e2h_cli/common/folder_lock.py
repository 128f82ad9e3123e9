"""Locks of folders against other e2h processes, also of other machines that share the disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from e2h_cli.common.errors import InputError


@contextlib.contextmanager
def locked(folder: Path, name: str, *, shared: bool, wait: bool = False) -> Iterator[None]:
    """Hold the lock file ``name`` in a folder.

    Args:
        folder: it must exist.
        name: of the lock file, which is made and stays.
        shared: with others that share it; otherwise alone.
        wait: for another process that holds it.

    Raises:
        InputError: another process holds it, or this disk has no locks.
    """
    path = folder / name
    try:
        # A lock that is a symbolic link would open, or create, a file elsewhere.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise InputError(
            f"cannot lock the folder: {error.strerror}", where=path, hint="remove this file"
        ) from error
    with os.fdopen(handle) as file:
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                "another e2h process is working here",
                where=folder,
                hint="wait for it, or stop it",
            ) from error
        except OSError as error:
            raise InputError(
                f"cannot lock the folder: {error.strerror}",
                where=path,
                hint="take a disk with file locks (flock), and mount it with them",
            ) from error
        yield


def lock_holder(folder: Path, name: str) -> int | None:
    """The process of this machine that holds the lock file ``name``; None if there is none.

    Takes no lock itself, which another process could run into. On systems without ``/proc/locks``
    nobody is found.
    """
    try:
        found = (folder / name).lstat()
        table = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    # 1: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode> 0 EOF
    file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    rows = (line.split() for line in table)
    return next((int(row[4]) for row in rows if len(row) > 5 and row[5] == file), None)
