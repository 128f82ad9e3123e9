"""All metrics of a reward model, by group of problems, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from e2h_cli.common.parquet_store import KEY_COLUMNS
from e2h_cli.evaluation.labelled_scores import (
    LabelledScores,
    LabelledSolutions,
    ScoredSamples,
    labelled_outcomes,
    labelled_solutions,
    labelled_steps,
)
from e2h_cli.evaluation.rm_metrics import (
    NO_ERROR,
    accuracy_at,
    balanced_accuracy,
    best_first_error,
    calibration,
    first_error,
    first_error_f1,
    harmonic_mean,
    roc_auc,
    score_against_length,
)
from e2h_cli.evaluation.score_tables import step_arrays
from e2h_cli.evaluation.statistics import BOOTSTRAP_DRAWS, Bools, Floats, Ints, bootstrap_weights

# Of the ROC curve in the bootstrap: enough that the binned area equals that of the scores to 1e-4.
_ROC_BINS = 512


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One metric of a reward model.

    ``group``: of problems; ``item``: step, outcome or solution; ``score``: "step" or the
    aggregation; ``low``, ``high``: bootstrap interval over problems, None where there is none;
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


# A metric's name and value, and for the interval: sums per problem, (problems, columns), and the
# metric as a function of summed columns, (draws, columns) -> (draws,).
_Measured = tuple[str, float, tuple[Floats, Callable[[Floats], Floats]] | None]


def reward_metrics(
    scored: ScoredSamples,
    groups: Mapping[str, Bools],
    *,
    aggregates: Sequence[str] = ("last", "prod", "min"),
    threshold: float = 0.5,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Diagnostic]:
    """All metrics of a reward model by group of problems; undefined ones are left out.

    Per group: accuracy, balanced accuracy, ROC AUC and calibration error (10 bins of equal mass) of
    steps and of outcomes; F1 of the first error at the threshold and at the best threshold;
    correlation of the outcome score with the number of steps and tokens, over all solutions and
    over the right ones.

    Args:
        scored: samples, their scores (probabilities) and labels.
        groups: masks (problems,), problems in the order of the rows.
        aggregates: how step scores become the score of an outcome: "last" is the outcome score.
        threshold: scores at or above it predict "right".
        confidence: of the intervals.
        seed: of the bootstrap.

    Raises:
        ValueError: the rows do not match, or the scores are not probabilities.
    """
    samples, scores, step_labels = scored.samples, scored.scores, scored.step_labels
    same = samples.select(KEY_COLUMNS).equals(scores.select(KEY_COLUMNS))
    if not same or len(scored.right) != scores.num_rows:
        raise ValueError("samples, scores and labels are not of the same rows")
    outcomes = {a: labelled_outcomes(scores, scored.right, a) for a in aggregates}
    steps = None if step_labels is None else labelled_steps(scores, step_labels)
    solutions = None if step_labels is None else labelled_solutions(scores, step_labels)
    lengths = {"steps": step_arrays(scores)[1]}
    if not samples["tokens"].null_count:
        lengths["tokens"] = samples["tokens"].to_numpy()
    rows: list[Diagnostic] = []
    for group, mask in groups.items():
        report = _GroupReport(group, mask, threshold, confidence, seed)
        if steps is not None:
            report.add_items("step", "step", steps)
        for aggregation, items in outcomes.items():
            report.add_items("outcome", aggregation, items)
        if solutions is not None:
            report.add_first_errors(solutions)
        for aggregation, items in outcomes.items():
            report.add_correlations(aggregation, items, lengths)
        rows += report.rows
    return rows


class _GroupReport:
    """Collects the metrics of one group of problems."""

    def __init__(
        self, group: str, mask: Bools, threshold: float, confidence: float, seed: int
    ) -> None:
        self.rows: list[Diagnostic] = []
        self._group = group
        self._mask = mask
        self._threshold = threshold
        self._confidence = confidence
        self._problems = int(mask.sum())
        rng = np.random.default_rng(seed)
        self._weights = bootstrap_weights(self._problems, BOOTSTRAP_DRAWS, rng)

    def add_items(self, item: str, score: str, items: LabelledScores) -> None:
        """Accuracy, ROC and calibration of steps or outcomes."""
        items = items.select(self._mask)
        about = self._about(item, score, items.right, items.problem)
        self._add(about, _item_metrics(items, self._threshold, self._problems))

    def add_first_errors(self, solutions: LabelledSolutions) -> None:
        """F1 of the first error."""
        solutions = solutions.select(self._mask)
        right = solutions.first_wrong == NO_ERROR
        about = self._about("solution", "step", right, solutions.problem)
        self._add(about, _first_error_metrics(solutions, self._threshold, self._problems))

    def add_correlations(
        self, score: str, items: LabelledScores, lengths: Mapping[str, Ints]
    ) -> None:
        """Correlation of outcome scores with each length (rows,)."""
        chosen = self._mask[items.problem]
        for suffix, rows in {"": chosen, " if right": chosen & items.right}.items():
            about = self._about("outcome", score, items.right[rows], items.problem[rows])
            measured: list[_Measured] = [
                (
                    f"correlation with {name}{suffix}",
                    score_against_length(items.scores[rows], length[rows]),
                    None,
                )
                for name, length in lengths.items()
            ]
            self._add(about, measured)

    def _about(self, item: str, score: str, right: Bools, problem: Ints) -> dict[str, Any]:
        return {
            "group": self._group,
            "item": item,
            "score": score,
            "items": len(right),
            "problems": len(np.unique(problem)),
            "share_right": float(right.mean()) if len(right) else 0.0,
        }

    def _add(self, about: dict[str, Any], measured: Iterable[_Measured]) -> None:
        for metric, value, sums in measured:
            low = high = None
            if np.isnan(value):
                continue
            if sums is not None:
                columns, metric_of_sums = sums
                with np.errstate(invalid="ignore", divide="ignore"):
                    drawn = metric_of_sums(self._weights @ columns)
                # NaN where a resample holds no right or no wrong item.
                ends = [(1 - self._confidence) / 2, (1 + self._confidence) / 2]
                low, high = map(float, np.nanquantile(drawn, ends))
            self.rows.append(Diagnostic(**about, metric=metric, value=value, low=low, high=high))


def _item_metrics(items: LabelledScores, threshold: float, problems: int) -> Iterator[_Measured]:
    scores, right = items.scores, items.right
    if not len(scores):
        return
    hit = (scores >= threshold) == right
    sums = _sums(problems, items.problem, hit & right, right, hit & ~right, ~right)
    yield (
        "accuracy",
        accuracy_at(scores, right, threshold),
        (sums, lambda s: (s[:, 0] + s[:, 2]) / (s[:, 1] + s[:, 3])),
    )
    yield (
        "balanced accuracy",
        balanced_accuracy(scores, right, threshold),
        (sums, lambda s: (s[:, 0] / s[:, 1] + s[:, 2] / s[:, 3]) / 2),
    )
    yield "roc auc", roc_auc(scores, right), (_roc_bins(problems, items), _binned_auc)
    yield "calibration error", calibration(scores, right).error, None


def _first_error_metrics(
    solutions: LabelledSolutions, threshold: float, problems: int
) -> Iterator[_Measured]:
    actual = solutions.first_wrong
    predicted = first_error(solutions.scores, solutions.lengths, threshold)
    found = first_error_f1(predicted, actual)
    hit, wrong = predicted == actual, actual != NO_ERROR
    sums = _sums(problems, solutions.problem, hit & wrong, wrong, hit & ~wrong, ~wrong)
    yield (
        "first error f1",
        found.f1,
        (sums, lambda s: harmonic_mean(s[:, 0] / s[:, 1], s[:, 2] / s[:, 3])),
    )
    yield "first error on wrong", found.on_wrong, (sums, lambda s: s[:, 0] / s[:, 1])
    yield "first error on right", found.on_right, (sums, lambda s: s[:, 2] / s[:, 3])
    best, reached = best_first_error(solutions.scores, solutions.lengths, actual)
    yield "first error f1 at best threshold", reached.f1, None
    yield "best threshold", best, None


def _sums(problems: int, problem: Ints, *flags: Bools) -> Floats:
    """(problems, flags): number of items of each problem for which each flag holds."""
    return np.column_stack([np.bincount(problem, flag, minlength=problems) for flag in flags])


def _roc_bins(problems: int, items: LabelledScores) -> Floats:
    """(problems, 2 x bins): right items per bin of rising score, then wrong items."""
    edges = np.quantile(items.scores, np.linspace(0, 1, _ROC_BINS + 1)[1:-1])
    bins = np.searchsorted(edges, items.scores, side="right") + _ROC_BINS * ~items.right
    cells = items.problem * (2 * _ROC_BINS) + bins
    counts = np.bincount(cells, minlength=problems * 2 * _ROC_BINS)
    return counts.reshape(problems, 2 * _ROC_BINS).astype(np.float64)


def _binned_auc(sums: Floats) -> Floats:
    """(draws,) ROC AUC of ``_roc_bins`` summed over problems."""
    right, wrong = sums[:, :_ROC_BINS], sums[:, _ROC_BINS:]
    below = np.cumsum(wrong, axis=1) - wrong / 2
    return (right * below).sum(axis=1) / (right.sum(axis=1) * wrong.sum(axis=1))
