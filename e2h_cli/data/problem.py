"""A problem, and the JSONL files that hold problems."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_jsonl, write_jsonl
from e2h_cli.data.final_answer import closing_brace
from e2h_cli.data.program_tests import ProgramTests, is_tests


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with a level. A hidden gold answer is None, and absent in files.

    A problem that is solved by a program has its tests as ``answer``, see ``ProgramTests``.
    """

    id: str  # unique in its source
    problem: str  # the question
    level: int  # 1 is the easiest
    subject: str  # for example "Algebra"
    source: str  # the data set or file that the problem comes from
    answer: str | None = None  # the gold answer
    solution: str | None = None  # steps separated by newlines, without the answer block
    public_tests: str | None = None  # inputs that the question shows, for tests of behaviour

    @property
    def is_program(self) -> bool:
        """Whether a program solves it. Not known of a hidden problem without public tests."""
        return self.public_tests is not None or is_tests(self.answer or "")

    def hidden(self) -> Problem:
        """A copy without answer and solution: what every stage sees of a hard training problem."""
        return replace(self, answer=None, solution=None)

    def row(self) -> dict[str, Any]:
        """The JSON object of the problem; fields that are None are left out.

        Tests are objects: ``tests``, in place of ``answer``, and ``public_tests``.
        """
        row = {key: value for key, value in asdict(self).items() if value is not None}
        if is_tests(self.answer or ""):
            row["tests"] = json.loads(row.pop("answer"))
        if self.public_tests is not None:
            row["public_tests"] = json.loads(self.public_tests)
        return row


def solved_by_programs(problems: Iterable[Problem]) -> bool:
    """Whether programs solve the problems. A hidden one may not tell, so that one is enough."""
    return any(problem.is_program for problem in problems)


def normalize_question(text: str) -> str:
    r"""Drop what two copies of a question differ in: spacing, punctuation, case, LaTeX habits.

    LaTeX spacing commands go, \dfrac is \frac, and x^{a} is x^a. Decimal points stay, and other
    punctuation between digits: 22.5 is not 225, and (1,2) is not (12).
    """
    text = re.sub(r"\\[dt]frac(?![A-Za-z])", r"\\frac", text)
    text = re.sub(r"\\(?:[,;:! ]|(?:left|right|quad|qquad|displaystyle)(?![A-Za-z]))", " ", text)
    text = re.sub(r"([\^_])\{(\w)\}", r"\1\2", text)
    text = re.sub(r"[\s$]+|\.(?!\d)", "", text)
    return re.sub(r"(?<!\d)[,;:]+|[,;:]+(?!\d)", "", text).lower()


def read_problems(file: Path) -> list[Problem]:
    """Read a JSONL file of problems, in the project's own fields or in those of MATH.

    ``unique_id`` is read as ``id``, ``type`` as ``subject``, "Level 3" as 3; without ``answer``
    the answer is the last \\boxed{} of the solution. ``tests`` make it the problem of a program.
    Raises InputError, with file and line, for a missing field, a level that is not a number,
    malformed tests or a duplicate id.
    """
    problems: list[Problem] = []
    first_line: dict[str, int] = {}
    for number, row in read_jsonl(file):
        where = f"{file}:{number}"
        name = f"{file.stem}/{number}"
        problem = problem_from_row(row, default_id=name, source=file.stem, where=where)
        first = first_line.setdefault(problem.id, number)
        if first != number:
            raise InputError(f"duplicate id {problem.id!r} (first in line {first})", where=where)
        problems.append(problem)
    if not problems:
        raise InputError("no problems", where=file)
    return problems


def problem_from_row(row: dict[str, Any], *, default_id: str, source: str, where: str) -> Problem:
    """Make a problem of a JSON object; see ``read_problems``. ``where`` is for error messages."""
    text, level = row.get("problem", row.get("question")), row.get("level")
    if not isinstance(text, str) or not text.strip():
        raise InputError("no text under 'problem'", where=where)
    number = re.fullmatch(r"\s*(?:level\s*)?(\d+)\s*", str(level), re.IGNORECASE)
    if number is None:
        hint = "levels are 1, 2, 3, ..."
        raise InputError(f"level {level!r} is not a number", where=where, hint=hint)
    answer, solution, public = row.get("answer"), row.get("solution"), row.get("public_tests")
    if row.get("tests") is not None:
        answer = tests_of_row(row, "tests", where)
    elif answer is None and isinstance(solution, str):
        answer = last_boxed(solution)
    return Problem(
        id=str(row.get("id", row.get("unique_id", default_id))),
        problem=text,
        level=int(number[1]),
        subject=str(row.get("subject", row.get("type", "unknown"))),
        source=str(row.get("source", source)),
        answer=None if answer is None else str(answer),
        solution=None if solution is None else str(solution),
        public_tests=None if public is None else tests_of_row(row, "public_tests", where),
    )


def tests_of_row(row: dict[str, Any], key: str, where: str) -> str:
    """The text of the tests of a JSON object; of public ones the inputs. Raises InputError."""
    try:
        tests = ProgramTests.read(row[key])
    except ValueError as error:
        hint = "an object of 'inputs' and 'outputs', lists of texts, and of a call 'function'"
        raise InputError(f"'{key}': {error}", where=where, hint=hint) from error
    if key == "public_tests":
        return tests.public(range(len(tests.inputs))).text()
    if not tests.outputs:
        raise InputError(f"'{key}' without 'outputs'", where=where)
    return tests.text()


def last_boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed{...}`` with balanced braces, or None."""
    head, found, _ = text.rpartition(r"\boxed{")
    brace = len(head) + len(r"\boxed")
    end = closing_brace(text, brace) if found else -1
    return text[brace + 1 : end] if end > 0 else None


def write_problems(file: Path, problems: Iterable[Problem]) -> int:
    """Write problems as JSON lines, atomically; return their number."""
    return write_jsonl(file, (problem.row() for problem in problems))
