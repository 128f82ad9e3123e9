"""Estimators against hand-computed numbers and against brute force over all subsets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from benchmarks.interval_coverage import (
    DIFFERENT,
    EQUAL,
    MEANS,
    SIZES,
    TESTED_SIZES,
    accuracies,
    exact_coverage,
    mean_coverage,
    paired,
    right_or_wrong,
)
from e2h_cli.evaluation.statistics import (
    best_of_n_accuracy,
    compare,
    holm,
    mean_and_spread,
    mean_interval,
    paired_test_over_runs,
    pass_at_k,
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


def test_wilson_by_hand_and_against_scipy() -> None:
    """60 of 120, and the ends: all right is 96.9 to 100 %, as one of 120 could be wrong."""
    for right in (0, 1, 60, 119, 120):
        expected = stats.binomtest(right, 120).proportion_ci(0.95, method="wilson")
        found = mean_interval((np.arange(120) < right) * 1.0, 0.95)
        assert found == pytest.approx((expected.low, expected.high))
    assert mean_interval(np.ones(120), 0.95) == pytest.approx((0.969, 1), abs=1e-3)


def test_values_between_0_and_1_give_narrower_intervals() -> None:
    half = np.array([0.25, 0.75] * 50)
    low, high = mean_interval(half, 0.95)
    assert (low, high) == pytest.approx((0.5 - 0.05, 0.5 + 0.05), abs=0.004)
    # Equal values leave room for a problem that is not like them.
    low, high = mean_interval(np.full(100, 0.5), 0.95)
    assert 0.005 < high - low < 0.05


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mean", MEANS)
def test_exact_coverage_of_0_1_values(mean: float, size: int) -> None:
    """93 to 98 %, but where no interval can: one count more or less jumps over this range."""
    jumps = {(0.975, 40): 0.922, (0.995, 40): 0.983, (0.995, 200): 0.920}
    coverage = exact_coverage(mean, size)
    if expected := jumps.get((mean, size)):
        assert coverage == pytest.approx(expected, abs=1e-3)
    else:
        assert 0.93 <= coverage <= 0.98


@pytest.mark.parametrize(("mean", "size"), [(0.5, 40), (0.95, 120), (0.99, 200)])
def test_coverage_of_votes(mean: float, size: int) -> None:
    assert mean_coverage(accuracies("votes", mean), size, 1000) >= 0.925


@pytest.mark.parametrize("size", [20, 43, 200])
@pytest.mark.parametrize("name", EQUAL)
def test_equal_methods_seldom_differ(name: str, size: int) -> None:
    held, rejected = paired(EQUAL[name], size, 1000)
    assert held >= 0.93
    assert rejected <= 0.07


@pytest.mark.slow
def test_coverage_and_error_on_the_whole_grid() -> None:
    """At least 93 % coverage everywhere, at most 6 % error; both with the noise of 4,000 draws."""
    for size in SIZES:
        for kind in ("votes", "single samples"):
            for mean in MEANS:
                assert mean_coverage(accuracies(kind, mean), size, 4000) >= 0.93
        for won, lost in DIFFERENT:
            assert paired(right_or_wrong(won, lost), size, 4000)[0] >= 0.94
    for size in TESTED_SIZES:
        for population in EQUAL.values():
            held, rejected = paired(population, size, 4000)
            assert held >= 0.94
            assert rejected <= 0.06


def test_paired_test_sees_what_an_unpaired_one_would_not() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.random(200) * 0.9
    a, b = difficulty + 0.03 + 0.01 * rng.standard_normal(200), difficulty
    found = compare(a, b, 0.95)
    assert found.difference == pytest.approx(0.03, abs=0.005)
    assert 0 < found.low < found.difference < found.high
    assert found.p < 0.001


def test_paired_test_by_hand() -> None:
    """Six won of 43 and none lost, and one of each: mean 6/45, squares 8/45, t(42) = 2.236."""
    won = (np.arange(43) < 6) * 1.0
    found = compare(won, np.zeros(43), 0.95)
    assert found.difference == pytest.approx(6 / 43)
    assert found.p == pytest.approx(2 * stats.t.sf(2.2361, 42), abs=1e-5)
    # McNemar's exact test of 6 against 0: 2 / 64.
    assert found.p == pytest.approx(2 / 64, abs=0.002)
    assert found.low > 0
    assert compare(np.zeros(43), won, 0.95).p == found.p


def test_equal_methods_do_not_differ() -> None:
    same = np.array([1.0, 0.0, 1.0] * 40)
    found = compare(same, same, 0.95)
    assert found.p == 1.0
    # Without a difference on 120 problems, 2.3 points are not excluded.
    assert (found.low, found.high) == pytest.approx((-0.0229, 0.0229), abs=0.0002)


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
