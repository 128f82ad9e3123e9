"""How good a reward model is by itself, by group of problems, for ``e2h eval --reward-metrics``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from e2h_cli.evaluation.rm_metrics import (
    NO_ERROR,
    Bools,
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
from e2h_cli.evaluation.statistics import BOOTSTRAP_DRAWS, bootstrap_weights
from e2h_cli.evaluation.voting import Floats, Ints, aggregate

StepLabels = Sequence[Sequence[bool | None]]

# Of the ROC curve in the bootstrap: enough that the binned area is that of the scores to 1e-4.
_ROC_BINS = 512


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores with their truth: ``owner`` (n,) is the number of the problem of each item."""

    scores: Floats
    right: Bools
    owner: Ints

    def of(self, problems: Bools) -> Judged:
        """The items of some problems, (problems,) bool; the problems are numbered anew."""
        kept = problems[self.owner]
        number = np.cumsum(problems) - 1
        return Judged(self.scores[kept], self.right[kept], number[self.owner[kept]])


def judged_steps(scores: pa.Table, step_labels: StepLabels) -> Judged:
    """The scored steps whose truth is known.

    Args:
        scores: rows of ``parts.SCORES``.
        step_labels: for each row whether each step is right, None where that is unknown. Labels of
            steps beyond the scored ones (the last of an unfinished solution) are not used.

    Raises:
        ValueError: fewer labels than scores.
    """
    flat, lengths = _steps(scores)
    labels: list[bool | None] = []
    for row, length in zip(step_labels, lengths.tolist(), strict=True):
        if len(row) < length:
            raise ValueError(f"{length} step scores, but {len(row)} labels")
        labels.extend(row[:length])
    known = np.array([label is not None for label in labels], dtype=bool)
    right = np.array([bool(label) for label in labels], dtype=bool)
    return Judged(flat[known], right[known], np.repeat(_owners(scores), lengths)[known])


def judged_outcomes(scores: pa.Table, right: Bools, how: str) -> Judged:
    """All samples, each with its score by ``voting.aggregate``; ``right`` is (rows,)."""
    flat, lengths = _steps(scores)
    outcome = np.asarray(scores["outcome_score"], dtype=np.float64)
    combined = aggregate(np.insert(flat, np.cumsum(lengths), outcome), lengths + 1, how)
    return Judged(combined, right, _owners(scores))


@dataclass(frozen=True, slots=True)
class Traced:
    """Solutions whose first error is known: ``scores`` of the steps of all, one after the other.

    ``lengths``, ``actual`` (index of the first wrong step, or -1), ``owner``: (solutions,).
    """

    scores: Floats
    lengths: Ints
    actual: Ints
    owner: Ints

    def of(self, problems: Bools) -> Traced:
        """The solutions of some problems, (problems,) bool; the problems are numbered anew."""
        kept = problems[self.owner]
        number = np.cumsum(problems) - 1
        return Traced(
            self.scores[np.repeat(kept, self.lengths)],
            self.lengths[kept],
            self.actual[kept],
            number[self.owner[kept]],
        )


def traced(scores: pa.Table, step_labels: StepLabels) -> Traced:
    """The solutions for ``first_error``; see ``judged_steps``.

    Left out: solutions without scored steps, those with an unknown step before the first wrong one,
    and those whose first wrong step has no score.
    """
    flat, lengths = _steps(scores)
    rows = zip(step_labels, lengths.tolist(), strict=True)
    found = [_first_wrong(labels) if length else None for labels, length in rows]
    kept = np.array([a is not None for a in found], dtype=bool)
    actual = np.array([NO_ERROR if a is None else a for a in found], dtype=np.int64)
    kept &= actual < lengths
    everything = Traced(flat, lengths, actual, np.arange(len(lengths)))
    chosen = everything.of(kept)
    return replace(chosen, owner=_owners(scores)[kept])


