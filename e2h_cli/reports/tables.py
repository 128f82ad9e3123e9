"""Tables for the terminal, Markdown and LaTeX, and those of accuracy and comparisons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions
from rich.table import Table

from e2h_cli.evaluation.sample_groups import ACCURACY, AVERAGE
from e2h_cli.reports import results as reported
from e2h_cli.reports.results import (
    MAIN_GROUPS,
    Metric,
    Results,
    is_main,
    label,
    main_metrics,
    main_names,
    shown_p,
)

Row = tuple[str, ...]

_SHORT = {"weighted-voting": "weighted", "pass": "pass@N"}
_FIXED_WIDTH = 46  # group, method, interval and margins
_NUMBER_WIDTH = 6
# A "[" after the end of a row would be an option of it.
_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"<": "$<$", ">": "$>$", "|": r"\textbar{}", "[": "{[}"},
    }
)


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A table for the terminal (by rich), Markdown and LaTeX.

    ``sizes``: numbers of the columns that hold one N each; on a narrow terminal every second one is
    left out, and so on.
    """

    title: str
    header: Row
    rows: Sequence[Row]
    sizes: range = range(0)

    @property
    def markdown(self) -> str:
        """The title as a heading, and all columns."""
        lines = [self.header, tuple("---" for _ in self.header), *self.rows]
        return f"## {self.title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)

    @property
    def latex(self) -> str:
        """The title as a caption, and all columns; needs the package booktabs."""
        groups = ("\n".join(map(_latex_row, rows)) for rows in self._groups())
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex_text(self.title)}}}",
            rf"\begin{{tabular}}{{ll{'r' * (len(self.header) - 2)}}}",
            r"\toprule",
            _latex_row(self.header),
            r"\midrule",
            "\n\\addlinespace\n".join(groups),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """The table for rich; a line separates the groups of the first column."""
        sizes = self.sizes
        while len(sizes) > 2 and _FIXED_WIDTH + _NUMBER_WIDTH * len(sizes) > options.max_width:
            sizes = sizes[::-2][::-1]
        columns = [i for i in range(len(self.header)) if i not in self.sizes or i in sizes]
        table = Table(title=self.title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.title_justify = "left"
        for i in columns:
            table.add_column(self.header[i], justify="left" if i < 2 else "right", no_wrap=i > 0)
        for rows in self._groups():
            for row in rows:
                table.add_row(*(row[i] for i in columns))
            table.add_section()
        yield table

    def _groups(self) -> Iterator[list[Row]]:
        """The rows of each group of the first column, whose name the first of them shows."""
        for _, rows in groupby(self.rows, key=itemgetter(0)):
            first, *others = rows
            yield [first, *(("", *row[1:]) for row in others)]


def read_markdown(text: str) -> tuple[list[ReportTable], list[str]]:
    """The tables of ``ReportTable.markdown`` in a text, and the lines that stand between them."""
    tables: list[ReportTable] = []
    notes: list[str] = []
    title = ""
    lines: list[Row] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("| "):
            lines.append(tuple(cell.strip() for cell in line[2:-2].split(" | ")))
            continue
        if lines:
            header, _, *rows = lines
            tables.append(ReportTable(title, header, rows))
            lines = []
        if line.startswith("## "):
            title = line.removeprefix("## ")
        elif line.strip():
            notes.append(line)
    return tables, notes


def _latex_row(row: Row) -> str:
    return " & ".join(map(latex_text, row)) + r" \\"


def latex_text(text: str) -> str:
    """A text whose characters LaTeX shows as they are; a minus is as long as a plus."""
    return re.sub(r"(?<![\w.)])-(?=\d)", "$-$", text.translate(_LATEX)).replace("$<$=", r"$\le$")


def pivot(
    cells: Mapping[tuple[Any, Any], str], columns: Iterable[Any], missing: str = "-"
) -> list[Row]:
    """Rows of a table by ``cells``: (first columns of the row, column) -> text."""
    rows = dict.fromkeys(row for row, _ in cells)
    columns = list(columns)
    return [(*row, *(cells.get((row, column), missing) for column in columns)) for row in rows]


def result_tables(results: Results, made_at: str, confidence: float) -> list[ReportTable]:
    """Accuracy and, if there are any, paired comparisons, of easy, hard and all problems."""
    rules = ", ".join(sorted({m.grader.partition(" ")[0] for m in results.metrics}))
    about = f"({made_at}, graded by {rules}, {confidence:.0%} intervals over problems)"
    tables = [accuracy_table(results.metrics, f"Accuracy in percent {about}")]
    if any(m.metric == AVERAGE for m in results.metrics):
        title = f"Average accuracy (tests passed) in percent {about}"
        tables.append(accuracy_table(results.metrics, title, AVERAGE))
    # Comparisons under other aggregations are in results.json only.
    names = main_names(results.metrics)
    shown = [c for c in results.comparisons if is_main(c, names) and c.group in MAIN_GROUPS]
    rows: list[Row] = []
    for c in shown:
        numbers = f"{c.difference:+.1f}", f"{c.low:+.1f} to {c.high:+.1f}", shown_p(c.p_holm)
        rows.append((c.group, f"{c.a} - {c.b}", str(c.n), *numbers))
    if shown:
        # The number of tests is that of the family: groups that are too small are not in it.
        tests = max(c.family for c in shown)
        title = (
            f"Paired comparisons ({confidence:.0%} intervals over problems; "
            f"p: corrected by Holm for {tests} tests)"
        )
        header = ("", "difference in points", "N", "mean", "interval", "p")
        tables.append(ReportTable(title, header, rows))
    return tables


def accuracy_table(metrics: Sequence[Metric], title: str, metric: str = ACCURACY) -> ReportTable:
    """A row per group and method, a column per N, and the interval at the largest N."""
    shown = [m for m in main_metrics(metrics, metric) if m.group in MAIN_GROUPS]
    shown.sort(key=lambda m: MAIN_GROUPS.index(m.group))
    several = reported.several_reward_models(shown)
    ns = sorted({m.n for m in shown})
    lines: dict[tuple[str, str, str], dict[int, Metric]] = {}
    for m in shown:
        lines.setdefault((m.group, m.reward_model, label(m)), {})[m.n] = m
    rows: list[Row] = []
    for line in lines.values():
        last = line[max(line)]
        name = _SHORT.get(last.method, last.method)
        if last.reward_model:
            name += f" ({f'{last.reward_model}, ' if several else ''}{last.aggregate})"
        cells = [f"{line[n].accuracy:.1f}" if n in line else "" for n in ns]
        rows.append((last.group, name, *cells, f"{last.low:.1f}-{last.high:.1f}"))
    header = ("", "N =", *map(str, ns), "interval")
    return ReportTable(title, header, rows, range(2, 2 + len(ns)))
