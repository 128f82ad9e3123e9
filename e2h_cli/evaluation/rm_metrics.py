"""Metrics of a reward model: accuracy, ROC, calibration, first errors, correlation with length.

Pure functions on arrays. n items (steps or samples) have ``scores`` (n,) and labels ``right``
(n,) bool; a score at or above the threshold predicts "right". ``rm_report`` computes all of them by
group of problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from e2h_cli.evaluation.statistics import Bools, Floats, Ints

# Stands for the index of the first wrong step where no step is wrong.
NO_ERROR = -1
# Scores at or above it predict "right".
THRESHOLD = 0.5


def roc_auc(scores: Floats, right: Bools) -> float:
    """Area under the ROC curve (paper, Figure 24), as the Mann-Whitney statistic.

    The probability that a right item scores higher than a wrong one, ties counted one half. NaN
    where all items are right or all are wrong.
    """
    positive = int(right.sum())
    pairs = positive * (len(right) - positive)
    if not pairs:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[right].sum() - positive * (positive + 1) / 2) / pairs)


def roc_curve(scores: Floats, right: Bools) -> tuple[Floats, Floats]:
    """False and true positive rates from (0, 0) to (1, 1), one point per distinct score.

    ValueError if all items are right or all are wrong.
    """
    if right.all() or not right.any():
        raise ValueError("a ROC curve needs right and wrong items")
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(right[order])[ends]
    misses = ends + 1 - hits
    return np.append(0.0, misses / misses[-1]), np.append(0.0, hits / hits[-1])


@dataclass(frozen=True, slots=True)
class RocPoints:
    """Points of a ROC curve, (points,) each, and the area under the whole curve."""

    false_positive: Floats
    true_positive: Floats
    auc: float


def roc_points(scores: Floats, right: Bools, most: int = 400) -> RocPoints:
    """The ROC curve (paper, Figure 24) with at most so many points, both ends included.

    They stand at even distances along the curve. No points, and an area of NaN, where all items are
    right or all are wrong.
    """
    if right.all() or not right.any():
        return RocPoints(np.empty(0), np.empty(0), float("nan"))
    x, y = roc_curve(scores, right)
    if len(x) > most:
        along = np.append(0.0, np.cumsum(np.diff(x) + np.diff(y)))
        wanted = np.linspace(0, along[-1], most)
        x, y = np.interp(wanted, along, x), np.interp(wanted, along, y)
    return RocPoints(x, y, roc_auc(scores, right))


def accuracy_at(scores: Floats, right: Bools, threshold: float = THRESHOLD) -> float:
    """Share of items that are predicted correctly. NaN without items."""
    return float(((scores >= threshold) == right).mean()) if len(right) else float("nan")


def balanced_accuracy(scores: Floats, right: Bools, threshold: float = THRESHOLD) -> float:
    """Mean of the accuracy on right and on wrong items; NaN where one kind is missing.

    Equals the expected accuracy on a random subset with as many right as wrong items, such as the
    balanced sets of the paper's Table 10.
    """
    if right.all() or not right.any():
        return float("nan")
    predicted = scores >= threshold
    return float((predicted[right].mean() + 1 - predicted[~right].mean()) / 2)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected calibration error, and per bin (bins,): mean score, share of right items, count."""

    error: float
    mean_score: Floats
    share_right: Floats
    count: Ints


def calibration(
    scores: Floats, right: Bools, bins: int = 10, equal: Literal["mass", "width"] = "mass"
) -> Calibration:
    """Calibration: are 70 % of the items with score 0.7 right?

    The expected calibration error is sum_b n_b / n |share right - mean score| (Guo et al. 2017).
    Bins of equal mass hold the same number of items as far as ties allow, bins of equal width span
    the same range of scores. Equal scores share a bin, and empty bins are left out. ValueError if
    there are no items or a score is outside [0, 1].
    """
    if not len(scores) or scores.min() < 0 or scores.max() > 1:
        raise ValueError("calibration needs probabilities")
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    edges = np.quantile(scores, inner) if equal == "mass" else inner
    bin_index = np.searchsorted(edges, scores, side="right")
    count = np.bincount(bin_index, minlength=bins)
    used = count > 0
    mean = np.bincount(bin_index, weights=scores, minlength=bins)[used] / count[used]
    share = np.bincount(bin_index, weights=right, minlength=bins)[used] / count[used]
    error = float((count[used] * np.abs(share - mean)).sum() / len(scores))
    return Calibration(error, mean, share, count[used])


