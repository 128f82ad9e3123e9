"""Metrics of a reward model against hand-computed numbers and against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2h_cli.evaluation.rm_metrics import (
    accuracy_at,
    balanced_accuracy,
    best_first_error,
    calibration,
    first_error,
    first_error_f1,
    roc_auc,
    roc_curve,
    roc_points,
    score_against_length,
)

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


def test_points_of_a_long_roc_curve() -> None:
    """Few points keep both ends, rise, and enclose the area of all scores."""
    rng = np.random.default_rng(0)
    right = rng.random(5000) < 0.2
    scores = rng.normal(right * 1.0, 1.0)
    thin = roc_points(scores, right)
    assert len(thin.false_positive) == len(thin.true_positive) == 400
    assert thin.auc == roc_auc(scores, right)
    assert np.trapezoid(thin.true_positive, thin.false_positive) == pytest.approx(
        thin.auc, abs=1e-3
    )
    for rates in (thin.false_positive, thin.true_positive):
        assert (rates[0], rates[-1]) == (0, 1)
        assert (np.diff(rates) >= 0).all()
    short = roc_points(SCORES, RIGHT)
    np.testing.assert_allclose(short.true_positive, roc_curve(SCORES, RIGHT)[1])
    nothing = roc_points(SCORES, np.ones(5, dtype=bool))
    assert (len(nothing.false_positive), np.isnan(nothing.auc)) == (0, True)


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
