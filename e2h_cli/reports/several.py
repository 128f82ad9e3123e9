"""Several reward models side by side: under every aggregation, and by themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from e2h_cli.reports.results import Metric
from e2h_cli.reports.tables import MAIN_GROUPS, Row, markdown_table, print_table

_METHODS = {"weighted-voting": "weighted", "best-of-n": "best-of-n"}
# (item, score, metric) -> column; an ORM has one score, the last.
_OWN = {
    ("step", "step", "accuracy"): "step accuracy",
    ("step", "step", "roc auc"): "step AUC",
    ("outcome", "last", "accuracy"): "outcome accuracy",
    ("outcome", "last", "roc auc"): "outcome AUC",
}


def present_several(
    figures: Sequence[Metric], diagnostics: Iterable[Mapping[str, Any]], scale: str
) -> str:
    """Print what there is to compare between reward models; return it as Markdown.

    The first table is laid out as the paper's Figures 8 and 16-18 at the largest N (p.24, p.31-33),
    the second as its Table 10 (p.38).
    """
    text = ""
    header, rows = aggregation_rows(figures)
    ways = {(f.reward, f.method, f.aggregate) for f in at_largest(figures)}
    rewards, uses = {reward for reward, _, _ in ways}, {way[:2] for way in ways}
    if len(rewards) > 1 or len(ways) > len(uses):
        k = max(f.k for f in figures)
        text += _shown(
            f"Accuracy in percent at N = {k} by aggregation ({scale} scale)", header, rows
        )
    header, rows = own_rows(diagnostics)
    if len({row[1] for row in rows}) > 1:
        text += _shown(f"Reward models by themselves ({scale} scale)", header, rows)
    return text


def _shown(title: str, header: Row, rows: Sequence[Row]) -> str:
    print_table(title, header, rows)
    return f"\n## {title}\n\n{markdown_table(header, rows)}"


def at_largest(figures: Sequence[Metric]) -> list[Metric]:
    """What a reward model has chosen from the largest pool."""
    largest = max((f.k for f in figures), default=0)
    return [
        f for f in figures if f.k == largest and f.method in _METHODS and f.group in MAIN_GROUPS
    ]


def aggregation_rows(figures: Sequence[Metric]) -> tuple[Row, list[Row]]:
    """A row per reward model and aggregation, at the largest pool: weighted voting, best-of-n."""
    cells: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for f in at_largest(figures):
        cells.setdefault((f.reward, f.aggregate), {})[f.method, f.group] = f.accuracy
    columns = [(m, g) for m in _METHODS for g in MAIN_GROUPS]
    header = ("reward", "aggregation", *(f"{_METHODS[m]} {g}" for m, g in columns))
    rows = [
        (reward, how, *(f"{line[c]:.1f}" if c in line else "-" for c in columns))
        for (reward, how), line in sorted(cells.items(), key=lambda item: item[0][0])
    ]
    return header, rows


def own_rows(diagnostics: Iterable[Mapping[str, Any]]) -> tuple[Row, list[Row]]:
    """A row per group and reward model: accuracy and ROC AUC on steps and on outcomes."""
    cells: dict[tuple[str, str], dict[str, float]] = {}
    for d in diagnostics:
        column = _OWN.get((d["item"], d["score"], d["metric"]))
        if column and d["group"] in MAIN_GROUPS:
            cells.setdefault((d["group"], d["stage"]), {})[column] = d["value"]
    columns = list(_OWN.values())
    rows = [
        (group, stage, *(f"{line[c]:.3f}" if c in line else "-" for c in columns))
        for group in MAIN_GROUPS
        for (of, stage), line in cells.items()
        if of == group
    ]
    return ("", "scores of", *columns), rows
