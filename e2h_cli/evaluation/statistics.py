"""Estimators, bootstrap intervals and paired tests: pure functions on arrays.

Accuracies are shares in [0, 1]. From N samples per problem, pass@k and best-of-n are computed
exactly for every k <= N; voting is averaged over random subsets (``voting.vote_accuracy``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

BOOTSTRAP_DRAWS = 1000
PERMUTATIONS = 10_000
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


def best_of_n_accuracy(scores: Floats, answered: Bools, right: Bools, ks: Sequence[int]) -> Floats:
    """Exact accuracy of best-of-n for each n in ``ks``: the expectation over all subsets of size n.

    Sorted by falling score, the best of n samples is among the first m with probability
    pass@n(N, m). Of equal scores one is taken at random. Samples without an answer are sorted last
    and are wrong. ValueError if a score is NaN.

    ``scores`` (N,): any scale; ``answered``, ``right`` (N,): whether a sample has an answer, and
    whether it is right.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    samples = len(scores)
    ranked = np.where(answered, scores, 0.0)
    order = np.lexsort((-ranked, ~answered))
    changes = (np.diff(ranked[order]) != 0) | np.diff(answered[order])
    ends = np.append(np.flatnonzero(changes) + 1, samples)
    starts = np.concatenate([[0], ends[:-1]])
    hits = np.concatenate([[0], np.cumsum((right & answered)[order])])
    share = (hits[ends] - hits[starts]) / (ends - starts)
    best = (pass_at_k(samples, ends, k) - pass_at_k(samples, starts, k) for k in ks)
    return np.array([(chance * share).sum() for chance in best])


def bootstrap_weights(problems: int, draws: int, rng: np.random.Generator) -> Floats:
    """(draws, problems) share of each problem in each bootstrap resample; rows sum to 1."""
    return rng.multinomial(problems, np.full(problems, 1 / problems), size=draws) / problems


def bootstrap_interval(values: Floats, weights: Floats, confidence: float) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of ``values`` (problems,)."""
    low, high = np.quantile(weights @ values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Two methods on the same problems: mean of a - b, its interval, and a two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


def sign_flips(problems: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(PERMUTATIONS, problems) random signs, -1 or 1, for ``compare``."""
    bits = rng.integers(0, 2, size=(PERMUTATIONS, problems), dtype=np.int8)
    return (2 * bits - 1).astype(np.float32)


def compare(
    a: Floats, b: Floats, weights: Floats, signs: NDArray[np.float32], confidence: float
) -> PairedTest:
    """Paired comparison: bootstrap interval of the difference, sign-flip permutation test.

    Under the null hypothesis the sign of each problem's difference is random; p is the share of
    random sign flips with a mean at least as far from zero, the observed one included.

    ``a``, ``b`` (problems,): accuracy of each method on each problem; ``weights``, ``signs``: of
    ``bootstrap_weights`` and ``sign_flips`` for as many problems.
    """
    difference = a - b
    low, high = bootstrap_interval(difference, weights, confidence)
    observed = abs(difference.sum())
    flipped = np.abs(signs @ difference.astype(np.float32))
    # The tolerance covers rounding: the same numbers summed in another order.
    extreme = int((flipped >= observed - 1e-4).sum())
    return PairedTest(float(difference.mean()), low, high, (1 + extreme) / (1 + len(signs)))


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
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * sd / len(values) ** 0.5
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
    p = float(2 * stats.t.sf(abs(t), len(differences) - 1))
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
