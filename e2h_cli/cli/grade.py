"""``e2h grade``: judge a file of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# Bounds on the seconds of a pair.
_SHORTEST, _LONGEST = 0.01, 86_400


def grade(
    source: Annotated[Path, typer.Option("--in", help="JSONL rows with 'gold' and 'pred'.")],
    target: Annotated[
        Path, typer.Option("--out", help="The same rows with 'verdict', 'reason' and 'ms'.")
    ],
    grader: Annotated[
        str, typer.Option(help="math-verify, prm800k (paper p.5), official or exact.")
    ] = "math-verify",
    timeout: Annotated[float, typer.Option(help="Seconds that one pair may take.")] = 5.0,
) -> None:
    """Judge whether answers are right: one verdict and reason per row."""
    from e2h_cli.common.console import console
    from e2h_cli.common.errors import InputError
    from e2h_cli.grading import get_grader, grade_file
    from e2h_cli.reports.tables import ReportTable

    if not _SHORTEST <= timeout <= _LONGEST:
        raise InputError(
            f"--timeout {timeout:g}: not a time", hint=f"give {_SHORTEST} to {_LONGEST} seconds"
        )
    # The file that the user names may be a link, which stays one.
    target = target.resolve()
    with get_grader(grader, timeout=timeout) as rule:
        counts = grade_file(source, target, rule)
        title = f"{rule.name} {rule.version} -> {target}"
    total = sum(counts.values())
    rows = [
        (verdict, f"{count:,}", f"{100 * count / max(total, 1):.1f} %")
        for verdict, count in counts.items()
    ]
    console.print(ReportTable(title, ("verdict", "rows", "share"), rows))
    console.print(f"{total:,} rows")
