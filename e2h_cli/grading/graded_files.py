"""Files of pairs to grade: answers with gold answers, or programs with tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import atomic_file, json_line, read_jsonl
from e2h_cli.data.apps import apps_tests
from e2h_cli.data.problem import tests_of_row
from e2h_cli.grading.programs.program_grader import ProgramGrader
from e2h_cli.grading.verdict import Grader, Verdict
from e2h_cli.settings.base import ComparisonName

_ROWS_AT_ONCE = 4_096
# Rows with long tests are graded in smaller parts, which are held in memory.
_TEXT_AT_ONCE = 64 * 2**20  # characters

RowKind = Literal["answers", "programs"]
_HINTS = {
    "answers": "rows need 'gold' and 'pred'",
    "programs": "rows need 'program', and 'tests' or the 'input_output' of APPS",
}
_OF_PROGRAMS = {"program", "tests", "input_output"}
PairRow = tuple[int, dict[str, Any], tuple[str, str]]  # line number, row, and pair
# The verdicts of each rule on pairs.
Judge = Callable[[Sequence[tuple[str, str]]], list[list[Verdict]]]


def rows_kind(source: Path) -> RowKind:
    """What the rows of a JSON lines file hold, by its first row. Raises InputError.

    A pipe is read only once, so its rows pass for answers.
    """
    first = next(read_jsonl(source), None) if source.is_file() else None
    return (first and _kind(first[1])) or "answers"


def grade_file(source: Path, target: Path, grader: Grader | ProgramGrader) -> dict[str, int]:
    """Grade the rows of a JSON lines file; returns the number of rows with each verdict.

    Args:
        source: rows with ``gold`` and ``pred``, strings or numbers; ``pred`` is null for no
            answer. For a grader of programs rows with ``program`` and ``tests`` (an object of
            ``inputs``, ``outputs`` and maybe ``function``) or ``input_output`` as in APPS.
        target: the same rows with ``verdict``, ``reason`` and ``ms`` added, and of programs
            ``passed``, ``run`` and ``sandbox``; written atomically.
        grader: the grading rule.

    Raises:
        InputError: for a missing file or an invalid row; it names the line.
    """
    counts: Counter[str] = Counter()
    kind: RowKind = "programs" if isinstance(grader, ProgramGrader) else "answers"
    with atomic_file(target) as output:
        for _, row, (verdict,) in _graded_rows(source, kind, lambda pairs: [grader.grade(pairs)]):
            counts[verdict.verdict] += 1
            row |= {"verdict": verdict.verdict, "reason": verdict.reason}
            if isinstance(grader, ProgramGrader):
                row |= {"passed": verdict.passed, "run": verdict.run, "sandbox": grader.sandbox}
            output.write(json_line(row | {"ms": round(verdict.ms, 3)}))
    return dict(counts)


def compare_file(
    source: Path, first: Grader, second: Grader
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Grade the rows of a JSON lines file by two rules, as ``grade_file`` does by one.

    Returns:
        The numbers of rows by who calls them right and by who cannot read them, and the rows on
        which the rules differ: line number, gold, pred, and a verdict and reason per rule.
    """
    rules = (first, second)
    names = (first.name, second.name)
    return _compared(source, "answers", names, lambda pairs: [r.grade(pairs) for r in rules])


def compare_programs(
    source: Path, grader: ProgramGrader, first: ComparisonName, second: ComparisonName
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """As ``compare_file``, by two rules of comparison on the same runs of the programs."""
    rules = (first, second)
    return _compared(source, "programs", rules, lambda pairs: grader.grade_by(rules, pairs))


def _compared(
    source: Path, kind: RowKind, names: tuple[str, str], judge: Judge
) -> tuple[dict[str, int], list[dict[str, Any]]]:
    a, b = names
    sides = {(True, True): "both right", (True, False): f"only {a}", (False, True): f"only {b}"}
    counts = dict.fromkeys((*sides.values(), "neither"), 0)
    unread = {f"unreadable by {name}": 0 for name in names}
    differences = []
    for number, row, verdicts in _graded_rows(source, kind, judge):
        right = (verdicts[0].right, verdicts[1].right)
        counts[sides.get(right, "neither")] += 1
        for key, verdict in zip(unread, verdicts, strict=True):
            unread[key] += verdict.verdict not in ("right", "wrong")
        if right[0] != right[1]:
            said = {
                name: f"{verdict.verdict} ({verdict.reason})"
                for name, verdict in zip(names, verdicts, strict=True)
            }
            shown = {key: row[key] for key in ("gold", "pred", "program") if key in row}
            differences.append({"line": number} | shown | said)
    return counts | unread, differences


def _graded_rows(
    source: Path, kind: RowKind, judge: Judge
) -> Iterator[tuple[int, dict[str, Any], tuple[Verdict, ...]]]:
    """Line number, row, and the verdict of each rule."""
    for part in _parts(_pair_rows(source, kind)):
        graded = judge([pair for _, _, pair in part])
        for (number, row, _), *verdicts in zip(part, *graded, strict=True):
            yield number, row, tuple(verdicts)


def _parts(
    rows: Iterator[PairRow],
) -> Iterator[list[PairRow]]:
    part, size = [], 0
    for row in rows:
        part.append(row)
        size += sum(map(len, row[2]))
        if len(part) == _ROWS_AT_ONCE or size > _TEXT_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _pair_rows(source: Path, kind: RowKind) -> Iterator[PairRow]:
    """Line number, row and pair of a file of one kind."""
    pair_of = _answer_pair if kind == "answers" else _program_pair
    for number, row in read_jsonl(source):
        where = f"{source}:{number}"
        if _kind(row) not in (None, kind):
            raise InputError(f"a row of {_kind(row)} in a file of {kind}", where=where)
        yield number, row, pair_of(row, where)


def _kind(row: dict[str, Any]) -> RowKind | None:
    if "gold" in row:
        return "answers"
    return "programs" if _OF_PROGRAMS & row.keys() else None


def _answer_pair(row: dict[str, Any], where: str) -> tuple[str, str]:
    for key, allowed in (("gold", str | int | float), ("pred", str | int | float | None)):
        if key not in row:
            raise InputError(f"no '{key}'", where=where, hint=_HINTS["answers"])
        if isinstance(row[key], bool) or not isinstance(row[key], allowed):
            raise InputError(f"'{key}' is neither a string nor a number", where=where)
    return _as_text(row["gold"]), _as_text(row["pred"])


def _program_pair(row: dict[str, Any], where: str) -> tuple[str, str]:
    program = row.get("program")
    if not isinstance(program, str):
        raise InputError("'program' is not a text", where=where, hint=_HINTS["programs"])
    if "tests" in row:
        return tests_of_row(row, "tests", where), program
    if "input_output" not in row:
        raise InputError("no tests", where=where, hint=_HINTS["programs"])
    try:
        return apps_tests(row["input_output"]).text(), program
    except ValueError as error:
        raise InputError(f"'input_output': {error}", where=where) from error


def _as_text(value: str | int | float | None) -> str:
    if value is None:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)
