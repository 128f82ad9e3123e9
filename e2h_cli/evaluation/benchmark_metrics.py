"""Metrics of ProcessBench and PRMBench, with intervals: pure functions on arrays.

Both average over solutions by sums of counts per solution, so that a bootstrap over solutions needs
the sums alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from e2h_cli.data.step_benchmarks import PRMBENCH_CATEGORIES
from e2h_cli.evaluation.rm_metrics import NO_ERROR, harmonic_mean
from e2h_cli.evaluation.statistics import Bools, Floats, Ints, bootstrap, mean_interval

# Its category without wrong steps: PRMBench judges it by the F1 of right steps alone.
_ALL_RIGHT = "multi_solutions"


@dataclass(frozen=True, slots=True)
class BenchmarkMetric:
    """One metric in percent, None where it is undefined; its interval; number of solutions."""

    group: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    solutions: int


def first_error_counts(predicted: Ints, actual: Ints) -> Floats:
    """(solutions, 4): hit and wrong, wrong, hit and right, right (1 or 0 each).

    ``predicted``, ``actual``: (solutions,) index of the first wrong step, or ``NO_ERROR``.
    """
    hit, wrong = predicted == actual, actual != NO_ERROR
    return np.column_stack([hit & wrong, wrong, hit & ~wrong, ~wrong]).astype(np.float64)


def f1_of_counts(sums: Floats) -> Floats:
    """(n,) F1 of ProcessBench of (n, 4) sums of ``first_error_counts``; NaN where one kind is none.

    The harmonic mean of the share of solutions with an error whose first wrong step is found, and
    of the share of solutions without one in which none is found.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return harmonic_mean(sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3])


def processbench_metrics(
    splits: Mapping[str, tuple[Ints, Ints]], *, confidence: float, seed: int
) -> list[BenchmarkMetric]:
    """Accuracies and F1 per split; F1 averaged over the splits, and over the solutions.

    ``splits``: split -> predicted and actual first wrong step of its solutions, as in
    ``first_error_counts``. ProcessBench reports the average over splits; "weighted" weights each
    split by its solutions.
    """
    found: list[BenchmarkMetric] = []
    drawn: list[Floats] = []
    sizes: list[int] = []
    for i, (split, (predicted, actual)) in enumerate(splits.items()):
        counts = first_error_counts(predicted, actual)
        for metric, kind in (("error accuracy", 0), ("correct accuracy", 2)):
            hits = counts[counts[:, kind + 1] > 0, kind]
            share = float(hits.mean()) if len(hits) else float("nan")
            interval = mean_interval(hits, confidence) if len(hits) else None
            found.append(_metric(split, metric, share, interval, len(hits)))
        draws = bootstrap(f1_of_counts, counts, seed + i)
        value = float(f1_of_counts(counts.sum(axis=0, keepdims=True))[0])
        found.append(_metric(split, "F1", value, _quantiles(draws, confidence), len(counts)))
        drawn.append(np.append(draws, value))
        sizes.append(len(counts))
    for group, weights in (("mean", np.ones(len(sizes))), ("weighted", np.array(sizes))):
        averages = np.average(drawn, axis=0, weights=weights)
        interval = _quantiles(averages[:-1], confidence)
        found.append(_metric(group, "F1", float(averages[-1]), interval, sum(sizes)))
    return found


def step_counts(scores: Floats, wrong: Bools, lengths: Ints, threshold: float) -> Floats:
    """(solutions, 4): right steps called right and wrong, wrong steps called wrong and right.

    ``scores``, ``wrong``: (sum of lengths,) of all steps, concatenated; a score below the threshold
    calls a step wrong. ``lengths``: (solutions,) number of steps, at least 1.
    """
    low = scores < threshold
    kinds = [~low & ~wrong, low & ~wrong, low & wrong, ~low & wrong]
    starts = np.cumsum(lengths) - lengths
    return np.add.reduceat(np.column_stack(kinds).astype(np.float64), starts, axis=0)


def right_f1(sums: Floats) -> Floats:
    """(n,) F1 of the class of right steps, of (n, 4) sums of ``step_counts``."""
    return _f1(sums[:, 0], sums[:, 1], sums[:, 3])


def wrong_f1(sums: Floats) -> Floats:
    """(n,) F1 of the class of wrong steps, of (n, 4) sums of ``step_counts``."""
    return _f1(sums[:, 2], sums[:, 3], sums[:, 1])


def prm_score(sums: Floats) -> Floats:
    """(n,) PRMScore: the mean of both F1 (weights 0.5 and 0.5, Song et al. 2025)."""
    return (right_f1(sums) + wrong_f1(sums)) / 2


def prmbench_metrics(
    categories: Mapping[str, Floats], *, confidence: float, seed: int
) -> list[BenchmarkMetric]:
    """F1 of right and of wrong steps and PRMScore, per category, dimension and overall.

    ``categories``: category -> ``step_counts`` of its solutions. As in PRMBench's evaluator, the
    overall score pools the steps of all categories, that of a dimension is the mean of its
    categories, and multi_solutions, which has no wrong steps, counts by the F1 of right steps.
    """
    found: list[BenchmarkMetric] = []
    drawn: dict[str, Floats] = {}
    pooled = {"overall": np.concatenate(list(categories.values()))}
    for i, (group, counts) in enumerate([*categories.items(), *pooled.items()]):
        total = counts.sum(axis=0, keepdims=True)
        score = right_f1 if group == _ALL_RIGHT else prm_score
        for metric, function in (("right F1", right_f1), ("wrong F1", wrong_f1)):
            found.append(_metric(group, metric, float(function(total)[0]), None, len(counts)))
        draws = bootstrap(score, counts, seed + i)
        value = float(score(total)[0])
        found.append(_metric(group, "PRMScore", value, _quantiles(draws, confidence), len(counts)))
        drawn[group] = np.append(draws, value)
    for dimension, names in PRMBENCH_CATEGORIES.items():
        if names.keys() <= categories.keys():
            means = np.mean([drawn[name] for name in names], axis=0)
            interval = _quantiles(means[:-1], confidence)
            solutions = sum(len(categories[name]) for name in names)
            found.append(_metric(dimension, "PRMScore", float(means[-1]), interval, solutions))
    return found


def _f1(hits: Floats, missed: Floats, false: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        f1: Floats = 2 * hits / (2 * hits + missed + false)
    return f1


def _quantiles(draws: Floats, confidence: float) -> tuple[float, float] | None:
    """The percentile interval; None where the metric is undefined in a draw."""
    if np.isnan(draws).any():
        return None
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _metric(
    group: str, metric: str, value: float, interval: tuple[float, float] | None, solutions: int
) -> BenchmarkMetric:
    def percent(share: float) -> float | None:
        return None if np.isnan(share) else round(100 * share, 2)

    low, high = (None, None) if interval is None else map(percent, interval)
    return BenchmarkMetric(group, metric, percent(value), low, high, solutions)
