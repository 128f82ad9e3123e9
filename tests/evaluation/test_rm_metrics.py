"""Measures of a reward model against hand-computed numbers and against brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2h_cli.common import parquet_store
from e2h_cli.evaluation.reward_metrics import (
    Diagnostic,
    Judged,
    judged_outcomes,
    judged_steps,
    reward_metrics,
    traced,
)
from e2h_cli.evaluation.rm_metrics import (
    accuracy_at,
    balanced_accuracy,
    best_first_error,
    calibration,
    first_error,
    first_error_f1,
    roc_auc,
    roc_curve,
    score_against_length,
)
from e2h_cli.reports.diagnostics_plot import reward_diagnostics

SCORES = np.array([0.9, 0.8, 0.7, 0.3, 0.2])
RIGHT = np.array([True, False, True, True, False])

items = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12)


def test_roc_auc_by_hand() -> None:
    # Pairs (right, wrong): .9 beats both, .7 and .3 beat only .2: 4 of 6.
    assert roc_auc(SCORES, RIGHT) == pytest.approx(4 / 6)
    assert roc_auc(np.array([1.0, 1.0]), np.array([True, False])) == 0.5
    assert np.isnan(roc_auc(SCORES, np.ones(5, dtype=bool)))


@given(items)
def test_roc_auc_is_the_share_of_ordered_pairs_and_the_area(cases: list[tuple[int, bool]]) -> None:
    scores = np.array([s for s, _ in cases], dtype=float)
    right = np.array([r for _, r in cases])
    if right.all() or not right.any():
        assert np.isnan(roc_auc(scores, right))
        return
    pairs = [(a > b) + (a == b) / 2 for a in scores[right] for b in scores[~right]]
    assert roc_auc(scores, right) == pytest.approx(np.mean(pairs))
    false, true = roc_curve(scores, right)
    assert np.trapezoid(true, false) == pytest.approx(np.mean(pairs))


def test_roc_curve_by_hand() -> None:
    false, true = roc_curve(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False]))
    np.testing.assert_allclose(false, [0, 0, 0.5, 1])
    np.testing.assert_allclose(true, [0, 0.5, 1, 1])
    with pytest.raises(ValueError, match="right and wrong"):
        roc_curve(SCORES, np.ones(5, dtype=bool))


def test_accuracy_by_hand() -> None:
    # Judged right: .9 .8 .7; so .8 and .3 are misjudged.
    assert accuracy_at(SCORES, RIGHT) == pytest.approx(3 / 5)
    assert accuracy_at(SCORES, RIGHT, 0.7) == pytest.approx(3 / 5)  # at the threshold is right
    assert accuracy_at(SCORES, RIGHT, 0.25) == pytest.approx(4 / 5)
    assert balanced_accuracy(SCORES, RIGHT) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert np.isnan(balanced_accuracy(SCORES, np.zeros(5, dtype=bool)))


def test_balanced_accuracy_is_the_mean_over_balanced_subsets() -> None:
    # Two wrong ones with each two of the three right ones.
    subsets = [[0, 2, 1, 4], [0, 3, 1, 4], [2, 3, 1, 4]]
    mean = np.mean([accuracy_at(SCORES[s], RIGHT[s]) for s in subsets])
    assert balanced_accuracy(SCORES, RIGHT) == pytest.approx(mean)


def test_calibration_by_hand() -> None:
    scores = np.array([0.1, 0.2, 0.7, 0.9])
    right = np.array([False, True, True, True])
    done = calibration(scores, right, bins=2, equal="width")
    np.testing.assert_allclose(done.mean_score, [0.15, 0.8])
    np.testing.assert_allclose(done.share_right, [0.5, 1.0])
    np.testing.assert_array_equal(done.count, [2, 2])
    assert done.error == pytest.approx(0.5 * 0.35 + 0.5 * 0.2)


def test_calibration_bins() -> None:
    scores = np.array([0.1, 0.1, 0.1, 0.9])
    right = np.array([False, False, True, True])
    mass = calibration(scores, right, bins=4)
    np.testing.assert_array_equal(mass.count, [3, 1])  # equal scores share a bin
    assert calibration(np.array([0.0, 1.0]), right[2:], 10, "width").count.tolist() == [1, 1]
    with pytest.raises(ValueError, match="probabilities"):
        calibration(np.array([1.5]), np.array([True]))


def test_first_error_by_hand() -> None:
    scores = np.array([0.9, 0.4, 0.1, 0.8, 0.9, 0.2])
    lengths = np.array([3, 0, 2, 1])
    assert first_error(scores, lengths).tolist() == [1, -1, -1, 0]
    assert first_error(scores, lengths, 0.3).tolist() == [2, -1, -1, 0]
    assert first_error(scores, lengths, 0.85).tolist() == [1, -1, 0, 0]


def test_first_error_f1_by_hand() -> None:
    found = first_error_f1(np.array([1, 2, -1, 0]), np.array([1, 1, -1, -1]))
    assert (found.on_wrong, found.on_right) == (0.5, 0.5)
    assert found.f1 == pytest.approx(0.5)
    uneven = first_error_f1(np.array([1, -1]), np.array([1, -1]))
    assert uneven.f1 == 1.0
    assert first_error_f1(np.array([0, 0]), np.array([1, -1])).f1 == 0.0
    assert np.isnan(first_error_f1(np.array([1]), np.array([1])).f1)


@st.composite
def solutions(draw: st.DrawFn) -> tuple[list[list[int]], list[int]]:
    steps = draw(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), min_size=2))
    return steps, [draw(st.integers(-1, len(s) - 1)) for s in steps]


@given(solutions())
def test_best_first_error_is_the_best_of_all_thresholds(
    case: tuple[list[list[int]], list[int]],
) -> None:
    steps, actual_list = case
    scores = np.array([s for many in steps for s in many], dtype=float)
    lengths, actual = np.array([len(s) for s in steps]), np.array(actual_list)
    threshold, found = best_first_error(scores, lengths, actual)
    if (actual == -1).all() or (actual != -1).all():
        assert np.isnan(found.f1)
        return
    tried = [
        first_error_f1(first_error(scores, lengths, t), actual).f1 for t in np.arange(-0.5, 6, 0.5)
    ]
    assert found.f1 == pytest.approx(max(tried))
    assert first_error_f1(first_error(scores, lengths, threshold), actual) == found


def test_score_against_length() -> None:
    assert score_against_length(np.array([3.0, 2.0, 1.0]), np.array([1, 5, 90])) == -1.0
    assert np.isnan(score_against_length(np.array([3.0, 2.0]), np.array([4, 4])))


def tables() -> tuple[pa.Table, pa.Table]:
    rows = [
        ("a", 0, [0.9, 0.8], 0.7),
        ("a", 1, [0.9, 0.2], 0.1),
        ("b", 0, [0.6], 0.9),
        ("b", 1, [], 0.3),
    ]
    scores = pa.Table.from_pylist(
        [
            {"id": i, "sample": n, "step_scores": steps, "outcome_score": outcome}
            for i, n, steps, outcome in rows
        ],
        schema=parquet_store.SCORE_SCHEMA,
    )
    samples = pa.Table.from_pylist(
        [
            {"id": i, "sample": n, "text": "", "tokens": 10 + k}
            for k, (i, n, _, _) in enumerate(rows)
        ],
        schema=parquet_store.SAMPLE_SCHEMA,
    )
    return samples, scores


LABELS = [[True, True], [True, False, None], [None], [True]]


def test_judged_steps_and_outcomes() -> None:
    _, scores = tables()
    steps = judged_steps(scores, LABELS)
    np.testing.assert_allclose(steps.scores, [0.9, 0.8, 0.9, 0.2], atol=1e-6)
    assert steps.right.tolist() == [True, True, True, False]
    assert steps.owner.tolist() == [0, 0, 0, 0]
    outcomes = judged_outcomes(scores, np.array([True, False, True, False]), "prod")
    np.testing.assert_allclose(outcomes.scores, [0.504, 0.018, 0.54, 0.3], atol=1e-6)
    assert outcomes.of(np.array([False, True])).owner.tolist() == [0, 0]
    with pytest.raises(ValueError, match="2 step scores, but 1 labels"):
        judged_steps(scores, [[True]] * 4)


def test_traced_leaves_out_what_is_not_known() -> None:
    _, scores = tables()
    known = traced(scores, LABELS)
    assert known.actual.tolist() == [-1, 1]
    assert known.lengths.tolist() == [2, 2]
    assert known.owner.tolist() == [0, 0]
    # The first wrong step of the second sample is beyond its scored ones.
    assert traced(scores, [[True, True], [True, True, False], [False], []]).actual.tolist() == [
        -1,
        0,
    ]


def by_name(rows: list[Diagnostic]) -> dict[tuple[str, str, str, str], Diagnostic]:
    return {(r.group, r.item, r.score, r.metric): r for r in rows}


def test_reward_metrics_by_group() -> None:
    samples, scores = tables()
    right = np.array([True, False, True, False])
    groups = {"easy": np.array([True, False]), "all": np.array([True, True])}
    rows = by_name(reward_metrics(samples, scores, right, groups, step_labels=LABELS))
    accuracy = rows["all", "outcome", "last", "accuracy"]
    assert (accuracy.value, accuracy.low, accuracy.high) == (1.0, 1.0, 1.0)
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
    without = by_name(reward_metrics(samples, scores, right, groups))
    assert {key[1] for key in without} == {"outcome"}


def test_reward_metrics_wants_matching_rows() -> None:
    samples, scores = tables()
    with pytest.raises(ValueError, match="same rows"):
        reward_metrics(samples.slice(1), scores, np.ones(4, dtype=bool), {})


def many(problems: int = 60, each: int = 40) -> tuple[pa.Table, pa.Table, np.ndarray, list]:
    rng = np.random.default_rng(0)
    sample_rows, score_rows, right, labels = [], [], [], []
    for p in range(problems):
        for n in range(each):
            wrong_from = rng.geometric(0.08 + 0.12 * (p % 2)) - 1
            own = [i < wrong_from for i in range(6)]
            steps = [float(rng.beta(4, 2) if ok else rng.beta(2, 3)) for ok in own]
            ok = all(own)
            outcome = float(rng.beta(3, 2) if ok else rng.beta(1.2, 3))
            key = {"id": f"p{p}", "sample": n}
            sample_rows.append({**key, "text": "", "tokens": 10})
            score_rows.append({**key, "step_scores": steps, "outcome_score": outcome})
            right.append(ok)
            labels.append(own)
    samples = pa.Table.from_pylist(sample_rows, schema=parquet_store.SAMPLE_SCHEMA)
    scores = pa.Table.from_pylist(score_rows, schema=parquet_store.SCORE_SCHEMA)
    return samples, scores, np.array(right), labels


def test_intervals_cover_the_value_and_shrink() -> None:
    samples, scores, right, labels = many()
    groups = {"all": np.ones(60, dtype=bool), "few": np.arange(60) < 8}
    rows = by_name(reward_metrics(samples, scores, right, groups, step_labels=labels))
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
    rows = reward_metrics(samples, scores, np.array([True] * 4), groups, step_labels=LABELS)
    assert {row.item for row in rows} == {"outcome"}
    assert not any(row.metric in ("roc auc", "balanced accuracy") for row in rows)


def test_plot_is_written_twice(tmp_path: Path) -> None:
    _, scores, right, labels = many(10, 20)
    judged = {
        "Steps": judged_steps(scores, labels),
        "Outcomes": judged_outcomes(scores, right, "last"),
    }
    paths = reward_diagnostics(judged, tmp_path / "reward", note="tiny scale")
    assert [p.name for p in paths] == ["reward.png", "reward.svg"]
    assert all(p.stat().st_size > 5_000 for p in paths)
    again = reward_diagnostics(judged, tmp_path / "again", note="tiny scale")
    assert again[1].read_bytes() == paths[1].read_bytes()


def test_plot_of_outcomes_that_are_all_right(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    only = Judged(np.array([0.2, 0.9]), np.array([True, True]), np.array([0, 1]))
    paths = reward_diagnostics({"Outcomes": only}, tmp_path / "reward", note="")
    assert all(path.is_file() for path in paths)
    assert not recwarn.list
