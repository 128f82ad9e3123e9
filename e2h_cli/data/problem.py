"""A problem, and the JSONL files that hold problems."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_jsonl, write_jsonl


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with a level. A gold answer that must stay hidden is None, and absent in files.

    ``id``: unique in its source; ``level``: 1 is the easiest; ``solution``: reference solution,
    steps separated by newlines, without the answer block.
    """

    id: str
    problem: str
    level: int
    subject: str
    source: str
    answer: str | None = None
    solution: str | None = None

    def hidden(self) -> Problem:
        """The question alone, as hard training problems are given to every stage."""
        return replace(self, answer=None, solution=None)

    def row(self) -> dict[str, Any]:
        """The row of a file; absent fields are left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def normalize_question(text: str) -> str:
    """A problem's text without spacing, LaTeX spacing commands and case, for leak checks."""
    text = re.sub(r"\\(?:[,;:! ]|left|right|quad|qquad|displaystyle|dfrac|tfrac)", " ", text)
    return re.sub(r"[\s$.,;:]+", "", text).lower()


def read(path: Path) -> list[Problem]:
    """Read a file of problems, in the project's own fields or in those of MATH.

    ``unique_id`` stands for ``id``, ``type`` for ``subject``; "Level 3" is level 3; where there is
    no ``answer``, it is taken from the last \\boxed{} of the solution.

    Raises:
        InputError: a missing field, a level that is no number, an id that stands twice: file, line.
    """
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        problem = from_row(row, default_id=f"{path.stem}/{number}", source=path.stem, where=where)
        if problem.id in seen:
            raise InputError(
                f"id {problem.id!r} stands twice (first in line {seen[problem.id]})", where=where
            )
        seen[problem.id] = number
        problems.append(problem)
    if not problems:
        raise InputError("no problems", where=path)
    return problems


def from_row(row: dict[str, Any], *, default_id: str, source: str, where: str) -> Problem:
    """One problem from a row; see ``read``."""
    text = row.get("problem", row.get("question"))
    if not isinstance(text, str) or not text.strip():
        raise InputError("no text under 'problem'", where=where)
    answer, solution = row.get("answer"), row.get("solution")
    if answer is None and isinstance(solution, str):
        answer = last_boxed(solution)
    return Problem(
        id=str(row.get("id", row.get("unique_id", default_id))),
        problem=text,
        level=_level(row.get("level"), where),
        subject=str(row.get("subject", row.get("type", "unknown"))),
        source=str(row.get("source", source)),
        answer=None if answer is None else str(answer),
        solution=None if solution is None else str(solution),
    )


def _level(value: Any, where: str) -> int:
    digits = re.fullmatch(r"\s*(?:level\s*)?(\d+)\s*", str(value), re.IGNORECASE)
    if isinstance(value, bool) or digits is None:
        raise InputError(
            f"level {value!r} is no number", where=where, hint="levels are 1, 2, 3, ..."
        )
    return int(digits[1])


def last_boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed{...}`` with its braces balanced, or None."""
    start = text.rfind(r"\boxed{")
    if start < 0:
        return None
    begin = start + len(r"\boxed{")
    depth = 1
    for i in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return text[begin:i]
    return None


def write(path: Path, problems: Iterable[Problem]) -> int:
    """Write problems as JSON lines, atomically; returns how many."""
    return write_jsonl(path, (problem.row() for problem in problems))
