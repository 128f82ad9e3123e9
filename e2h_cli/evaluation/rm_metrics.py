"""How good a reward model is by itself: accuracy, ROC, calibration, first errors, length.

Pure functions on arrays. A score at or above the threshold says "right". n items: ``scores`` (n,)
and ``right`` (n,) bool. ``reward_metrics`` measures all of it by group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from e2h_cli.evaluation.voting import Floats, Ints

Bools = NDArray[np.bool_]

_CALIBRATION_BINS = 10
NO_ERROR = -1


def roc_auc(scores: Floats, right: Bools) -> float:
    """Chance that a right item scores higher than a wrong one, ties counted one half.

    (Mann-Whitney; the area under the curves of the paper's Figure 24.) NaN where all are right or
    all are wrong.
    """
    positive = int(right.sum())
    pairs = positive * (len(right) - positive)
    if not pairs:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[right].sum() - positive * (positive + 1) / 2) / pairs)


def roc_curve(scores: Floats, right: Bools) -> tuple[Floats, Floats]:
    """(false positive rate, true positive rate), from (0, 0) to (1, 1), a point per distinct score.

    Raises:
        ValueError: all are right or all are wrong.
    """
    if right.all() or not right.any():
        raise ValueError("a ROC curve needs right and wrong items")
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(right[order])[ends]
    misses = ends + 1 - hits
    return np.append(0.0, misses / misses[-1]), np.append(0.0, hits / hits[-1])


def accuracy_at(scores: Floats, right: Bools, threshold: float = 0.5) -> float:
    """Share of items that are judged as they are. NaN without items."""
    return float(((scores >= threshold) == right).mean()) if len(right) else float("nan")


def balanced_accuracy(scores: Floats, right: Bools, threshold: float = 0.5) -> float:
    """Mean of the accuracy on right and on wrong items; NaN where one kind is missing.

    It is what accuracy is on a random subset with as many right as wrong items, on average over the
    subsets: the balanced sets of the paper's Table 10, without their luck of the draw.
    """
    if right.all() or not right.any():
        return float("nan")
    judged = scores >= threshold
    return float((judged[right].mean() + 1 - judged[~right].mean()) / 2)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Per bin (bins,): mean score, share that is right, count; and the expected error."""

    error: float
    mean_score: Floats
    share_right: Floats
    count: Ints


def calibration(
    scores: Floats,
    right: Bools,
    bins: int = _CALIBRATION_BINS,
    equal: Literal["mass", "width"] = "mass",
) -> Calibration:
    """Do 70 % of the items with score 0.7 turn out right?

    The expected calibration error is sum_b n_b / n |share right - mean score| (Guo et al. 2017).
    Bins of equal mass have the same number of items as far as ties allow, and bins of equal width
    the same range; equal scores share a bin, and empty bins are left out.

    Raises:
        ValueError: no items, or a score outside [0, 1].
    """
    if not len(scores) or scores.min() < 0 or scores.max() > 1:
        raise ValueError("calibration needs probabilities")
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    edges = np.quantile(scores, inner) if equal == "mass" else inner
    place = np.searchsorted(edges, scores, side="right")
    count = np.bincount(place, minlength=bins)
    kept = count > 0
    mean = np.bincount(place, weights=scores, minlength=bins)[kept] / count[kept]
    share = np.bincount(place, weights=right, minlength=bins)[kept] / count[kept]
    error = float((count[kept] * np.abs(share - mean)).sum() / len(scores))
    return Calibration(error, mean, share, count[kept])


def first_error(scores: Floats, lengths: Ints, threshold: float = 0.5) -> Ints:
    """(solutions,) index of the first step that scores below the threshold, or -1.

    Args:
        scores: (sum of lengths,) of the steps of all solutions, one after the other.
        lengths: (solutions,) steps of each; 0 is allowed.
        threshold: of "right".
    """
    owner = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.cumsum(lengths) - lengths
    low = np.flatnonzero(scores < threshold)
    found = np.full(len(lengths), NO_ERROR, dtype=np.int64)
    # Later assignments win: walked backwards, each solution keeps its first low step.
    found[owner[low][::-1]] = (low - starts[owner[low]])[::-1]
    return found


@dataclass(frozen=True, slots=True)
class FirstError:
    """Accuracy on solutions with an error and without one, and their harmonic mean."""

    f1: float
    on_wrong: float
    on_right: float


def first_error_f1(predicted: Ints, actual: Ints) -> FirstError:
    """ProcessBench (Zheng et al. 2024): the first error must be found exactly, or none claimed.

    ``predicted``, ``actual``: (solutions,) index of the first wrong step, or -1. NaN where a kind
    of solution is missing.
    """
    hit, wrong = predicted == actual, actual != NO_ERROR
    if wrong.all() or not wrong.any():
        return FirstError(float("nan"), float("nan"), float("nan"))
    on_wrong, on_right = float(hit[wrong].mean()), float(hit[~wrong].mean())
    f1 = float(harmonic_mean(np.array(on_wrong), np.array(on_right)))
    return FirstError(f1, on_wrong, on_right)


def best_first_error(scores: Floats, lengths: Ints, actual: Ints) -> tuple[float, FirstError]:
    """The threshold with the highest F1 of all, and what it reaches; see ``first_error``.

    ProcessBench chooses it on one set and reports another: on the same set it is an upper bound.

    A solution is judged correctly by the thresholds in (low, high]: one without an error up to its
    lowest score; one with its first error at step e above that step's score, up to the lowest
    before it. So all thresholds are tried by sorting the ends of these ranges.
    """
    starts = np.cumsum(lengths) - lengths
    wrong = actual != NO_ERROR
    if wrong.all() or not wrong.any():
        return float("nan"), first_error_f1(actual, actual)
    before = np.where(wrong, actual, lengths)
    padded = np.append(scores, np.inf)
    bounds = np.column_stack([starts, starts + before]).ravel()
    high = np.where(before > 0, np.minimum.reduceat(padded, bounds)[::2], np.inf)
    low = np.where(wrong, padded[np.where(wrong, starts + actual, 0)], -np.inf)
    ends = np.unique(np.concatenate([low, high]))
    ends = ends[np.isfinite(ends)]

    def share(kind: Bools) -> Floats:
        # A range that is empty (low >= high: an earlier step scores lower still) is never hit.
        kept = kind & (low < high)
        opened = np.searchsorted(np.sort(low[kept]), ends, side="left")
        closed = np.searchsorted(np.sort(high[kept]), ends, side="left")
        return (opened - closed) / kind.sum()

    on_wrong, on_right = share(wrong), share(~wrong)
    f1 = harmonic_mean(on_wrong, on_right)
    best = int(np.argmax(f1))
    found = FirstError(float(f1[best]), float(on_wrong[best]), float(on_right[best]))
    return float(ends[best]), found


def score_against_length(scores: Floats, lengths: NDArray[np.number]) -> float:
    """Spearman's correlation of scores (n,) with lengths (n,), in steps or tokens.

    A length bias shows here, but so does that long solutions are wrong more often: compare with the
    correlation among right solutions alone. NaN where either is constant.
    """
    if len(scores) < 2 or np.ptp(scores) == 0 or np.ptp(lengths) == 0:
        return float("nan")
    return float(spearmanr(scores, lengths).statistic)


def harmonic_mean(a: Floats, b: Floats) -> Floats:
    """Elementwise; 0 where both are 0."""
    total = a + b
    return 2 * a * b / np.where(total > 0, total, 1.0)
