"""The figures of a view: our curves over the paper's, drawn by ``panels``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from e2h_cli.reports.panels import Line, Panel, plot_bars, plot_panels, plot_roc
from e2h_cli.reports.spec import ReportSpec, Selection, places
from e2h_cli.reports.tidy_metrics import Row
from e2h_cli.reports.view import Run, cell, cell_of, paper_series

_X_LABELS = {"n": "N = number of solutions per problem", "iteration": "Iteration"}


def draw_curves(runs: Sequence[Run], spec: ReportSpec, target: Path, made_at: str) -> list[Path]:
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
    if not grid:
        return []
    runs_text = f"mean of {len(runs)} training runs" if len(runs) > 1 else "one training run"
    bands = "t intervals over runs" if len(runs) > 1 else "intervals over problems"
    dashed = any(line.paper_x for row in grid for panel in row for line in panel.lines)
    return plot_panels(
        grid,
        target,
        x_label=_X_LABELS[spec.x],
        y_label="pass@N (%)" if spec.where.get("method") == "pass" else "Accuracy (%)",
        log2=spec.x == "n",
        note=f"{made_at}, {runs_text}; bands: 95 % {bands}",
        paper_label="Paper (Llemma on MATH500)" if dashed else "",
        row_titles=titles if any(titles) else (),
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


def draw_bars(runs: Sequence[Run], spec: ReportSpec, target: Path, made_at: str) -> list[Path]:
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
    note = f"{made_at}; bars: 95 % intervals"
    return plot_bars(groups, target, y_label=spec.title, note=note)


def draw_roc(
    runs: Sequence[Run], spec: ReportSpec, curves: pa.Table, target: Path, made_at: str
) -> list[Path]:
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
            rates = (points[key].to_numpy() for key in ("false_positive", "true_positive"))
            lines.append((" ".join(names), *rates, row["value"]))
        panels.append((title, lines))
    seed = f", ROC curves of seed {runs[0].seed}" if len(runs) > 1 else ""
    return plot_roc(panels, target, note=f"{made_at}{seed}, all problems")
