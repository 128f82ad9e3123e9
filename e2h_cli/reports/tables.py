"""Results as tables, on the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from e2h_cli.common.console import console
from e2h_cli.evaluation.voting import BEST_AGGREGATE
from e2h_cli.reports.results import Comparison, Metric, Results, label

# Stands between a way to answer and its reward model, where there are several.
BY = " by "
MAIN_GROUPS = ("easy", "hard", "all")

Row = tuple[str, ...]

_SHORT = {"weighted-voting": "weighted", "pass": "pass@N"}
_FIXED_WIDTH = 46  # group, method, interval and margins
_NUMBER_WIDTH = 6


def accuracy_rows(figures: Sequence[Metric], width: int | None = None) -> tuple[Row, list[Row]]:
    """Header and rows of accuracy in percent: a row per group and method, a column per pool size.

    The last column is the interval at the largest pool. ``width``: characters that a line may
    have; where not all pool sizes fit, every second one is left out, and so on.
    """
    shown = [f for f in main_lines(figures) if f.group in MAIN_GROUPS]
    several = len({f.reward for f in shown if f.reward}) > 1
    ks = sorted({f.k for f in shown})
    while width is not None and len(ks) > 2 and _FIXED_WIDTH + _NUMBER_WIDTH * len(ks) > width:
        ks = ks[::-2][::-1]
    rows: list[Row] = []
    for group in MAIN_GROUPS:
        lines: dict[str, dict[int, Metric]] = {}
        for f in shown:
            if f.group == group:
                lines.setdefault(f"{f.reward} {label(f)}", {})[f.k] = f
        for line in lines.values():
            cells = [f"{line[k].accuracy:.1f}" if k in line else "" for k in ks]
            last = line[max(line)]
            how = [*([last.reward] if several else []), last.aggregate]
            name = _SHORT.get(last.method, last.method)
            if last.reward:
                name += f" ({', '.join(how)})"
            rows.append((group, name, *cells, f"{last.low:.1f}-{last.high:.1f}"))
    return ("", "N =", *map(str, ks), "interval"), rows


def main_lines(figures: Sequence[Metric]) -> list[Metric]:
    """Figures without the aggregations beside the best one for each way to answer (paper p.8).

    Where a reward model has been used under one aggregation only, that is the one.
    """
    hows: dict[tuple[str, str], list[str]] = {}
    for f in figures:
        hows.setdefault((f.reward, f.method), []).append(f.aggregate)
    best = {
        key: BEST_AGGREGATE.get(key[1], "") if BEST_AGGREGATE.get(key[1], "") in many else many[0]
        for key, many in hows.items()
    }
    return [f for f in figures if f.aggregate == best[f.reward, f.method]]


def comparison_rows(comparisons: Sequence[Comparison]) -> tuple[Row, list[Row]]:
    """Header and rows of paired differences in points."""
    rows: list[Row] = [
        (
            c.group,
            f"{c.a} - {c.b}",
            str(c.k),
            f"{c.difference:+.1f}",
            f"{c.low:+.1f} to {c.high:+.1f}",
            f"{c.p:.4f}",
        )
        for c in comparisons
        if c.group in MAIN_GROUPS
    ]
    return ("", "difference in points", "N", "mean", "interval", "p"), rows


def print_table(title: str, header: Row, rows: Sequence[Row]) -> None:
    """Print a table; a line separates the groups of the first column."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, column in enumerate(header):
        table.add_column(column, justify="left" if i < 2 else "right", no_wrap=True)
    for i, row in enumerate(rows):
        if i and row[0] != rows[i - 1][0]:
            table.add_section()
        repeated = i > 0 and row[0] == rows[i - 1][0]
        table.add_row("" if repeated else row[0], *row[1:])
    console.print(table)


def markdown_table(header: Row, rows: Sequence[Row]) -> str:
    """The same table in Markdown."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def present(results: Results, scale: str, confidence: float) -> str:
    """Print the tables of results; return them as Markdown."""
    title = f"Accuracy in percent ({scale} scale, {confidence:.0%} intervals over problems)"
    print_table(title, *accuracy_rows(results.figures, console.width))
    accuracies = accuracy_rows(results.figures)
    text = f"## {title}\n\n{markdown_table(*accuracies)}"
    # A comparison of a less good aggregation stands in results.json, not here.
    names = {label(f) for f in main_lines(results.figures)}
    shown = [c for c in results.comparisons if {c.a.partition(BY)[0], c.b} <= names]
    if shown:
        title = "Paired comparisons on the same problems (sign-flip permutation test)"
        compared = comparison_rows(shown)
        print_table(title, *compared)
        text += f"\n## {title}\n\n{markdown_table(*compared)}"
    return text
