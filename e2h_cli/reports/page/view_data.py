"""Views and tables of a run as JSON: tables, claims, figures, case studies, tidy metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from e2h_cli.reports.case_pages import outcomes_in_words, style_rows
from e2h_cli.reports.cases import CaseStudy, ShownSolution
from e2h_cli.reports.spec import ReportSpec
from e2h_cli.reports.tables import ReportTable
from e2h_cli.reports.tidy_metrics import Metrics
from e2h_cli.reports.view import Checked, Run
from e2h_cli.reports.view_figures import (
    PAPER_LABEL,
    X_LABELS,
    bar_groups,
    curve_grid,
    curves_note,
    roc_panels,
)

# Points of a ROC curve; more are closer than a pixel.
_ROC_POINTS = 300

Json = dict[str, Any]


def table_json(table: ReportTable) -> Json:
    """Title, header and rows of texts."""
    return {"title": table.title, "header": [*table.header], "rows": [[*r] for r in table.rows]}


def claims_json(checked: Sequence[Checked]) -> list[str]:
    """The verdicts on the claims, in the order of the rows of their table."""
    return [one.verdict.partition(" (")[0] for one in checked]


def figure_json(
    runs: Sequence[Run], spec: ReportSpec, made_at: str, roc: pa.Table | None
) -> Json | None:
    """The figure of a view as plain numbers; None for a view without one.

    ``roc``: the ROC curves of its eval stage, which a view of that kind needs.
    """
    if spec.kind == "curves":
        grid = curve_grid(runs, spec)
        rows = [
            {"title": title, "panels": [asdict(panel) for panel in panels]}
            for title, panels in zip(grid.titles, grid.rows, strict=True)
        ]
        return {
            "kind": "curves", "rows": rows, "x": X_LABELS[spec.x], "y": grid.y_label,
            "log2": spec.x == "n", "note": curves_note(runs, made_at),
            "paper": PAPER_LABEL if grid.with_paper else "",
        }  # fmt: skip
    if spec.kind == "bars":
        groups = [{"name": name, "bars": [[*bar] for bar in bars]} for name, bars in
                  bar_groups(runs, spec)]  # fmt: skip
        note = f"{made_at}; bars: 95 % intervals"
        return {"kind": "bars", "groups": groups, "y": spec.title, "note": note}
    if spec.kind == "roc" and roc is not None:
        panels = [
            {"title": title, "lines": [_roc_line(*line) for line in lines]}
            for title, lines in roc_panels(runs, spec, roc)
        ]
        return {"kind": "roc", "panels": panels, "note": f"{made_at}, all problems"}
    return None


def _roc_line(name: str, x: Any, y: Any, area: float) -> Json:
    chosen = np.unique(np.linspace(0, max(len(x) - 1, 0), _ROC_POINTS).astype(int))
    points = {"x": x, "y": y} if len(x) <= _ROC_POINTS else {"x": x[chosen], "y": y[chosen]}
    rounded = {key: np.round(values, 4).tolist() for key, values in points.items()}
    return {"name": name, "auc": round(area, 4), **rounded}


def study_json(study: CaseStudy) -> Json:
    """A case study: its rule, the outcomes of all problems, and both solutions of each case."""
    cases = [
        {
            "id": case.problem.id,
            "sides": [_solution_json(side) for side in (case.left, case.right)],
        }
        for case in study.cases
    ]
    found: Json = {"title": study.title, "rule": study.rule, "cases": cases}
    found["outcomes"] = outcomes_in_words(study)
    if study.style:
        found["style"] = style_rows(study.style)
    return found


def _solution_json(solution: ShownSolution) -> Json:
    votes = None if solution.votes is None else asdict(solution.votes)
    return {
        "name": solution.name, "right": solution.right, "answer": solution.answer,
        "sample": solution.sample, "votes": votes,
    }  # fmt: skip


def metrics_json(metrics: Metrics) -> Json:
    """Tidy metrics as columns of numbers of a list of distinct values."""
    columns: dict[str, Json] = {}
    for name in dict.fromkeys(key for row in metrics.rows for key in row):
        values = [_rounded(row.get(name)) for row in metrics.rows]
        distinct = list(dict.fromkeys(values))
        number = {value: i for i, value in enumerate(distinct)}
        columns[name] = {"values": distinct, "rows": [number[value] for value in values]}
    return columns


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def tables_json(tables: Iterable[ReportTable]) -> list[Json]:
    """``table_json`` of several."""
    return [table_json(table) for table in tables]
