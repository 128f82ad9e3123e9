"""All metrics of a reward model, by group of problems, with intervals over problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from e2h_cli.common.parquet_store import KEY_COLUMNS
from e2h_cli.evaluation import rm_metrics
from e2h_cli.evaluation.labelled_scores import (
    LabelledScores,
    LabelledSolutions,
    ScoredSamples,
    labelled_outcomes,
    labelled_solutions,
    labelled_steps,
)
from e2h_cli.evaluation.score_tables import step_arrays
from e2h_cli.evaluation.statistics import (
    Bools,
    Floats,
    Ints,
    jackknife_variance,
    wilson_interval,
)

# How step scores become the score of an outcome: "last" is the outcome score.
_AGGREGATES = ("last", "prod", "min")
# Of the ROC curve in the jackknife: enough that the binned area equals that of the scores to 1e-4.
_ROC_BINS = 512
ROC_SCHEMA = pa.schema(
    {
        **dict.fromkeys(("group", "item", "score"), pa.string()),
        **dict.fromkeys(("auc", "false_positive", "true_positive"), pa.float64()),
    }
)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One metric of a reward model.

    ``group``: of problems; ``item``: step, outcome or solution; ``score``: "step" or the
    aggregation; ``low``, ``high``: interval over problems, None where there is none;
    ``items``, ``problems``: number that the metric is computed from; ``share_right``: of the items.
    """

    group: str
    item: str
    score: str
    metric: str
    value: float
    low: float | None
    high: float | None
    items: int
    problems: int
    share_right: float


# A metric's name and value, and for its interval: sums per problem (problems, columns), or None.
_Measured = tuple[str, float, Floats | None]


def reward_metrics(
    scored: ScoredSamples, groups: Mapping[str, Bools], *, confidence: float = 0.95
) -> list[Diagnostic]:
    """All metrics of a reward model by group of problems; undefined ones are left out.

    Per group: accuracy, balanced accuracy, ROC AUC and calibration error (10 bins of equal mass) of
    steps and of outcomes; F1 of the first error at the threshold and at the best threshold;
    correlation of the outcome score with the number of steps and tokens, over all solutions and
    over the right ones.

    ``groups``: masks (problems,), problems in the order of the rows; ``confidence``: of the
    intervals. ValueError if the rows do not match, or the scores are not probabilities.
    """
    samples, scores, step_labels = scored.samples, scored.scores, scored.step_labels
    same = samples.select(KEY_COLUMNS).equals(scores.select(KEY_COLUMNS))
    if not same or len(scored.right) != scores.num_rows:
        raise ValueError("samples, scores and labels are not of the same rows")
    outcomes = {a: labelled_outcomes(scores, scored.right, a) for a in _AGGREGATES}
    measured: list[tuple[str, str, Any, Callable[[Any, int], Iterable[_Measured]]]]
    measured = [("outcome", a, items, _item_metrics) for a, items in outcomes.items()]
    if step_labels is not None:
        steps, solutions = (f(scores, step_labels) for f in (labelled_steps, labelled_solutions))
        measured.insert(0, ("step", "step", steps, _item_metrics))
        measured.append(("solution", "step", solutions, _first_error_metrics))
    lengths = {"steps": step_arrays(scores)[1]}
    if not samples["tokens"].null_count:
        lengths["tokens"] = samples["tokens"].to_numpy()
    rows: list[Diagnostic] = []
    for group, mask in groups.items():
        problems = int(mask.sum())
        for item, score, labelled, metrics in measured:
            some = labelled.select(mask)
            names, found = (group, item, score), metrics(some, problems)
            rows += _diagnostics(names, some.right, some.problem, found, confidence)
        for score, items in outcomes.items():
            in_group = mask[items.problem]
            for suffix, those in {"": in_group, " if right": in_group & items.right}.items():
                found = []
                for name, length in lengths.items():
                    values = items.scores[those], length[those]
                    correlation = rm_metrics.score_against_length(*values)
                    found.append((f"correlation with {name}{suffix}", correlation, None))
                names, right, problem = (group, "outcome", score), items.right[those], items.problem
                rows += _diagnostics(names, right, problem[those], found, confidence)
    return rows


def roc_table(
    scored: ScoredSamples, groups: Mapping[str, Bools], aggregation: str = "last"
) -> pa.Table:
    """Points of the ROC curves (paper, Figure 24) of steps and outcomes, by group of problems.

    Rows of ``ROC_SCHEMA``, in the order of each curve. A curve of items that are all right or all
    wrong has no rows. ``aggregation``: of the step scores of an outcome; "last" is its own score.
    """
    items = {("outcome", aggregation): labelled_outcomes(scored.scores, scored.right, aggregation)}
    if scored.step_labels is not None:
        items = {("step", "step"): labelled_steps(scored.scores, scored.step_labels), **items}
    tables = [ROC_SCHEMA.empty_table()]
    for group, mask in groups.items():
        for names, labelled in items.items():
            some = labelled.select(mask)
            curve = rm_metrics.roc_points(some.scores, some.right)
            count = len(curve.false_positive)
            same = [[value] * count for value in (group, *names, curve.auc)]
            rates = curve.false_positive, curve.true_positive
            tables.append(pa.table([*same, *rates], schema=ROC_SCHEMA))
    return pa.concat_tables(tables)