def first_error(scores: Floats, lengths: Ints, threshold: float = THRESHOLD) -> Ints:
    """(solutions,) index of the first step that scores below the threshold, or ``NO_ERROR``.

    ``scores`` (sum of lengths,): step scores of all solutions, concatenated; ``lengths``
    (solutions,): number of steps, 0 is allowed.
    """
    solution = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.cumsum(lengths) - lengths
    low = np.flatnonzero(scores < threshold)
    found = np.full(len(lengths), NO_ERROR, dtype=np.int64)
    # Later assignments win: walked backwards, each solution keeps its first low step.
    found[solution[low][::-1]] = (low - starts[solution[low]])[::-1]
    return found


@dataclass(frozen=True, slots=True)
class FirstError:
    """Accuracy on solutions with an error and without one, and their harmonic mean."""

    f1: float
    on_wrong: float
    on_right: float


def first_error_f1(predicted: Ints, actual: Ints) -> FirstError:
    """F1 of ProcessBench (Zheng et al. 2024): a hit is the exact first wrong step, or none.

    ``predicted``, ``actual``: (solutions,) index of the first wrong step, or ``NO_ERROR``. NaN
    where all solutions have an error or none has.
    """
    hit, wrong = predicted == actual, actual != NO_ERROR
    if wrong.all() or not wrong.any():
        return FirstError(float("nan"), float("nan"), float("nan"))
    on_wrong, on_right = float(hit[wrong].mean()), float(hit[~wrong].mean())
    f1 = float(harmonic_mean(np.array(on_wrong), np.array(on_right)))
    return FirstError(f1, on_wrong, on_right)


def best_first_error(scores: Floats, lengths: Ints, actual: Ints) -> tuple[float, FirstError]:
    """The threshold with the highest F1, and the F1 there; see ``first_error``.

    ProcessBench chooses the threshold on one set and reports F1 on another; on the same set it is
    an upper bound.

    A solution is a hit for thresholds in (low, high]: without an error, up to its lowest score;
    with its first error at step e, above the score of e and up to the lowest score before e.
    Sorting the ends of these intervals tries all thresholds.
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
        # An empty interval (low >= high: an earlier step scores lower still) is never hit.
        possible = kind & (low < high)
        opened = np.searchsorted(np.sort(low[possible]), ends, side="left")
        closed = np.searchsorted(np.sort(high[possible]), ends, side="left")
        return (opened - closed) / kind.sum()

    on_wrong, on_right = share(wrong), share(~wrong)
    f1 = harmonic_mean(on_wrong, on_right)
    best = int(np.argmax(f1))
    found = FirstError(float(f1[best]), float(on_wrong[best]), float(on_right[best]))
    return float(ends[best]), found


def score_against_length(scores: Floats, lengths: NDArray[np.number]) -> float:
    """Spearman's correlation of scores (n,) with lengths (n,), in steps or tokens.

    It shows a length bias, but also that long solutions are wrong more often: compare with the
    correlation among right solutions alone. NaN where either array is constant.
    """
    if len(scores) < 2 or np.ptp(scores) == 0 or np.ptp(lengths) == 0:
        return float("nan")
    return float(spearmanr(scores, lengths).statistic)


def harmonic_mean(a: Floats, b: Floats) -> Floats:
    """Elementwise harmonic mean; 0 where both are 0."""
    total = a + b
    return 2 * a * b / np.where(total > 0, total, 1.0)
