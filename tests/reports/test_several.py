"""Several reward models side by side."""

from __future__ import annotations

import pytest

from e2h_cli.reports.results import Metric
from e2h_cli.reports.several import aggregation_rows, own_rows, present_several
from e2h_cli.reports.tables import accuracy_rows, main_lines


def figure(reward: str, method: str, how: str, accuracy: float, k: int = 4) -> Metric:
    return Metric("hard", "sft", reward, method, how, k, accuracy, 0.0, 100.0, 10, "exact")


FIGURES = [
    figure("", "majority", "", 50.0),
    *(figure(r, "weighted-voting", how, a) for r, how, a in [
        ("prm", "prod", 70.0), ("prm", "min", 60.0), ("orm", "last", 65.0), ("orm", "prod", 66.0),
    ]),
    figure("prm", "best-of-n", "min", 55.0), figure("prm", "best-of-n", "min", 1.0, k=2),
]  # fmt: skip


def test_a_row_per_model_and_aggregation_at_the_largest_pool() -> None:
    header, rows = aggregation_rows(FIGURES)
    assert header[:3] == ("reward", "aggregation", "weighted easy")
    found = {row[:2]: row[2:] for row in rows}
    assert found["prm", "min"] == ("-", "60.0", "-", "-", "55.0", "-")
    assert found["orm", "prod"] == ("-", "66.0", "-", "-", "-", "-")
    assert len(rows) == 4


def test_the_main_table_has_the_best_aggregation_of_each_model() -> None:
    kept = {(f.reward, f.method, f.aggregate) for f in main_lines(FIGURES)}
    assert ("prm", "weighted-voting", "min") not in kept
    assert ("orm", "weighted-voting", "prod") in kept
    _, rows = accuracy_rows(FIGURES)
    assert [row[1] for row in rows] == [
        "majority", "weighted (prm, prod)", "weighted (orm, prod)", "best-of-n (prm, min)",
    ]  # fmt: skip


def test_one_model_under_one_aggregation_needs_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    one = [FIGURES[0], FIGURES[1], FIGURES[5]]
    assert present_several(one, [], "tiny") == ""
    assert "by aggregation" in present_several(FIGURES, [], "tiny")
    assert "by aggregation" in capsys.readouterr().out


def test_models_by_themselves() -> None:
    diagnostics = [
        {
            "group": "hard",
            "stage": stage,
            "item": item,
            "score": score,
            "metric": metric,
            "value": v,
        }
        for stage, item, score, metric, v in [
            ("rerank-prm", "step", "step", "roc auc", 0.8),
            ("rerank-prm", "outcome", "last", "accuracy", 0.7),
            ("rerank-prm", "outcome", "prod", "accuracy", 0.1),
            ("rerank-orm", "outcome", "last", "roc auc", 0.6),
        ]
    ]
    _, rows = own_rows(diagnostics)
    assert rows == [
        ("hard", "rerank-prm", "-", "0.800", "0.700", "-"),
        ("hard", "rerank-orm", "-", "-", "-", "0.600"),
    ]
