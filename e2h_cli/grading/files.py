"""Grades a file of pairs: one JSON object per line in, the same with a verdict out."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any

from e2h_cli.errors import InputError, RunError
from e2h_cli.grading.base import Grader

_ROWS_AT_ONCE = 4_096


def grade_file(source: Path, target: Path, grader: Grader) -> dict[str, int]:
    """Grade the rows of a JSON lines file.

    Args:
        source: rows with ``gold`` and ``pred``, as strings or numbers; blank lines are skipped.
        target: the same rows and fields with ``verdict``, ``reason`` and ``ms`` added. It appears
            whole or not at all.
        grader: the rule.

    Returns:
        How many rows got each verdict.

    Raises:
        InputError: for a missing file, or a line that is no such row; it names the line.
        RunError: if the target cannot be written.
    """
    counts: Counter[str] = Counter()
    try:
        lines = source.open("rb")
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", where=source) from error
    with lines:
        rows = _rows(lines, source)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        except OSError as error:
            raise RunError(error.strerror or "cannot be written", where=target) from error
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as output:
                while part := list(islice(rows, _ROWS_AT_ONCE)):
                    pairs = [(_text(row["gold"]), _text(row["pred"])) for row in part]
                    for row, verdict in zip(part, grader.grade(pairs), strict=True):
                        counts[verdict.verdict] += 1
                        row["verdict"] = verdict.verdict
                        row["reason"] = verdict.reason
                        row["ms"] = round(verdict.ms, 3)
                        output.write(json.dumps(row) + "\n")
                output.flush()
                os.fsync(output.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
            _sync_folder(target.parent)
        except OSError as error:
            raise RunError(error.strerror or "cannot be written", where=target) from error
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    return dict(counts)


def _rows(lines: IO[bytes], source: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{source}, line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"not JSON: {error}", where=where) from error
        if not isinstance(row, dict):
            raise InputError("not a JSON object", where=where)
        for key in ("gold", "pred"):
            if key not in row:
                raise InputError(f"no `{key}`", where=where, hint="rows need `gold` and `pred`")
            if isinstance(row[key], bool) or not isinstance(row[key], str | int | float):
                raise InputError(f"`{key}` is neither a string nor a number", where=where)
        yield row


def _text(value: str | int | float) -> str:
    if isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
