"""Scores of a reward model with their labels: step scores, outcome scores, whole solutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from e2h_cli.common.parquet_store import KEY_COLUMNS
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.data.rm_labels import step_checker, until_first_mistake
from e2h_cli.evaluation.rm_metrics import NO_ERROR
from e2h_cli.evaluation.sample_groups import group_samples
from e2h_cli.evaluation.score_tables import aggregate_rows, step_arrays
from e2h_cli.evaluation.statistics import Bools, Floats, Ints
from e2h_cli.grading.verdict import Grader

# Per sample, per step: right, wrong, or None where that is unknown.
StepLabels = Sequence[Sequence[bool | None]]


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """Scores of n items with labels.

    ``scores``, ``right``, ``problem`` (the number of the item's problem): (n,).
    """

    scores: Floats
    right: Bools
    problem: Ints

    def select(self, problems: Bools) -> LabelledScores:
        """Items of the problems in a mask (problems,); problems are renumbered."""
        chosen, number = problems[self.problem], np.cumsum(problems) - 1
        return LabelledScores(self.scores[chosen], self.right[chosen], number[self.problem[chosen]])


@dataclass(frozen=True, slots=True)
class LabelledSolutions:
    """Step scores of solutions whose first wrong step is known.

    ``scores``: (sum of lengths,) concatenated; ``lengths``, ``first_wrong`` (step index or
    ``NO_ERROR``), ``problem``: (solutions,).
    """

    scores: Floats
    lengths: Ints
    first_wrong: Ints
    problem: Ints

    def select(self, problems: Bools) -> LabelledSolutions:
        """Solutions of the problems in a mask (problems,); problems are renumbered."""
        chosen, number = problems[self.problem], np.cumsum(problems) - 1
        return LabelledSolutions(
            self.scores[np.repeat(chosen, self.lengths)],
            self.lengths[chosen],
            self.first_wrong[chosen],
            number[self.problem[chosen]],
        )


def labelled_steps(scores: pa.Table, step_labels: StepLabels) -> LabelledScores:
    """The scored steps whose label is known.

    Args:
        scores: rows of ``SCORE_SCHEMA``.
        step_labels: one list per row. Labels beyond the scored steps (the last step of an
            unfinished solution) are ignored.

    Raises:
        ValueError: fewer labels than scores.
    """
    values, lengths = step_arrays(scores)
    labels: list[bool | None] = []
    for row, length in zip(step_labels, lengths.tolist(), strict=True):
        if len(row) < length:
            raise ValueError(f"{length} step scores, but {len(row)} labels")
        labels.extend(row[:length])
    known = np.array([label is not None for label in labels], dtype=bool)
    right = np.array([bool(label) for label in labels], dtype=bool)
    problem = np.repeat(_problem_numbers(scores), lengths)
    return LabelledScores(values[known], right[known], problem[known])


def labelled_outcomes(scores: pa.Table, right: Bools, aggregation: str) -> LabelledScores:
    """All samples with their aggregated score; ``right`` (rows,): whether the answer is right."""
    return LabelledScores(aggregate_rows(scores, aggregation), right, _problem_numbers(scores))


def labelled_solutions(scores: pa.Table, step_labels: StepLabels) -> LabelledSolutions:
    """The solutions whose first wrong step is known; arguments as in ``labelled_steps``.

    Left out: solutions without scored steps, those with an unknown label before the first wrong
    step, and those whose first wrong step has no score.
    """
    values, lengths = step_arrays(scores)
    found = [_first_wrong(labels) for labels in step_labels]
    first_wrong = np.array([NO_ERROR if a is None else a for a in found], dtype=np.int64)
    known = np.array([a is not None for a in found], dtype=bool)
    known &= (lengths > 0) & (first_wrong < lengths)
    return LabelledSolutions(
        values[np.repeat(known, lengths)],
        lengths[known],
        first_wrong[known],
        _problem_numbers(scores)[known],
    )


def _first_wrong(labels: Sequence[bool | None]) -> int | None:
    for i, label in enumerate(labels):
        if not label:
            return None if label is None else i
    return NO_ERROR


def _problem_numbers(scores: pa.Table) -> Ints:
    """(rows,) number of each row's problem, in the order of their first rows."""
    numbers: dict[str, int] = {}
    return np.array(
        [numbers.setdefault(key, len(numbers)) for key in scores["id"].to_pylist()], dtype=np.int64
    )


@dataclass(frozen=True, slots=True)
class ScoredSamples:
    """Samples with scores and labels, the same number for each problem, rows in the same order.

    ``samples``: ``SAMPLE_SCHEMA``; ``scores``: ``SCORE_SCHEMA``; ``right``: (rows,) whether the
    answer is right; ``problems``: in the order of the rows; ``step_labels``: None where there is no
    oracle of single steps.
    """

    samples: pa.Table
    scores: pa.Table
    right: Bools
    problems: list[Problem]
    step_labels: StepLabels | None


def grade_scored_samples(
    samples: pa.Table, scores: pa.Table, problems: Mapping[str, Problem], grader: Grader
) -> ScoredSamples:
    """Grade the samples that have scores, and label their steps where an oracle can."""
    scored = set(zip(*(scores[name].to_pylist() for name in KEY_COLUMNS), strict=True))
    keys = zip(*(samples[name].to_pylist() for name in KEY_COLUMNS), strict=True)
    samples = samples.filter(pa.array([key in scored for key in keys]))
    groups = group_samples(samples, problems, grader)
    samples, scores = (_first_of_each(table, groups[0].size) for table in (samples, scores))
    solved = [group.problem for group in groups]
    return ScoredSamples(
        samples,
        scores,
        np.concatenate([group.right_samples for group in groups]),
        solved,
        _step_labels(samples, problems, solved),
    )


def _first_of_each(table: pa.Table, size: int) -> pa.Table:
    """The first ``size`` rows of each problem."""
    seen: dict[str, int] = {}
    chosen = []
    for key in table["id"].to_pylist():
        seen[key] = seen.get(key, 0) + 1
        chosen.append(seen[key] <= size)
    return table.filter(pa.array(chosen))


def _step_labels(
    samples: pa.Table, problems: Mapping[str, Problem], solved: Sequence[Problem]
) -> StepLabels | None:
    checker = step_checker(solved)
    if checker is None:
        return None
    labels = []
    for key, text in zip(samples["id"].to_pylist(), samples["text"].to_pylist(), strict=True):
        steps = [step.text for step in template.parse(text).steps]
        labels.append(until_first_mistake(checker(problems[key].problem, steps)))
    return labels
