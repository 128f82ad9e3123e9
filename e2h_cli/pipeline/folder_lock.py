"""Locks of folders against other e2h processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from e2h_cli.common.errors import InputError


@contextlib.contextmanager
def locked(folder: Path, name: str, *, shared: bool) -> Iterator[None]:
    """Hold the lock file ``name`` in a folder. Raises InputError if another process does."""
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
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                "another e2h process is working here",
                where=folder,
                hint="wait for it, or stop it",
            ) from error
        yield
