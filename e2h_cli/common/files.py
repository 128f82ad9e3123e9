"""Atomic writing, checked reading, and fingerprints of files."""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from e2h_cli.common.errors import InputError, RunError

# Speed of the engines of a stage; differs from run to run, so it is no part of its output.
ENGINE_STATS = "engines.jsonl"

# The only way to read the umask is to set it.
_UMASK = os.umask(0)
os.umask(_UMASK)

_WHOLE_HASH_LIMIT = 256 * 2**20
_CHUNK = 2**20


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears complete or not at all (temporary file, fsync, rename).

    A symbolic link is replaced, not followed: in a run folder it could lead anywhere.

    Raises:
        InputError: the path is a device, a pipe or a folder.
        RunError: the folder is not writable or the disk is full. The old file is unchanged.
    """
    temporary = None
    if path.exists() and not path.is_file():
        raise InputError("not a regular file", where=path, hint="name another file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
        temporary = None
        fsync_folder(path.parent)
    except OSError as error:
        raise RunError(
            f"cannot write: {error.strerror or error}",
            where=path,
            hint="free space or choose another folder",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file atomically; see ``atomic_file``."""
    with atomic_file(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


def path_exists(path: Path) -> bool:
    """Whether there is something at a path; False for a name that no file can have."""
    try:
        return path.exists()
    except OSError:
        return False


def shown_path(path: Path) -> str:
    """A path as messages show it: from the working folder, if it is below it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def fsync_folder(folder: Path) -> None:
    """Flush a folder's directory entries to disk, so that renames survive a crash."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Create a folder and its parents. Raises InputError if it cannot be created or written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot create this folder: {error.strerror}",
            where=path,
            hint="choose another --run-dir",
        ) from error
    if not os.access(path, os.W_OK):
        raise InputError("folder is not writable", where=path, hint="choose another --run-dir")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises InputError if it is missing or invalid."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"not valid JSON ({error})", where=path) from error
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=path) from error


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def json_line(row: dict[str, Any]) -> bytes:
    """A row as one line of UTF-8. Lone surrogates, which UTF-8 cannot encode, are escaped."""
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row).encode() + b"\n"


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows as JSON lines, atomically; returns their number."""
    count = 0
    with atomic_file(path) as file:
        for row in rows:
            file.write(json_line(row))
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, row) of a JSON-lines file; blank lines are skipped.

    The file may be compressed with gzip, and begin with a byte order mark.

    Raises:
        InputError: a missing file, or a line that is not a JSON object, with its line number.
    """
    try:
        with open_data(path) as data, io.TextIOWrapper(data, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise InputError(
                        f"not valid JSON ({error})",
                        where=f"{path}:{number}",
                        hint="fix or remove the line",
                    ) from error
                if not isinstance(row, dict):
                    raise InputError("not a JSON object", where=f"{path}:{number}")
                yield number, row
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read: {reason}", where=path) from error
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 text ({error.reason})", where=path) from error


@contextmanager
def open_data(path: Path) -> Iterator[IO[bytes]]:
    """Open a file of text for reading: decompressed if it is gzip, without its byte order mark."""
    with path.open("rb") as file:
        compressed = file.peek(2).startswith(b"\x1f\x8b")
        stream = io.BufferedReader(gzip.GzipFile(fileobj=file)) if compressed else file
        if stream.peek(3).startswith(codecs.BOM_UTF8):
            stream.read(3)
        yield stream


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed processes. No other process may be writing in the folder."""
    for file in folder.rglob(".*.tmp"):
        file.unlink(missing_ok=True)


def fingerprint(path: Path) -> str:
    """A hash of a file's bytes, or of a folder's file names and bytes.

    Of files over 256 MiB only size, first and last MiB are hashed: hashing the weights of a 34b
    model would take longer than loading them.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(
                f"{file.relative_to(path).as_posix()}\x00{fingerprint(file)}\x00".encode()
            )
        return digest.hexdigest()[:32]
    size = path.stat().st_size
    with path.open("rb") as stream:
        if size > _WHOLE_HASH_LIMIT:
            digest.update(f"{size}\x00".encode() + stream.read(_CHUNK))
            stream.seek(-_CHUNK, os.SEEK_END)
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()[:32]
