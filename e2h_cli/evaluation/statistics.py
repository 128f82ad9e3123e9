"""Estimators, intervals and paired tests: pure functions on arrays.

Accuracies are shares in [0, 1]. From a pool of N samples per problem, pass@k and best-of-n are
exact at every k <= N; votes are averages over random draws (``voting.vote_accuracy``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Floats = NDArray[np.float64]

BOOTSTRAP_DRAWS = 1000
PERMUTATIONS = 10_000


def pass_at_k(samples: int, right: int | NDArray[np.int64], k: int) -> Floats:
    """Chance that k of N samples, drawn without replacement, hold at least one of ``right`` ones.

    1 - C(N - right, k) / C(N, k), in logarithms so that N = 1,024 does not overflow.

    Raises:
        ValueError: k is not in 1..N.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k = {k} is not in 1..{samples}")
    wrong = samples - np.asarray(right)
    enough = np.maximum(wrong, k)  # where wrong < k every draw holds a right one
    log_share = (
        gammaln(enough + 1)
        - gammaln(enough - k + 1)
        - gammaln(samples + 1)
        + gammaln(samples - k + 1)
    )
    return np.where(wrong < k, 1.0, -np.expm1(np.minimum(log_share, 0.0)))


def best_of_n_accuracy(
    scores: Floats, answered: NDArray[np.bool_], right: NDArray[np.bool_], ks: Sequence[int]
) -> Floats:
    """Exact accuracy of best-of-n at each k: the expectation over all subsets of size k.

    In order of falling score, the best of k lies among the first m samples with chance
    pass@k(N, m). A group of equal scores wins as a whole, and one of it is taken at random. Samples
    without an answer come last and are wrong.

    Args:
        scores: (N,), any scale.
        answered: (N,) whether a sample has an answer.
        right: (N,) whether its answer is correct.
        ks: pool sizes, each in 1..N.

    Raises:
        ValueError: a score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    samples = len(scores)
    place = np.where(answered, scores, 0.0)
    order = np.lexsort((-place, ~answered))
    changes = (np.diff(place[order]) != 0) | np.diff(answered[order])
    ends = np.append(np.flatnonzero(changes) + 1, samples)
    starts = np.concatenate([[0], ends[:-1]])
    hits = np.concatenate([[0], np.cumsum((right & answered)[order])])
    share = (hits[ends] - hits[starts]) / (ends - starts)
    return np.array(
        [
            float(((pass_at_k(samples, ends, k) - pass_at_k(samples, starts, k)) * share).sum())
            for k in ks
        ]
    )


def bootstrap_weights(problems: int, draws: int, rng: np.random.Generator) -> Floats:
    """(draws, problems) shares of each problem in resamples of the problems; rows sum to 1."""
    return rng.multinomial(problems, np.full(problems, 1 / problems), size=draws) / problems


def bootstrap_interval(values: Floats, weights: Floats, confidence: float) -> tuple[float, float]:
    """Percentile interval of the mean of ``values`` (problems,) over resampled problems."""
    low, high = np.quantile(weights @ values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Comparison:
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
) -> Comparison:
    """Paired comparison: bootstrap interval of the difference, sign-flip permutation test.

    Under the null hypothesis each problem's difference is as likely to be its negative; p is the
    share of random sign flips with a mean at least as far from zero, the observed one included.

    Args:
        a, b: (problems,) accuracy of each method on each problem.
        weights: of ``bootstrap_weights`` for as many problems.
        signs: of ``sign_flips`` for as many problems.
        confidence: of the interval.
    """
    difference = a - b
    low, high = bootstrap_interval(difference, weights, confidence)
    observed = abs(difference.sum())
    flipped = np.abs(signs @ difference.astype(np.float32))
    # Sums of the same numbers in another order differ by rounding; that is no difference.
    extreme = int((flipped >= observed - 1e-4).sum())
    return Comparison(float(difference.mean()), low, high, (1 + extreme) / (1 + len(signs)))
