"""From step scores to one score per sample, and from N samples to one answer.

Pure functions on arrays. For N samples of one problem, ``answer_classes`` (N,) gives equal answers
the same number, and -1 to samples without an answer; ``weights`` (N,) are their scores. A sample
without an answer never wins. Ties go to the answer that was drawn first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from e2h_cli.evaluation.statistics import Bools, Floats, Ints
from e2h_cli.settings.base import Aggregation

NO_ANSWER = -1

# The best aggregation of step scores for each method (paper p.8).
BEST_AGGREGATE: dict[str, Aggregation] = {"weighted-voting": "prod", "best-of-n": "min"}

# Probabilities of exactly 0 and 1 have no logit; float32 sigmoids reach them.
_EDGE = 1e-7


def aggregate(scores: Floats, lengths: Ints, aggregation: str) -> Floats:
    """(samples,) the step scores of each sample combined into one score (paper p.30).

    Args:
        scores: (sum of lengths,) P(correct) of the steps of all samples, concatenated. The last
            score of each sample is that of its final answer.
        lengths: (samples,) number of scores per sample, at least 1.
        aggregation: min, max, prod, mean, last, mean_logit = sigmoid(mean log-odds), or
            mean_odd = max(0, mean odds). ValueError if it is none of these.
    """
    if not len(lengths):
        return np.zeros(0)
    if lengths.min() < 1:
        raise ValueError("a sample has no scores")
    starts = np.cumsum(lengths) - lengths
    if aggregation == "last":
        return scores[starts + lengths - 1]
    reducers = {"min": np.minimum, "max": np.maximum, "prod": np.multiply}
    if aggregation in reducers:
        return reducers[aggregation].reduceat(scores, starts)
    inside = scores.clip(_EDGE, 1 - _EDGE)
    match aggregation:
        case "mean":
            return np.add.reduceat(scores, starts) / lengths
        case "mean_logit":
            logits = np.log(inside) - np.log1p(-inside)
            return 1 / (1 + np.exp(-np.add.reduceat(logits, starts) / lengths))
        case "mean_odd":
            odds = inside / (1 - inside)
            return np.maximum(np.add.reduceat(odds, starts) / lengths, 0.0)
    raise ValueError(f"unknown aggregation {aggregation!r}")


def weighted_vote(answer_classes: Ints, weights: Floats) -> int:
    """The answer class with the largest sum of weights, or ``NO_ANSWER`` if no sample has one.

    With equal weights this is majority voting: argmax_a sum_i 1[a_i = a]. With scores it is
    weighted voting: argmax_a sum_i s_i 1[a_i = a] (paper p.6).
    """
    answered = answer_classes != NO_ANSWER
    given = answer_classes[answered]
    if not len(given):
        return NO_ANSWER
    totals = np.bincount(given, weights=weights[answered])
    return int(given[np.argmax(totals[given])])


def best_of_n(answer_classes: Ints, scores: Floats) -> int:
    """The answer class of the sample with the highest score (paper p.6), or ``NO_ANSWER``."""
    given = answer_classes[answer_classes != NO_ANSWER]
    best = scores[answer_classes != NO_ANSWER]
    return int(given[np.argmax(best)]) if len(given) else NO_ANSWER


def permutations(samples: int, draws: int, rng: np.random.Generator) -> Ints:
    """(draws, samples) random orders; the first k of a row are a draw of k without replacement."""
    return rng.permuted(np.tile(np.arange(samples), (draws, 1)), axis=1)


def vote_accuracy(
    answer_classes: Ints,
    weightings: Sequence[Floats],
    right_classes: Bools,
    ks: Sequence[int],
    order: Ints,
) -> Floats:
    """(weightings, ks) accuracy of voting: share of random subsets whose winner is right.

    Args:
        answer_classes: (N,) 0..C-1, or ``NO_ANSWER``.
        weightings: each (N,), none negative.
        right_classes: (C,) whether an answer class is right.
        ks: subset sizes, ascending, at most N.
        order: (D, N) permutations; subset d of size k is the first k of row d.
    """
    accuracy = np.zeros((len(weightings), len(ks)))
    if not right_classes.any():
        return accuracy
    draws, samples = order.shape
    # An extra class collects the samples without an answer; it can never win.
    count = len(right_classes) + 1
    missing = answer_classes == NO_ANSWER
    drawn = np.where(missing, count - 1, answer_classes)[order]
    cells = drawn + np.arange(draws)[:, None] * count
    first = np.full(draws * count, samples)
    # Later assignments win: walked backwards, each cell keeps its earliest position.
    positions = np.broadcast_to(np.arange(samples)[::-1], cells.shape)
    first[cells[:, ::-1].ravel()] = positions.ravel()
    first_drawn = first.reshape(draws, count)
    first_drawn[:, -1] = samples
    segments = list(zip([0, *ks[:-1]], ks, strict=True))
    opened = [np.flatnonzero((first >= begin) & (first < k)) for begin, k in segments]
    right = np.append(right_classes, False)
    for w, weights in enumerate(weightings):
        values = np.where(missing, 0.0, weights)[order]
        # Below any sum until the class is first drawn.
        totals = np.full(draws * count, -1.0)
        for j, (begin, k) in enumerate(segments):
            totals[opened[j]] = 0.0
            chunk, chunk_values = cells[:, begin:k].ravel(), values[:, begin:k].ravel()
            totals += np.bincount(chunk, weights=chunk_values, minlength=totals.size)
            table = totals.reshape(draws, count)
            highest = table.max(axis=1, keepdims=True)
            winner = np.where(table == highest, first_drawn, samples + 1).argmin(axis=1)
            accuracy[w, j] = (right[winner] & (highest[:, 0] >= 0)).mean()
    return accuracy