def _first_wrong(labels: Sequence[bool | None]) -> int | None:
    for i, label in enumerate(labels):
        if not label:
            return None if label is None else i
    return NO_ERROR


def _steps(scores: pa.Table) -> tuple[Floats, Ints]:
    steps = scores["step_scores"].combine_chunks()
    lengths = np.asarray(steps.value_lengths(), dtype=np.int64)
    return np.asarray(steps.flatten(), dtype=np.float64), lengths


def _owners(scores: pa.Table) -> Ints:
    numbers: dict[str, int] = {}
    return np.array(
        [numbers.setdefault(key, len(numbers)) for key in scores["id"].to_pylist()], dtype=np.int64
    )


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One number about a reward model.

    ``group``: of problems; ``item``: "step", "outcome" or "solution"; ``score``: "step" or the
    aggregation; ``low``, ``high``: bootstrap interval over problems, None where it is not made;
    ``items``, ``problems``: how many it rests on; ``share_right``: of the items.
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


def reward_metrics(
    samples: pa.Table,
    scores: pa.Table,
    right: Bools,
    groups: Mapping[str, Bools],
    *,
    step_labels: StepLabels | None = None,
    aggregates: Sequence[str] = ("last", "prod", "min"),
    threshold: float = 0.5,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Diagnostic]:
    """Everything above, by group, for ``e2h eval --reward-metrics``; what is not defined is left out.

    Per group: accuracy, balanced accuracy, ROC AUC and calibration error (10 bins of equal mass) of
    steps and of outcomes; F1 of the first error at the threshold and at the best one; correlation
    of the outcome score with the number of steps and tokens, over all and over right solutions.

    Args:
        samples: rows of ``parts.SAMPLES``.
        scores: rows of ``parts.SCORES`` for the same samples in the same order, probabilities.
        right: (rows,) whether the answer of a sample is correct.
        groups: masks (problems,), the problems numbered as they first appear; see
            ``reporting.results.groups_of``.
        step_labels: see ``judged_steps``; None where nothing can tell right steps.
        aggregates: what stands for the outcome: "last" is the outcome score itself.
        threshold: of "right".
        confidence: of the intervals.
        seed: of the bootstrap.

    Raises:
        ValueError: the rows do not match, or the scores are no probabilities.
    """
    keys = ["id", "sample"]
    if not samples.select(keys).equals(scores.select(keys)) or len(right) != scores.num_rows:
        raise ValueError("samples, scores and outcomes are not about the same rows")
    outcomes = {how: judged_outcomes(scores, right, how) for how in aggregates}
    judged = {("outcome", how): values for how, values in outcomes.items()}
    solutions = None
    if step_labels is not None:
        judged = {("step", "step"): judged_steps(scores, step_labels), **judged}
        solutions = traced(scores, step_labels)
    lengths = {"steps": _steps(scores)[1]}
    if not samples["tokens"].null_count:
        lengths["tokens"] = samples["tokens"].to_numpy()
    rows: list[Diagnostic] = []
    for group, mask in groups.items():
        weights = bootstrap_weights(int(mask.sum()), BOOTSTRAP_DRAWS, np.random.default_rng(seed))
        for (item, score), everything in judged.items():
            own = everything.of(mask)
            about = _about(group, item, score, own.right, own.owner)
            rows += _rows(about, _judged(own, threshold, len(weights.T)), weights, confidence)
        if solutions is not None:
            some = solutions.of(mask)
            about = _about(group, "solution", "step", some.actual == NO_ERROR, some.owner)
            rows += _rows(
                about, _first_errors(some, threshold, len(weights.T)), weights, confidence
            )
        for score, everything in outcomes.items():
            kept = mask[everything.owner]
            for part, chosen in {"": kept, " if right": kept & everything.right}.items():
                about = _about(group, "outcome", score, right[chosen], everything.owner[chosen])
                values = [
                    (
                        f"correlation with {name}{part}",
                        score_against_length(everything.scores[chosen], length[chosen]),
                        None,
                    )
                    for name, length in lengths.items()
                ]
                rows += _rows(about, values, weights, confidence)
    return rows


