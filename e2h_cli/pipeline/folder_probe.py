"""Whether stages can be written and locked in a folder: tried there, and removed again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from e2h_cli.common.errors import E2HError
from e2h_cli.common.files import write_atomic
from e2h_cli.common.folder_lock import locked
from e2h_cli.common.machine_facts import FolderFacts

_SECONDS = 5.0
# A full disk may take an empty file.
_BLOCK = 65536
# Takes a lock as ``folder_lock`` does; exit code 3 where another process has it.
_SECOND_PROCESS = """
import fcntl, sys
try:
    fcntl.flock(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(3)
"""


def folder_facts(folder: Path) -> FolderFacts:
    """Look at the disk under a folder, which need not be there yet."""
    whole = folder.resolve()
    near = next(one for one in (whole, *whole.parents) if one.is_dir())
    disk = os.statvfs(near)
    below = next((one for one in (whole, *whole.parents) if one.exists()), near)
    blocked = "" if below == near else f"{below} is no folder"
    not_writable, no_rename, no_lock, seconds = (blocked, "", "", 0.0) if blocked else _tried(near)
    return FolderFacts(
        path=near,
        file_system=_file_system(near),
        free=disk.f_bavail * disk.f_frsize,
        total=disk.f_blocks * disk.f_frsize,
        # Some file systems count no inodes.
        free_inodes=disk.f_favail if disk.f_files else 10**9,
        not_writable=not_writable,
        no_rename=no_rename,
        no_lock=no_lock,
        seconds=seconds,
    )


def _tried(folder: Path) -> tuple[str, str, str, float]:
    """Why nothing is written, renamed or locked there; and the seconds of a write."""
    try:
        trial = Path(tempfile.mkdtemp(prefix=".e2h-doctor-", dir=folder))
    except OSError as error:
        return error.strerror or str(error), "", "", 0.0
    try:
        (trial / "plain").write_bytes(bytes(_BLOCK))
        started = time.monotonic()
        no_rename = _why_no_rename(trial / "file")
        seconds = time.monotonic() - started
        return "", no_rename, _why_no_lock(trial), seconds
    except OSError as error:
        return error.strerror or str(error), "", "", 0.0
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _why_no_rename(file: Path) -> str:
    try:
        for text in ("old", "new"):
            write_atomic(file, text)
        found = file.read_text(encoding="utf-8")
    except (E2HError, OSError) as error:
        return getattr(error, "problem", str(error))
    return "" if found == "new" else "a file that was replaced holds its old content"


def _why_no_lock(folder: Path) -> str:
    command = [sys.executable, "-I", "-S", "-c", _SECOND_PROCESS, str(folder / ".lock")]
    try:
        with locked(folder, ".lock", shared=False):
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
    except E2HError as error:
        return str(getattr(error.__cause__, "strerror", None) or error.problem)
    except subprocess.TimeoutExpired:
        return f"no answer in {_SECONDS:g} s"
    if done.returncode == 0:
        return "a second process got the same lock"
    return "" if done.returncode == 3 else (done.stderr.strip().splitlines() or ["?"])[-1]


def _file_system(folder: Path) -> str:
    """Type of the file system that a folder is on."""
    try:
        rows = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "an unknown file system"
    mounts = [(Path(row[1].replace("\\040", " ")), row[2]) for row in rows if len(row) > 2]
    above = [(point, kind) for point, kind in mounts if folder.is_relative_to(point)]
    # Of several at one point the last one covers the others.
    return max(enumerate(above), key=lambda one: (len(one[1][0].parts), one[0]))[1][1]
