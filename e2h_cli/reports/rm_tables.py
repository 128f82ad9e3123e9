"""Tables about reward models: metrics of one, and several side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from e2h_cli.evaluation.rm_report import Diagnostic
from e2h_cli.evaluation.sample_groups import ACCURACY
from e2h_cli.reports.results import MAIN_GROUPS, Metric
from e2h_cli.reports.tables import ReportTable, Row, pivot

_METHODS = {"weighted-voting": "weighted", "best-of-n": "best-of-n"}
_METRICS = ("accuracy", "balanced accuracy", "roc auc", "calibration error", "first error f1")
# (item, score, metric) -> column; an ORM has one score, the last.
_COLUMNS = {
    ("step", "step", "accuracy"): "step accuracy",
    ("step", "step", "roc auc"): "step AUC",
    ("outcome", "last", "accuracy"): "outcome accuracy",
    ("outcome", "last", "roc auc"): "outcome AUC",
}


def diagnostics_table(diagnostics: Iterable[Diagnostic], name: str) -> ReportTable:
    """Metrics of the reward model of the stage ``name``, by group and score."""
    cells: dict[tuple[Row, str], str] = {}
    for d in diagnostics:
        # First errors are about whole solutions and step scores: they are in the row of the steps.
        item = "steps" if d.score == "step" else f"outcome ({d.score})"
        if d.group in MAIN_GROUPS and d.metric in _METRICS:
            cell = f"{d.value:.3f}"
            if d.low is not None and d.high is not None:
                cell += f" ({d.low:.2f}-{d.high:.2f})"
            cells[(d.group, item), d.metric] = cell
    header = ("", "score of", *_METRICS)
    return ReportTable(
        f"Reward model of {name} (intervals over problems)",
        header,
        pivot(cells, _METRICS, missing=""),
    )


def reward_model_tables(
    metrics: Sequence[Metric], diagnostics: Iterable[Mapping[str, Any]], made_at: str
) -> list[ReportTable]:
    """Tables that compare reward models and aggregations, where there are several.

    The first is laid out as the paper's Figures 8 and 16-18 at the largest N (p.24, p.31-33), the
    second as its Table 10 (p.38). ``diagnostics``: rows of ``Diagnostic`` with the ``stage`` whose
    scores they are about.
    """
    tables = []
    uses = {(m.reward_model, m.method, m.aggregate) for m in _at_largest_n(metrics)}
    if len({use[0] for use in uses}) > 1 or len(uses) > len({use[:2] for use in uses}):
        tables.append(aggregation_table(metrics, made_at))
    side_by_side = diagnostics_by_stage(diagnostics, made_at)
    if len({row[1] for row in side_by_side.rows}) > 1:
        tables.append(side_by_side)
    return tables


def _at_largest_n(metrics: Sequence[Metric]) -> list[Metric]:
    """Metrics of weighted voting and best-of-n from all samples."""
    largest = max((m.n for m in metrics), default=0)
    return [
        m
        for m in metrics
        if (m.n, m.metric) == (largest, ACCURACY)
        and m.method in _METHODS
        and m.group in MAIN_GROUPS
    ]


def aggregation_table(metrics: Sequence[Metric], made_at: str) -> ReportTable:
    """Accuracy at the largest N: a row per reward model and aggregation."""
    columns = [(method, group) for method in _METHODS for group in MAIN_GROUPS]
    header = ("reward", "aggregation", *(f"{_METHODS[m]} {group}" for m, group in columns))
    cells = {
        ((m.reward_model, m.aggregate), (m.method, m.group)): f"{m.accuracy:.1f}"
        for m in sorted(_at_largest_n(metrics), key=lambda m: m.reward_model)
    }
    largest = max((m.n for m in metrics), default=0)
    title = f"Accuracy in percent at N = {largest} by aggregation ({made_at})"
    return ReportTable(title, header, pivot(cells, columns))


def diagnostics_by_stage(diagnostics: Iterable[Mapping[str, Any]], made_at: str) -> ReportTable:
    """Accuracy and ROC AUC on steps and on outcomes: a row per group and reward model."""
    rows = [d for d in diagnostics if d["group"] in MAIN_GROUPS]
    cells = {
        ((d["group"], d["stage"]), column): f"{d['value']:.3f}"
        for d in sorted(rows, key=lambda d: MAIN_GROUPS.index(d["group"]))
        if (column := _COLUMNS.get((d["item"], d["score"], d["metric"])))
    }
    columns = list(_COLUMNS.values())
    title = f"Reward models by themselves ({made_at})"
    return ReportTable(title, ("", "scores of", *columns), pivot(cells, columns))
