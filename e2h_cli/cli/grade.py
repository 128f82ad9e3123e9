"""``e2h grade``: judge a file of answers or of programs, by one rule or by two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

FIRST = 10  # pairs that are printed
# Bounds on the seconds of a pair.
_SHORTEST, _LONGEST = 0.01, 86_400

Counts = dict[str, int]
Rows = list[dict[str, Any]]
# Title, verdicts, and the rows on which two rules differ.
Judged = tuple[str, Counts, Rows]


Source = Annotated[
    Path,
    typer.Option(
        "--in",
        help="JSONL rows with 'gold' and 'pred', or with 'program' and 'tests' or the "
        "'input_output' of APPS.",
    ),
]
Target = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="The same rows with 'verdict', 'reason' and 'ms', of programs also 'passed', 'run' "
        "and 'sandbox'; with --against, where given, the rows on which the rules differ.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        help="Seconds that one pair may take (default 5); of programs, CPU seconds of a test "
        "(default 4)."
    ),
]
GRADER = (
    "Rule for answers: e2h (default), math-verify (that library alone), prm800k (paper p.5), "
    "official or exact."
)
COMPARISON = (
    "Rule for outputs of programs: tolerant (default), strict or apps (the harness of APPS)."
)
AGAINST = "Another rule: report on which rows the two differ."
SANDBOX = "What isolates programs: auto (default), bubblewrap, landlock or none."


def grade(
    source: Source,
    target: Target = None,
    grader: Annotated[str | None, typer.Option(help=GRADER)] = None,
    comparison: Annotated[str | None, typer.Option(help=COMPARISON)] = None,
    against: Annotated[str | None, typer.Option(help=AGAINST)] = None,
    sandbox: Annotated[str | None, typer.Option(help=SANDBOX)] = None,
    timeout: Timeout = None,
) -> None:
    """Judge whether answers or programs are right: one verdict and reason per row."""
    from e2h_cli.common.errors import InputError
    from e2h_cli.grading import rows_kind

    if timeout is not None and not _SHORTEST <= timeout <= _LONGEST:
        raise InputError(
            f"--timeout {timeout:g}: not a time", hint=f"give {_SHORTEST} to {_LONGEST} seconds"
        )
    # The file that the user names may be a link, which stays one.
    target = target and target.resolve()
    programs = bool(comparison or sandbox) or rows_kind(source) == "programs"
    if programs and grader is not None:
        raise InputError("--grader is for answers; programs have --comparison", where=source)
    option = "--comparison" if programs else "--grader"
    rule = (comparison or "tolerant") if programs else (grader or "e2h")
    if against == rule:
        raise InputError(f"--against names the rule of {option}", hint="name another rule")
    if against is None and target is None:
        raise InputError("no --out", hint="name a file for the verdicts")
    if programs:
        judged = _programs(source, target, rule, against, sandbox or "auto", timeout)
    else:
        judged = _answers(source, target, rule, against, timeout)
    if against is None:
        _print_verdicts(*judged)
    else:
        _print_differences(*judged, source, (rule, against))


def _answers(
    source: Path, target: Path | None, rule: str, against: str | None, timeout: float | None
) -> Judged:
    """Judge answers by one rule, or compare two."""
    from e2h_cli.grading import compare_file, get_grader, grade_file
    from e2h_cli.grading.grading_workers import DEFAULT_TIMEOUT

    seconds = timeout or DEFAULT_TIMEOUT
    with get_grader(rule, timeout=seconds) as grader:
        title = f"{grader.name} {grader.version}"
        if target is not None and against is None:
            return f"{title} -> {target}", grade_file(source, target, grader), []
        with get_grader(str(against), timeout=seconds) as other:
            title = f"{title} against {other.name} {other.version}"
            return title, *_written(target, *compare_file(source, grader, other))


def _programs(
    source: Path,
    target: Path | None,
    rule: str,
    against: str | None,
    sandbox: str,
    timeout: float | None,
) -> Judged:
    """Judge programs by one rule of comparison, or compare two on the same runs."""
    from e2h_cli.grading import compare_programs, grade_file
    from e2h_cli.grading.programs import DEFAULT_SECONDS, comparison_named, get_program_grader

    other = None if against is None else comparison_named(against)
    with get_program_grader(rule, sandbox, seconds=timeout or DEFAULT_SECONDS) as grader:
        title = f"{grader.name} {grader.version}"
        if target is not None and other is None:
            return f"{title} -> {target}", grade_file(source, target, grader), []
        assert other is not None
        found = compare_programs(source, grader, grader.comparison, other)
        return f"{title} against {other}", *_written(target, *found)


def _written(target: Path | None, counts: Counts, differences: Rows) -> tuple[Counts, Rows]:
    from e2h_cli.common.files import write_jsonl

    if target is not None:
        write_jsonl(target, differences)
    return counts, differences


def _print_verdicts(title: str, counts: Counts, _: Rows) -> None:
    """Print how many verdicts there are of each kind."""
    from e2h_cli.common.console import console

    total = sum(counts.values())
    _print(title, counts, total)
    console.print(f"{total:,} rows")


def _print_differences(
    title: str, counts: Counts, differences: Rows, source: Path, rules: tuple[str, str]
) -> None:
    """Print how often two rules differ, and the first rows; of programs without their text."""
    from e2h_cli.common.console import console

    total = sum(list(counts.values())[:4])
    _print(title, counts, total)
    for row in differences[:FIRST]:
        said = ", ".join(f"{name} {row[name]}" for name in rules)
        if "gold" in row:
            # As JSON, which escapes what would move the cursor.
            said = f"{json.dumps([row['gold'], row['pred']])}: {said}"
        console.print(f"{source}:{row['line']}: {said}", markup=False)
    if len(differences) > FIRST:
        console.print(f"{len(differences) - FIRST:,} more pairs differ")
    console.print(f"{total:,} rows")


def _print(title: str, counts: dict[str, int], total: int) -> None:
    from e2h_cli.common.console import console
    from e2h_cli.reports.tables import ReportTable

    rows = [
        (name, f"{count:,}", f"{100 * count / max(total, 1):.1f} %")
        for name, count in counts.items()
    ]
    console.print(ReportTable(title, ("verdict", "rows", "share"), rows))
