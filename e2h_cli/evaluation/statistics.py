"""Estimators, intervals, paired tests and Holm's correction: pure functions on arrays.

Accuracies are shares in [0, 1]. From N samples per problem, pass@k and best-of-n are computed
exactly for every k <= N; voting is averaged over random subsets (``voting.vote_accuracy``).

Coverage of the intervals and error of the tests: ``python -m benchmarks.interval_coverage``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtri, stdtr, stdtrit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# With fewer problems a paired test gets no p-value: its error is not known there.
MIN_TESTED = 20
# Differences below it are of rounding alone.
_ROUNDING = 1e-9


def pass_at_k(samples: int, right: int | Ints, k: int) -> Floats:
    """Probability that k of N samples, drawn without replacement, contain a right one.

    1 - C(N - right, k) / C(N, k), in logarithms so that N = 1,024 does not overflow; ``samples``
    is N, ``right`` the number of right ones among them. ValueError if k is not in 1..N.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k = {k} is not in 1..{samples}")
    wrong = samples - np.asarray(right)
    enough = np.maximum(wrong, k)  # where wrong < k every draw holds a right one
    log_share = gammaln(enough + 1) - gammaln(enough - k + 1)
    log_share = log_share - gammaln(samples + 1) + gammaln(samples - k + 1)
    return np.where(wrong < k, 1.0, -np.expm1(np.minimum(log_share, 0.0)))


def best_of_n_accuracy(
    scores: Floats, answered: Bools, values: Floats | Bools, ks: Sequence[int]
) -> Floats:
    """Exact accuracy of best-of-n for each n in ``ks``: the expectation over all subsets of size n.

    Sorted by falling score, the best of n samples is among the first m with probability
    pass@n(N, m). Of equal scores one is taken at random. Samples without an answer are sorted last
    and are wrong. ValueError if a score is NaN.

    ``scores`` (N,): any scale; ``answered`` (N,): whether a sample has an answer; ``values``
    (N,): whether it is right, or the share of tests that it passes.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    samples = len(scores)
    ranked = np.where(answered, scores, 0.0)
    order = np.lexsort((-ranked, ~answered))
    changes = (np.diff(ranked[order]) != 0) | np.diff(answered[order])
    ends = np.append(np.flatnonzero(changes) + 1, samples)
    starts = np.concatenate([[0], ends[:-1]])
    hits = np.concatenate([[0], np.cumsum((values * answered)[order])])
    share = (hits[ends] - hits[starts]) / (ends - starts)
    chances = _chances(samples, tuple(ks))
    return (chances[:, ends] - chances[:, starts]) @ share


@lru_cache(maxsize=8)
def _chances(samples: int, ks: tuple[int, ...]) -> Floats:
    """(ks, N + 1): pass@k with 0 to N right samples, which every problem needs."""
    right = np.arange(samples + 1)
    return np.stack([pass_at_k(samples, right, k) for k in ks])


def wilson_interval(
    mean: float, variance: float, problems: int, confidence: float
) -> tuple[float, float]:
    """Wilson's score interval of a share, with the effective number of problems.

    ``variance`` is that of one problem. Where it is mean (1 - mean), as of values that are 0 or 1,
    this is Wilson's interval (1927). Where it is smaller, the problems count for more, in the
    proportion of the variances; half a 0 and half a 1 are added to the values for this proportion
    alone, so that equal values do not count as infinitely many problems.
    """
    added = (problems * mean + 0.5) / (problems + 1)
    squares = (problems * (variance + mean**2) + 0.5) / (problems + 1)
    effective = problems * added * (1 - added) / (squares - added**2)
    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    centre = mean + z2 / (2 * effective)
    half = (z2 * mean * (1 - mean) / effective + (z2 / (2 * effective)) ** 2) ** 0.5
    low, high = ((centre + side * half) / (1 + z2 / effective) for side in (-1, 1))
    return max(low, 0.0), min(high, 1.0)


def mean_interval(values: Floats, confidence: float) -> tuple[float, float]:
    """Interval of the mean of ``values`` (problems,) in [0, 1]; see ``wilson_interval``."""
    return wilson_interval(float(values.mean()), float(values.var()), len(values), confidence)


def jackknife_variance(metric: Callable[[Floats], Floats], sums: Floats) -> float:
    """Variance of a metric, times the number of problems: each problem is left out once.

    ``sums`` (problems, columns); ``metric``: (n, columns) sums over problems -> (n,) values. NaN
    where the metric is undefined without one of the problems.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        left_out = metric(sums.sum(axis=0) - sums)
    return float((len(sums) - 1) * ((left_out - left_out.mean()) ** 2).sum())


def bootstrap(
    metric: Callable[[Floats], Floats], counts: Floats, seed: int, draws: int = 2000
) -> Floats:
    """(draws,) values of a metric on as many units, drawn with replacement.

    ``counts`` (units, columns); ``metric``: (n, columns) sums over units -> (n,) values.
    """
    rng, units = np.random.default_rng(seed), len(counts)
    shares = np.full(units, 1 / units)
    chunks = [rng.multinomial(units, shares, size=100) @ counts for _ in range(-(-draws // 100))]
    return metric(np.concatenate(chunks)[:draws])


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two methods on the same problems: mean of a - b, its interval, and a two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


def compare(a: Floats, b: Floats, confidence: float) -> PairedTest:
    """Paired comparison over problems: the difference of the means, its interval, and a p-value.

    Student's t on the differences and two more: one problem won and one lost by a whole point
    (Agresti and Min 2005 add half of each). Without them, problems of a rare kind that happen to be
    missing would count as impossible. The interval excludes 0 where p is below 1 - confidence.

    ``a``, ``b`` (problems,): accuracy of each method on each problem, in [0, 1].
    """
    d = a - b
    size = len(d) + 2
    mean = d.sum() / size
    error = (((d**2).sum() + 2) / size - mean**2) ** 0.5 / size**0.5
    freedom = max(len(d) - 1, 1)
    half = error * stdtrit(freedom, (1 + confidence) / 2)
    p = float(2 * stdtr(freedom, -abs(mean) / error))
    return PairedTest(float(d.mean()), max(float(mean - half), -1), min(float(mean + half), 1), p)


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over training runs: mean, standard deviation, t interval of the mean."""

    mean: float
    sd: float
    low: float
    high: float


def mean_and_spread(values: Sequence[float], confidence: float = 0.95) -> Spread | None:
    """Mean over training runs (one value each) with its t interval; None for less than two runs."""
    if len(values) < 2:
        return None
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * sd / len(values) ** 0.5
    return Spread(mean, sd, mean - half, mean + half)


def paired_test_over_runs(
    a: Sequence[float], b: Sequence[float], confidence: float = 0.95
) -> PairedTest | None:
    """Paired t-test with the training run as unit: a - b, t interval, two-sided p-value.

    ``a[i]`` and ``b[i]`` are of the same run (seed). None for less than two runs, and where all
    differences are equal: the spread between runs is then unknown. ValueError for unequal lengths.
    """
    differences = [x - y for x, y in zip(a, b, strict=True)]
    spread = mean_and_spread(differences, confidence)
    if spread is None or np.ptp(differences) < _ROUNDING:
        return None
    t = spread.mean / (spread.sd / len(differences) ** 0.5)
    p = float(2 * stdtr(len(differences) - 1, -abs(t)))
    return PairedTest(spread.mean, spread.low, spread.high, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of one family of tests, corrected by Holm's step-down method, in the same order.

    Rejecting where the result is at most 0.05 keeps the chance of any false rejection in the family
    at 5 %, whatever the dependence between the tests (Holm 1979).
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected.tolist()
