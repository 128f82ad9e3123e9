"""Estimators against hand-computed numbers and against brute force over all subsets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from e2h_cli.evaluation.statistics import (
    best_of_n_accuracy,
    bootstrap_interval,
    bootstrap_weights,
    compare,
    holm,
    mean_and_spread,
    paired_test_over_runs,
    pass_at_k,
    sign_flips,
)


@pytest.mark.parametrize(
    ("samples", "right", "k", "expected"),
    [(4, 1, 1, 0.25), (4, 1, 2, 0.5), (4, 2, 2, 5 / 6), (4, 0, 4, 0), (4, 4, 1, 1), (1, 1, 1, 1)],
)
def test_pass_at_k_by_hand(samples: int, right: int, k: int, expected: float) -> None:
    assert pass_at_k(samples, right, k) == pytest.approx(expected)


def test_pass_at_k_does_not_overflow() -> None:
    assert pass_at_k(1024, 1, 512) == pytest.approx(0.5)
    assert pass_at_k(1024, 1, 1024) == 1.0
    with pytest.raises(ValueError, match="not in"):
        pass_at_k(4, 1, 5)


@given(
    st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))
)
def test_pass_at_k_against_all_subsets(case: tuple[int, int, int]) -> None:
    samples, right, k = case
    hits = [any(i < right for i in subset) for subset in combinations(range(samples), k)]
    assert pass_at_k(samples, right, k) == pytest.approx(np.mean(hits))


def test_best_of_n_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.1])
    right = np.array([False, True, True])
    every = np.ones(3, dtype=bool)
    # k = 2: {0,1} wrong, {0,2} wrong, {1,2} right
    assert best_of_n_accuracy(scores, every, right, [1, 2, 3]) == pytest.approx([2 / 3, 1 / 3, 0])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.5, 0.9, -3.0]), st.booleans(), st.booleans()),
        min_size=1,
        max_size=7,
    )
)
def test_best_of_n_against_all_subsets(samples: list[tuple[float, bool, bool]]) -> None:
    """With ties (one of the tied is taken at random) and samples without an answer (never win)."""
    scores, answered, right = (np.array(column) for column in zip(*samples, strict=True))
    ks = list(range(1, len(samples) + 1))
    found = best_of_n_accuracy(scores, answered, right, ks)
    for k, value in zip(ks, found, strict=True):
        expected = []
        for subset in combinations(range(len(samples)), k):
            able = [i for i in subset if answered[i]]
            top = [i for i in able if scores[i] == max(scores[able])] if able else []
            expected.append(np.mean([right[i] for i in top]) if top else 0.0)
        assert value == pytest.approx(np.mean(expected))


def test_best_of_n_refuses_nan() -> None:
    one = np.ones(1, dtype=bool)
    with pytest.raises(ValueError, match="NaN"):
        best_of_n_accuracy(np.array([np.nan]), one, one, [1])


def test_bootstrap_of_a_coin_is_binomial() -> None:
    values = np.array([0.0] * 50 + [1.0] * 50)
    weights = bootstrap_weights(100, 5000, np.random.default_rng(0))
    assert weights.sum(axis=1) == pytest.approx(1)
    low, high = bootstrap_interval(values, weights, 0.95)
    assert (low, high) == pytest.approx((0.402, 0.598), abs=0.015)


def test_paired_test_sees_what_an_unpaired_one_would_not() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.random(200)
    a, b = difficulty + 0.02 + 0.01 * rng.standard_normal(200), difficulty
    weights = bootstrap_weights(200, 500, rng)
    found = compare(a, b, weights, sign_flips(200, rng), 0.95)
    assert found.difference == pytest.approx(0.02, abs=0.005)
    assert 0 < found.low < found.high
    assert found.p < 0.001


def test_paired_test_by_hand() -> None:
    """Three problems, all better by one: of eight sign patterns two are as extreme, p = 1/4."""
    weights = bootstrap_weights(3, 100, np.random.default_rng(0))
    signs = sign_flips(3, np.random.default_rng(0))
    found = compare(np.ones(3), np.zeros(3), weights, signs, 0.95)
    assert found.p == pytest.approx(0.25, abs=0.02)


def test_equal_methods_do_not_differ() -> None:
    same = np.array([1.0, 0.0, 1.0])
    weights = bootstrap_weights(3, 100, np.random.default_rng(0))
    assert compare(same, same, weights, sign_flips(3, np.random.default_rng(0)), 0.95).p == 1.0


def test_spread_over_runs_by_hand() -> None:
    """1, 2, 3: sd 1, t(2) at 97.5 % 4.3027, standard error 1 / sqrt(3)."""
    found = mean_and_spread([1.0, 2.0, 3.0])
    assert found is not None
    assert (found.mean, found.sd) == pytest.approx((2, 1))
    assert (found.low, found.high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert mean_and_spread([1.0]) is None


def test_paired_test_over_runs_against_scipy() -> None:
    a, b = [0.765, 0.575, 0.605], [0.585, 0.380, 0.455]
    found = paired_test_over_runs(a, b)
    expected = stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert found is not None
    assert (found.difference, found.p) == pytest.approx((0.175, expected.pvalue))
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(0.006, abs=5e-4)
    assert paired_test_over_runs([0.7], [0.6]) is None
    # Two equal differences do not show that training has no noise.
    assert paired_test_over_runs([0.3, 0.7], [0.1, 0.5]) is None


def test_holm_by_hand() -> None:
    """0.01 x 4, 0.02 x 3, 0.03 x 2, 0.5 x 1, never falling, at most 1."""
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
