"""``e2h grade``: judge a file of pairs, by one rule or by two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

FIRST = 10  # pairs that are printed
# Bounds on the seconds of a pair.
_SHORTEST, _LONGEST = 0.01, 86_400


def grade(
    source: Annotated[Path, typer.Option("--in", help="JSONL rows with 'gold' and 'pred'.")],
    target: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="The same rows with 'verdict', 'reason' and 'ms'; with --against, where given, "
            "the pairs on which the rules differ.",
        ),
    ] = None,
    grader: Annotated[
        str,
        typer.Option(
            help="e2h, math-verify (that library alone), prm800k (paper p.5), official or exact."
        ),
    ] = "e2h",
    against: Annotated[
        str | None, typer.Option(help="Another rule: report on which pairs the two differ.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that one pair may take.")] = 5.0,
) -> None:
    """Judge whether answers are right: one verdict and reason per row."""
    from e2h_cli.common.errors import InputError

    if not _SHORTEST <= timeout <= _LONGEST:
        raise InputError(
            f"--timeout {timeout:g}: not a time", hint=f"give {_SHORTEST} to {_LONGEST} seconds"
        )
    # The file that the user names may be a link, which stays one.
    target = target and target.resolve()
    if against is not None:
        if against == grader:
            raise InputError("--against names the rule of --grader", hint="name another rule")
        _compare(source, target, grader, against, timeout)
    elif target is None:
        raise InputError("no --out", hint="name a file for the verdicts")
    else:
        _grade(source, target, grader, timeout)


def _grade(source: Path, target: Path, grader: str, timeout: float) -> None:
    """Write a verdict for each pair, and print how many there are of each."""
    from e2h_cli.common.console import console
    from e2h_cli.grading import get_grader, grade_file

    with get_grader(grader, timeout=timeout) as rule:
        counts = grade_file(source, target, rule)
        total = sum(counts.values())
        _print(f"{rule.name} {rule.version} -> {target}", counts, total)
    console.print(f"{total:,} rows")


def _compare(source: Path, target: Path | None, a: str, b: str, timeout: float) -> None:
    """Print how often two rules differ, and the first pairs; write all of these to ``target``."""
    from e2h_cli.common.console import console
    from e2h_cli.common.files import write_jsonl
    from e2h_cli.grading import compare_file, get_grader

    with get_grader(a, timeout=timeout) as rule, get_grader(b, timeout=timeout) as other:
        counts, differences = compare_file(source, rule, other)
        title = f"{rule.name} {rule.version} against {other.name} {other.version}"
    if target is not None:
        write_jsonl(target, differences)
    total = sum(list(counts.values())[:4])
    _print(title, counts, total)
    for row in differences[:FIRST]:
        pair = json.dumps([row["gold"], row["pred"]])  # escapes what would move the cursor
        said = ", ".join(f"{name} {row[name]}" for name in (a, b))
        console.print(f"{source}:{row['line']}: {pair}: {said}", markup=False)
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