def _diagnostics(
    names: tuple[str, str, str],
    right: Bools,
    problem: Ints,
    measured: Iterable[_Measured],
    confidence: float,
) -> Iterator[Diagnostic]:
    """Add counts and intervals, and leave out what is undefined."""
    share_right = float(right.mean()) if len(right) else 0.0
    counts = len(right), len(np.unique(problem)), share_right
    for metric, value, sums in measured:
        low = high = None
        if np.isnan(value):
            continue
        if sums is not None:
            variance = jackknife_variance(_METRIC_OF_SUMS[metric], sums)
            # NaN where one problem has all right or all wrong items.
            if not np.isnan(variance):
                low, high = wilson_interval(value, variance, len(sums), confidence)
        yield Diagnostic(*names, metric, value, low, high, *counts)


def _item_metrics(items: LabelledScores, problems: int) -> Iterator[_Measured]:
    scores, right = items.scores, items.right
    if not len(scores):
        return
    sums = _hits((scores >= rm_metrics.THRESHOLD) == right, right, items.problem, problems)
    yield "accuracy", rm_metrics.accuracy_at(scores, right), sums
    yield "balanced accuracy", rm_metrics.balanced_accuracy(scores, right), sums
    yield "roc auc", rm_metrics.roc_auc(scores, right), _roc_bins(problems, items)
    yield "calibration error", rm_metrics.calibration(scores, right).error, None


def _first_error_metrics(solutions: LabelledSolutions, problems: int) -> Iterator[_Measured]:
    actual, wrong = solutions.first_wrong, ~solutions.right
    predicted = rm_metrics.first_error(solutions.scores, solutions.lengths)
    found = rm_metrics.first_error_f1(predicted, actual)
    sums = _hits(predicted == actual, wrong, solutions.problem, problems)
    yield "first error f1", found.f1, sums
    yield "first error on wrong", found.on_wrong, sums
    yield "first error on right", found.on_right, sums
    best, reached = rm_metrics.best_first_error(solutions.scores, solutions.lengths, actual)
    yield "first error f1 at best threshold", reached.f1, None
    yield "best threshold", best, None


def _hits(hit: Bools, kind: Bools, problem: Ints, problems: int) -> Floats:
    """(problems, 4): items of a kind predicted correctly, and in all; the same of the others."""
    flags = (hit & kind, kind, hit & ~kind, ~kind)
    return np.column_stack([np.bincount(problem, flag, minlength=problems) for flag in flags])


def _roc_bins(problems: int, items: LabelledScores) -> Floats:
    """(problems, 2 x bins): right items per bin of rising score, then wrong items."""
    edges = np.quantile(items.scores, np.linspace(0, 1, _ROC_BINS + 1)[1:-1])
    bins = np.searchsorted(edges, items.scores, side="right") + _ROC_BINS * ~items.right
    cells = items.problem * (2 * _ROC_BINS) + bins
    counts = np.bincount(cells, minlength=problems * 2 * _ROC_BINS)
    return counts.reshape(problems, 2 * _ROC_BINS).astype(np.float64)


def _binned_auc(sums: Floats) -> Floats:
    """(n,) ROC AUC of ``_roc_bins`` summed over problems."""
    right, wrong = sums[:, :_ROC_BINS], sums[:, _ROC_BINS:]
    below = np.cumsum(wrong, axis=1) - wrong / 2
    return (right * below).sum(axis=1) / (right.sum(axis=1) * wrong.sum(axis=1))


# Metrics as functions of sums over problems, (n, columns) -> (n,): of ``_roc_bins``, the
# others of ``_hits``.
_METRIC_OF_SUMS: dict[str, Callable[[Floats], Floats]] = {
    "accuracy": lambda s: (s[:, 0] + s[:, 2]) / (s[:, 1] + s[:, 3]),
    "balanced accuracy": lambda s: (s[:, 0] / s[:, 1] + s[:, 2] / s[:, 3]) / 2,
    "roc auc": _binned_auc,
    "first error f1": lambda s: rm_metrics.harmonic_mean(s[:, 0] / s[:, 1], s[:, 2] / s[:, 3]),
    "first error on wrong": lambda s: s[:, 0] / s[:, 1],
    "first error on right": lambda s: s[:, 2] / s[:, 3],
}
