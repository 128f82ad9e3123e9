"""Tables of several reward models, and the main table beside them."""

from __future__ import annotations

from e2h_cli.reports.results import Metric, main_metrics
from e2h_cli.reports.rm_tables import aggregation_table, diagnostics_by_stage, reward_model_tables
from e2h_cli.reports.tables import accuracy_table


def metric(reward_model: str, method: str, aggregate: str, accuracy: float, n: int = 4) -> Metric:
    about = ("hard", "sft", reward_model, method, aggregate, n)
    return Metric(*about, accuracy, 0.0, 100.0, 10, "exact")


METRICS = [
    metric("", "majority", "", 50.0),
    *(metric(r, "weighted-voting", aggregate, a) for r, aggregate, a in [
        ("prm", "prod", 70.0), ("prm", "min", 60.0), ("orm", "last", 65.0), ("orm", "prod", 66.0),
    ]),
    metric("prm", "best-of-n", "min", 55.0), metric("prm", "best-of-n", "min", 1.0, n=2),
]  # fmt: skip


def test_a_row_per_model_and_aggregation_at_the_largest_n() -> None:
    table = aggregation_table(METRICS, "tiny scale")
    assert table.header[:3] == ("reward", "aggregation", "weighted easy")
    found = {row[:2]: row[2:] for row in table.rows}
    assert found["prm", "min"] == ("-", "60.0", "-", "-", "55.0", "-")
    assert found["orm", "prod"] == ("-", "66.0", "-", "-", "-", "-")
    assert len(table.rows) == 4


def test_the_main_table_has_the_best_aggregation_of_each_model() -> None:
    kept = {(m.reward_model, m.method, m.aggregate) for m in main_metrics(METRICS)}
    assert ("prm", "weighted-voting", "min") not in kept
    assert ("orm", "weighted-voting", "prod") in kept
    assert [row[1] for row in accuracy_table(METRICS, "").rows] == [
        "majority", "weighted (prm, prod)", "weighted (orm, prod)", "best-of-n (prm, min)",
    ]  # fmt: skip


def test_one_model_under_one_aggregation_needs_no_table() -> None:
    one = [METRICS[0], METRICS[1], METRICS[5]]
    assert reward_model_tables(one, [], "tiny scale") == []
    (table,) = reward_model_tables(METRICS, [], "tiny scale")
    assert table.title == "Accuracy in percent at N = 4 by aggregation (tiny scale)"


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
    assert diagnostics_by_stage(diagnostics, "tiny scale").rows == [
        ("hard", "rerank-prm", "-", "0.800", "0.700", "-"),
        ("hard", "rerank-orm", "-", "-", "-", "0.600"),
    ]
    two = reward_model_tables([], diagnostics, "tiny scale")
    assert [table.title for table in two] == ["Reward models by themselves (tiny scale)"]
    assert reward_model_tables([], diagnostics[:3], "tiny scale") == []
