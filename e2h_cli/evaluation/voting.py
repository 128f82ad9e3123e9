"""From step scores to one score per sample, and from N samples to one answer.

Pure functions on arrays. For N samples of one problem, ``answer_classes`` (N,) gives equal answers
the same number, and -1 to samples without an answer; ``weights`` (N,) are their scores. A sample
without an answer never wins. Ties go to the answer that was drawn first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import sparse

from e2h_cli.evaluation.statistics import Floats, Ints
from e2h_cli.settings.base import Aggregation

NO_ANSWER = -1

# The best aggregation of step scores for each method (paper p.8).
BEST_AGGREGATE: dict[str, Aggregation] = {"weighted-voting": "prod", "best-of-n": "min"}

# Probabilities of exactly 0 and 1 have no logit; float32 sigmoids reach them.
_EDGE = 1e-7

# Votes are counted for so many draws at once: their tables fit into the cache of a core.
_DRAWS_AT_ONCE = 200


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
    values: Floats,
    ks: Sequence[int],
    order: Ints,
) -> Floats:
    """(values, weightings, ks) accuracy of voting: mean over random subsets of the winner's value.

    The winner is the sample of the winning class that was drawn first.

    Args:
        answer_classes: (N,) 0..C-1, or ``NO_ANSWER``.
        weightings: each (N,), none negative.
        values: (values, N) of each sample: whether it is right, or the share of tests it passes.
        ks: subset sizes, ascending, at most N.
        order: (D, N) permutations; subset d of size k is the first k of row d.
    """
    accuracy = np.zeros((len(values), len(weightings), len(ks)))
    if not values.any():
        return accuracy
    draws, samples = order.shape
    answered = answer_classes != NO_ANSWER
    weights = np.stack([np.where(answered, w, 0.0) for w in weightings], axis=1)
    parts = [k for k in ks if k < samples]
    for at in range(0, draws if parts else 0, _DRAWS_AT_ONCE):
        some = order[at : at + _DRAWS_AT_ONCE, : parts[-1]]
        for j, chosen in enumerate(_winners(answer_classes, weights, parts, some)):
            found = np.where(chosen >= 0, values[:, chosen], 0.0)
            accuracy[:, :, j] += found.sum(axis=2) / draws
    for j in range(len(parts), len(ks)):
        accuracy[:, :, j] = _of_all_samples(answer_classes, weights, values, order)
    return accuracy


def _winners(
    answer_classes: Ints, weights: Floats, ks: Sequence[int], order: Ints
) -> Iterator[Ints]:
    """For each subset size (weightings, D): the winning class's first sample, -1 without answers.

    ``weights``: (N, weightings), 0 for samples without an answer.
    """
    appearance = _Appearance(answer_classes, order)
    totals = np.zeros((len(order), 0, weights.shape[1]))
    for begin, k in zip([0, *ks[:-1]], ks, strict=True):
        totals = appearance.add(totals, weights, begin, k)
        # argmax is several times faster along adjacent numbers. Of equal totals the first one wins:
        # the class that was drawn first.
        by_weighting = np.ascontiguousarray(totals.transpose(2, 0, 1))
        yield appearance.samples(by_weighting.argmax(axis=2), k)


class _Appearance:
    """The classes of each draw, numbered by when they were drawn first.

    Small subsets have few classes, so that tables of their totals are small.

    Args:
        answer_classes: (N,).
        order: (D, P) samples in the order in which they are drawn.
    """

    def __init__(self, answer_classes: Ints, order: Ints) -> None:
        draws, positions = order.shape
        # Half the memory of int64, and what sparse matrices want.
        self.order = order = order.astype(np.int32)
        drawn = answer_classes.astype(np.int32)[order]
        count = int(answer_classes.max(initial=NO_ANSWER)) + 2
        cells = drawn + 1 + np.arange(draws, dtype=np.int32)[:, None] * count
        first = np.full(draws * count, positions, dtype=np.int32)
        # Later assignments win: walked backwards, each cell keeps its earliest position.
        backwards = np.broadcast_to(np.arange(positions, dtype=np.int32)[::-1], cells.shape)
        first[cells[:, ::-1].ravel()] = backwards.ravel()
        first_of = first[cells]
        is_first = (first_of == np.arange(positions)) & (drawn != NO_ANSWER)
        self.distinct = is_first.cumsum(axis=1, dtype=np.int32)
        # A sample without an answer has no weight; its number only has to be one of the table.
        first_of += np.arange(draws, dtype=np.int32)[:, None] * positions
        self.numbers = (self.distinct.ravel()[first_of] - 1).clip(0)
        # Samples that are the first of their class, draw after draw.
        self.firsts = order[is_first]
        self.starts = np.cumsum(self.distinct[:, -1]) - self.distinct[:, -1]

    def add(self, totals: Floats, weights: Floats, begin: int, end: int) -> Floats:
        """(D, classes, weightings): ``totals`` and the weights of the samples begin..end-1.

        ``weights``: (N, weightings), 0 for samples without an answer.
        """
        draws, width = len(self.order), max(int(self.distinct[:, end - 1].max()), 1)
        rows = self.numbers[:, begin:end] + np.arange(draws, dtype=np.int32)[:, None] * width
        coordinates = rows.ravel(), self.order[:, begin:end].ravel()
        ones = np.ones(rows.size)
        drawn = sparse.coo_array((ones, coordinates), shape=(draws * width, len(weights)))
        added = (drawn @ weights).reshape(draws, width, -1)
        added[:, : totals.shape[1]] += totals
        return added

    def samples(self, numbers: Ints, size: int) -> Ints:
        """(weightings, D) the first sample of the classes ``numbers``, of subsets of ``size``.

        -1 where no sample of the subset has an answer.
        """
        some = self.distinct[:, size - 1] > 0
        firsts = self.firsts if len(self.firsts) else np.array([-1])
        return np.where(some, firsts[np.where(some, self.starts + numbers, 0)], -1)


def _of_all_samples(answer_classes: Ints, weights: Floats, values: Floats, order: Ints) -> Floats:
    """(values, weightings): accuracy of voting over all N samples, the same in every draw.

    But for ties, which go to the class that is drawn first.
    """
    answered = answer_classes != NO_ANSWER
    accuracy = np.zeros((len(values), weights.shape[1]))
    if not answered.any():
        return accuracy
    for w, weight in enumerate(weights.T):
        totals = np.bincount(answer_classes[answered], weights=weight[answered])
        present = np.bincount(answer_classes[answered]) > 0
        winners = present & (totals == totals[present].max())
        wins = answered & winners[answer_classes]
        of_winners = values[:, wins]
        if (of_winners == of_winners[:, :1]).all():  # whichever is drawn first
            accuracy[:, w] = of_winners[:, 0]
            continue
        first = order[np.arange(len(order)), wins[order].argmax(axis=1)]
        accuracy[:, w] = values[:, first].mean(axis=1)
    return accuracy
