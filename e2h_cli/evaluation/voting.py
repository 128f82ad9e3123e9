"""From step scores to one score per solution, and from many solutions to one answer.

Pure functions on arrays. N samples of one problem: ``classes`` (N,) numbers equal answers equally,
-1 where a sample has no answer; ``weights`` (N,) are their scores. A sample without an answer never
wins. A tie goes to the answer that was drawn first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from e2h_cli.settings.base import Aggregation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NO_ANSWER = -1
Method = Literal["majority", "weighted-voting", "best-of-n"]

# Best for each way to answer (paper p.8).
BEST_AGGREGATE: dict[str, Aggregation] = {"weighted-voting": "prod", "best-of-n": "min"}

# Probabilities of exactly 0 and 1 have no logit; float32 sigmoids reach them.
_EDGE = 1e-7


def aggregate(scores: Floats, lengths: Ints, how: str) -> Floats:
    """One score per solution from its step scores (paper p.30).

    Args:
        scores: (sum of lengths,) P(correct) of the steps of all solutions, one after the other,
            the final answer included as the last of each.
        lengths: (solutions,) how many belong to each, at least 1.
        how: min, max, prod, mean, last, mean_logit = sigmoid(mean log-odds),
            mean_odd = max(0, mean odds).

    Raises:
        ValueError: unknown ``how``, or a solution without scores.
    """
    if len(lengths) and lengths.min() < 1:
        raise ValueError("a solution has no scores")
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    if not len(lengths):
        return np.zeros(0)
    if how == "last":
        return scores[starts + lengths - 1]
    reducers = {"min": np.minimum, "max": np.maximum, "prod": np.multiply}
    if how in reducers:
        return reducers[how].reduceat(scores, starts)
    inside = scores.clip(_EDGE, 1 - _EDGE)
    values = {
        "mean": lambda: scores,
        "mean_logit": lambda: np.log(inside) - np.log1p(-inside),
        "mean_odd": lambda: inside / (1 - inside),
    }
    if how not in values:
        raise ValueError(f"unknown aggregation {how!r}")
    mean = np.add.reduceat(values[how](), starts) / lengths
    if how == "mean_logit":
        return 1 / (1 + np.exp(-mean))
    return np.maximum(mean, 0.0) if how == "mean_odd" else mean


def weighted_vote(classes: Ints, weights: Floats) -> int:
    """The class with the largest sum of weights, or ``NO_ANSWER`` where no sample has an answer.

    Equal weights make it majority voting: argmax_a sum_i 1[a_i = a]; scores make it weighted
    voting: argmax_a sum_i s_i 1[a_i = a] (paper p.6).
    """
    answered = np.flatnonzero(classes != NO_ANSWER)
    if not len(answered):
        return NO_ANSWER
    kept = classes[answered]
    totals = np.bincount(kept, weights=weights[answered])
    best = totals[kept] == totals[np.unique(kept)].max()
    return int(kept[np.argmax(best)])


def best_of_n(classes: Ints, scores: Floats) -> int:
    """The class of the sample with the highest score (best-of-n, paper p.6); see ``weighted_vote``."""
    answered = np.flatnonzero(classes != NO_ANSWER)
    return int(classes[answered[np.argmax(scores[answered])]]) if len(answered) else NO_ANSWER


def permutations(samples: int, draws: int, rng: np.random.Generator) -> Ints:
    """(draws, samples) random orders; the first k of a row are a draw of k without replacement."""
    return rng.permuted(np.tile(np.arange(samples), (draws, 1)), axis=1)


def vote_accuracy(
    classes: Ints,
    weights: Sequence[Floats],
    right: NDArray[np.bool_],
    ks: Sequence[int],
    order: Ints,
) -> Floats:
    """Accuracy of voting over random subsets, for several weightings and pool sizes at once.

    Args:
        classes: (N,) classes 0..C-1, or ``NO_ANSWER``.
        weights: weightings, each (N,), none negative.
        right: (C,) whether a class is correct.
        ks: pool sizes, ascending, at most N.
        order: (D, N) permutations; draw d of size k is the first k of row d.

    Returns:
        (weightings, ks): share of the D draws whose winner is correct.
    """
    accuracy = np.zeros((len(weights), len(ks)))
    if not right.any():
        return accuracy
    draws, samples = order.shape
    # A last class collects the samples without an answer; it can never win.
    count = len(right) + 1
    missing = classes == NO_ANSWER
    drawn = np.where(missing, count - 1, classes)[order]
    cells = drawn + np.arange(draws)[:, None] * count
    first = np.full(draws * count, samples)
    # Later assignments win: walked backwards, each cell keeps its earliest place.
    places = np.broadcast_to(np.arange(samples)[::-1], cells.shape)
    first[cells[:, ::-1].ravel()] = places.ravel()
    first.reshape(draws, count)[:, -1] = samples
    segments = list(zip([0, *ks[:-1]], ks, strict=True))
    opened = [np.flatnonzero((first >= begin) & (first < k)) for begin, k in segments]
    places = first.reshape(draws, count)
    correct = np.append(right, False)
    for w, weight in enumerate(weights):
        value = np.where(missing, 0.0, weight)[order]
        # Below any sum until the class is first drawn.
        totals = np.full(draws * count, -1.0)
        for j, (begin, k) in enumerate(segments):
            totals[opened[j]] = 0.0
            totals += np.bincount(
                cells[:, begin:k].ravel(),
                weights=value[:, begin:k].ravel(),
                minlength=totals.size,
            )
            table = totals.reshape(draws, count)
            highest = table.max(axis=1, keepdims=True)
            winner = np.where(table == highest, places, samples + 1).argmin(axis=1)
            accuracy[w, j] = (correct[winner] & (highest[:, 0] >= 0)).mean()
    return accuracy
