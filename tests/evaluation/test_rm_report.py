"""All metrics of a reward model by group of problems, with intervals."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from e2h_cli.evaluation.labelled_scores import ScoredSamples, StepLabels
from e2h_cli.evaluation.rm_report import Diagnostic, reward_metrics, roc_table
from tests.evaluation.score_rows import LABELS, many, tables


def scored(
    samples: pa.Table, scores: pa.Table, right: np.ndarray, labels: StepLabels | None = None
) -> ScoredSamples:
    return ScoredSamples(samples, scores, right, [], labels)


def by_name(rows: list[Diagnostic]) -> dict[tuple[str, str, str, str], Diagnostic]:
    return {(r.group, r.item, r.score, r.metric): r for r in rows}


def test_reward_metrics_by_group() -> None:
    samples, scores = tables()
    right = np.array([True, False, True, False])
    groups = {"easy": np.array([True, False]), "all": np.array([True, True])}
    rows = by_name(reward_metrics(scored(samples, scores, right, LABELS), groups))
    accuracy = rows["all", "outcome", "last", "accuracy"]
    # Two problems without a mistake: a third one could be all wrong.
    assert (accuracy.value, accuracy.high) == (1.0, 1.0)
    assert accuracy.low == pytest.approx(0.342, abs=1e-3)
    assert (accuracy.items, accuracy.problems, accuracy.share_right) == (4, 2, 0.5)
    assert rows["easy", "step", "step", "accuracy"].items == 4
    assert rows["easy", "step", "step", "roc auc"].value == 1.0
    assert rows["easy", "solution", "step", "first error f1"].value == 1.0
    assert rows["all", "solution", "step", "first error f1"].problems == 1
    assert rows["all", "outcome", "prod", "balanced accuracy"].value == 1.0
    # Ranks of the scores 3 1 4 2, of the steps 3.5 3.5 2 1, of the tokens 1 2 3 4.
    steps = rows["all", "outcome", "last", "correlation with steps"]
    assert steps.value == pytest.approx(-1 / np.sqrt(4.5 * 5))
    tokens = rows["all", "outcome", "last", "correlation with tokens"]
    assert tokens.value == pytest.approx(0)
    assert (tokens.low, tokens.high) == (None, None)
    assert all(np.isfinite(r.value) for r in rows.values())
    without = by_name(reward_metrics(scored(samples, scores, right), groups))
    assert {key[1] for key in without} == {"outcome"}


def test_roc_curves_of_steps_and_outcomes_by_group() -> None:
    samples, scores = tables()
    right = np.array([True, False, True, False])
    groups = {"all": np.array([True, True]), "hard": np.array([False, True])}
    table = roc_table(scored(samples, scores, right, LABELS), groups)
    curves: dict[tuple[str, str, str], list[tuple[float, ...]]] = {}
    for group, item, score, *numbers in (row.values() for row in table.to_pylist()):
        curves.setdefault((group, item, score), []).append(tuple(numbers))
    # Of the hard problem no step has a label.
    assert list(curves) == [
        ("all", "step", "step"), ("all", "outcome", "last"), ("hard", "outcome", "last"),
    ]  # fmt: skip
    # Right steps score 0.9, 0.8 and 0.9, the wrong one 0.2.
    assert curves["all", "step", "step"] == [
        (1, 0, 0), (1, 0, pytest.approx(2 / 3)), (1, 0, 1), (1, 1, 1),
    ]  # fmt: skip


def test_reward_metrics_wants_matching_rows() -> None:
    samples, scores = tables()
    with pytest.raises(ValueError, match="same rows"):
        reward_metrics(scored(samples.slice(1), scores, np.ones(4, dtype=bool)), {})


def test_intervals_cover_the_value_and_shrink() -> None:
    samples, scores, right, labels = many()
    groups = {"all": np.ones(60, dtype=bool), "few": np.arange(60) < 8}
    rows = by_name(reward_metrics(scored(samples, scores, right, labels), groups))
    for key, row in rows.items():
        if row.low is not None and row.high is not None:
            assert row.low <= row.value <= row.high, key
    for item, metric in (("step", "roc auc"), ("outcome", "accuracy")):
        score = "step" if item == "step" else "last"
        whole, few = (rows[g, item, score, metric] for g in ("all", "few"))
        assert whole.high - whole.low < few.high - few.low  # type: ignore[operator]


def test_a_group_without_steps_has_no_step_metrics() -> None:
    samples, scores = tables()
    groups = {"hard": np.array([False, True])}
    rows = reward_metrics(scored(samples, scores, np.ones(4, dtype=bool), LABELS), groups)
    assert {row.item for row in rows} == {"outcome"}
    assert not any(row.metric in ("roc auc", "balanced accuracy") for row in rows)
