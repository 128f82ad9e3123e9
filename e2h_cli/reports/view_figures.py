"""The figures of a view as plain data, our curves over the paper's, and their drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from e2h_cli.reports.panels import Bar, Line, Panel, RocLine, plot_bars, plot_panels, plot_roc
from e2h_cli.reports.spec import ReportSpec, Selection, places
from e2h_cli.reports.tidy_metrics import Row
from e2h_cli.reports.view import Run, cell, cell_of, paper_series

X_LABELS = {"n": "N = number of solutions per problem", "iteration": "Iteration"}
PAPER_LABEL = "Paper (Llemma on MATH500)"


@dataclass(frozen=True, slots=True)
class CurveGrid:
    """Rows of panels with their titles; ``y_label``; whether the paper's curves are there."""

    rows: list[list[Panel]]
    titles: list[str]
    y_label: str
    with_paper: bool


def curve_grid(runs: Sequence[Run], spec: ReportSpec) -> CurveGrid:
    """Panels of curves: a row for each place of ``tables``, a panel for each of ``columns``."""
    known = runs[0].metrics.known
    grid, titles = [], []
    for names, of_row in places(spec.tables, known):
        panels = []
        for labels, of_column in places(spec.columns, known):
            lines = [
                _line(runs, spec, " ".join(name), {**of_row, **of_column, **of_line})
                for name, of_line in places(spec.lines, known)
            ]
            panels.append(Panel(" ".join(labels), [line for line in lines if line is not None]))
        if any(panel.lines for panel in panels):
            grid.append(panels)
            titles.append(" ".join(names))
    y_label = "pass@N (%)" if spec.where.get("method") == "pass" else "Accuracy (%)"
    dashed = any(line.paper_x for row in grid for panel in row for line in panel.lines)
    return CurveGrid(grid, titles, y_label, dashed)


def curves_note(runs: Sequence[Run], made_at: str) -> str:
    """What the lines and the bands of curves are of."""
    runs_text = f"mean of {len(runs)} training runs" if len(runs) > 1 else "one training run"
    bands = "t intervals over runs" if len(runs) > 1 else "intervals over problems"
    return f"{made_at}, {runs_text}; bands: 95 % {bands}"


def draw_curves(runs: Sequence[Run], spec: ReportSpec, target: Path, made_at: str) -> list[Path]:
    """Draw ``curve_grid``; no files where it is empty."""
    grid = curve_grid(runs, spec)
    if not grid.rows:
        return []
    return plot_panels(
        grid.rows,
        target,
        x_label=X_LABELS[spec.x],
        y_label=grid.y_label,
        log2=spec.x == "n",
        note=curves_note(runs, made_at),
        paper_label=PAPER_LABEL if grid.with_paper else "",
        row_titles=grid.titles if any(grid.titles) else (),
    )


def _line(runs: Sequence[Run], spec: ReportSpec, name: str, selection: Selection) -> Line | None:
    """Our mean over runs by x, and the paper's curve; None where there is neither."""
    chosen = {**spec.where, **selection}
    found = _by_iteration(runs, chosen) if spec.x == "iteration" else _by_n(runs, chosen)
    points = []
    for x, rows in sorted(found.items()):
        one = cell_of(rows)
        points.append((x, one.mean, one.low, one.high))
    theirs = [(row["n"], row["value"]) for row in paper_series(spec, chosen)]
    if not points and not theirs:
        return None
    ours = list(zip(*points, strict=True)) or [()] * 4
    papers = list(zip(*theirs, strict=True)) or [()] * 2
    return Line(name, *ours, *papers)


def _by_n(runs: Sequence[Run], chosen: Selection) -> dict[int, list[Row]]:
    """N -> the row of each run; values of N that not every run has are left out."""
    found: dict[int, list[Row]] = {}
    for run in runs:
        for row in run.metrics.series(chosen):
            found.setdefault(row["n"], []).append(row)
    return {n: rows for n, rows in found.items() if len(rows) == len(runs)}


def _by_iteration(runs: Sequence[Run], chosen: Selection) -> dict[int, list[Row]]:
    """Iteration -> the row of each run; iteration 0 is the initial generator."""
    found: dict[int, list[Row]] = {}
    start = {k: v for k, v in chosen.items() if k in ("size", "supervision", "group", "method")}
    for run in runs:
        iterations = run.metrics.known.get("iteration", [])
        places_of = {0: {**start, "generator": "SFT"}}
        places_of |= {int(one): {**chosen, "iteration": one} for one in iterations}
        for iteration, selection in places_of.items():
            if row := run.metrics.cell(selection):
                found.setdefault(iteration, []).append(row)
    return {x: rows for x, rows in found.items() if len(rows) == len(runs)}


def bar_groups(runs: Sequence[Run], spec: ReportSpec) -> list[tuple[str, list[Bar]]]:
    """Groups of bars: a group for each place of ``tables`` and ``columns``, a bar for each row."""
    known = runs[0].metrics.known
    groups = []
    for names, of_table in places(spec.tables, known):
        for labels, of_column in places(spec.columns, known):
            bars = []
            for name, of_row in places(spec.rows, known):
                one = cell(runs, spec, {**of_table, **of_column, **of_row})
                if one.mean is not None:
                    bars.append((" ".join(name), one.mean, one.low, one.high))
            groups.append((" ".join([*names, *labels]), bars))
    return groups


def draw_bars(runs: Sequence[Run], spec: ReportSpec, target: Path, made_at: str) -> list[Path]:
    """Draw ``bar_groups``."""
    note = f"{made_at}; bars: 95 % intervals"
    return plot_bars(bar_groups(runs, spec), target, y_label=spec.title, note=note)


def roc_panels(
    runs: Sequence[Run], spec: ReportSpec, curves: pa.Table
) -> list[tuple[str, list[RocLine]]]:
    """ROC curves of the first run on all problems: a panel for steps, and one for outcomes.

    ``curves``: ``rm_report.ROC_SCHEMA`` and the stage of each curve.
    """
    panels = []
    for item, title in (("step", "Steps"), ("outcome", "Outcomes")):
        lines = []
        for names, of_row in places(spec.rows, runs[0].metrics.known):
            chosen = {**spec.where, **of_row, "metric": f"{item} roc auc"}
            row = runs[0].metrics.cell(chosen)
            if row is None:
                continue
            wanted = {"stage": row["stage"], "item": item, "group": "all"}
            points = curves
            for key, value in wanted.items():
                points = points.filter(pc.equal(points[key], value))
            x, y = (points[key].to_numpy() for key in ("false_positive", "true_positive"))
            lines.append((" ".join(names), x, y, row["value"]))
        panels.append((title, lines))
    return panels


def draw_roc(
    runs: Sequence[Run], spec: ReportSpec, curves: pa.Table, target: Path, made_at: str
) -> list[Path]:
    """Draw ``roc_panels``."""
    seed = f", ROC curves of seed {runs[0].seed}" if len(runs) > 1 else ""
    panels = roc_panels(runs, spec, curves)
    return plot_roc(panels, target, note=f"{made_at}{seed}, all problems")