# Name, value, and for an interval: (problems, columns) sums per problem, and the metric of sums.
_Measured = tuple[str, float, tuple[Floats, Callable[[Floats], Floats]] | None]


def _about(group: str, item: str, score: str, right: Bools, owner: Ints) -> dict[str, Any]:
    return {
        "group": group,
        "item": item,
        "score": score,
        "items": len(right),
        "problems": len(np.unique(owner)),
        "share_right": float(right.mean()) if len(right) else 0.0,
    }


def _rows(
    about: dict[str, Any], measured: Iterable[_Measured], weights: Floats, confidence: float
) -> Iterator[Diagnostic]:
    for metric, value, sums in measured:
        low = high = None
        if np.isnan(value):
            continue
        if sums is not None:
            with np.errstate(invalid="ignore", divide="ignore"):
                drawn = sums[1](weights @ sums[0])
            # A draw may hold no right or no wrong item at all.
            ends = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
            low, high = map(float, ends)
        yield Diagnostic(**about, metric=metric, value=value, low=low, high=high)


def _judged(judged: Judged, threshold: float, problems: int) -> Iterator[_Measured]:
    scores, right, owner = judged.scores, judged.right, judged.owner
    if not len(scores):
        return
    agreed = (scores >= threshold) == right
    sums = _sums(problems, owner, agreed & right, right, agreed & ~right, ~right)
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
    yield "roc auc", roc_auc(scores, right), (_roc_bins(problems, judged), _binned_auc)
    yield "calibration error", calibration(scores, right).error, None


def _first_errors(solutions: Traced, threshold: float, problems: int) -> Iterator[_Measured]:
    predicted = first_error(solutions.scores, solutions.lengths, threshold)
    found = first_error_f1(predicted, solutions.actual)
    hit, wrong = predicted == solutions.actual, solutions.actual != NO_ERROR
    sums = _sums(problems, solutions.owner, hit & wrong, wrong, hit & ~wrong, ~wrong)
    yield (
        "first error f1",
        found.f1,
        (sums, lambda s: harmonic_mean(s[:, 0] / s[:, 1], s[:, 2] / s[:, 3])),
    )
    yield "first error on wrong", found.on_wrong, (sums, lambda s: s[:, 0] / s[:, 1])
    yield "first error on right", found.on_right, (sums, lambda s: s[:, 2] / s[:, 3])
    best, reached = best_first_error(solutions.scores, solutions.lengths, solutions.actual)
    yield "first error f1 at best threshold", reached.f1, None
    yield "best threshold", best, None


def _sums(problems: int, owner: Ints, *flags: Bools) -> Floats:
    """(problems, flags): how often each flag holds in each problem."""
    return np.column_stack([np.bincount(owner, flag, minlength=problems) for flag in flags])


def _roc_bins(problems: int, judged: Judged) -> Floats:
    """(problems, 2 x bins): items per bin of rising score, the right ones, then the wrong ones."""
    edges = np.quantile(judged.scores, np.linspace(0, 1, _ROC_BINS + 1)[1:-1])
    place = np.searchsorted(edges, judged.scores, side="right") + _ROC_BINS * ~judged.right
    cells = judged.owner * (2 * _ROC_BINS) + place
    counts = np.bincount(cells, minlength=problems * 2 * _ROC_BINS)
    return counts.reshape(problems, 2 * _ROC_BINS).astype(np.float64)


def _binned_auc(sums: Floats) -> Floats:
    right, wrong = sums[:, :_ROC_BINS], sums[:, _ROC_BINS:]
    below = np.cumsum(wrong, axis=1) - wrong / 2
    return (right * below).sum(axis=1) / (right.sum(axis=1) * wrong.sum(axis=1))
