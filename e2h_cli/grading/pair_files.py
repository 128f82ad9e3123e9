"""Grades a file of pairs: one JSON object per line in, the same with a verdict out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import atomic_file, json_line, read_jsonl
from e2h_cli.grading.verdict import Grader

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
    rows = _rows(source)
    with atomic_file(target) as output:
        while part := list(islice(rows, _ROWS_AT_ONCE)):
            pairs = [(_text(row["gold"]), _text(row["pred"])) for row in part]
            for row, verdict in zip(part, grader.grade(pairs), strict=True):
                counts[verdict.verdict] += 1
                row["verdict"] = verdict.verdict
                row["reason"] = verdict.reason
                row["ms"] = round(verdict.ms, 3)
                output.write(json_line(row))
    return dict(counts)


def _rows(source: Path) -> Iterator[dict[str, Any]]:
    for number, row in read_jsonl(source):
        where = f"{source}:{number}"
        for key in ("gold", "pred"):
            if key not in row:
                raise InputError(f"no '{key}'", where=where, hint="rows need 'gold' and 'pred'")
            if isinstance(row[key], bool) or not isinstance(row[key], str | int | float):
                raise InputError(f"'{key}' is neither a string nor a number", where=where)
        yield row


def _text(value: str | int | float) -> str:
    if isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
