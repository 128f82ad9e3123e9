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
from e2h_cli.evaluation.score_tables import aggregate_rows, step_arrays, take_keys
from e2h_cli.evaluation.statistics import Bools, Floats, Ints
from e2h_cli.grading.verdict import Grader

# Per sample, per step: right, wrong, or None where that is unknown.
StepLabels = Sequence[Sequence[bool | None]]


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """Scores of n items with labels, and the number of each item's problem: (n,) each."""

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

    @property
    def right(self) -> Bools:
        """(solutions,) whether all steps are right."""
        return self.first_wrong == NO_ERROR

    def select(self, problems: Bools) -> LabelledSolutions:
        """Solutions of the problems in a mask (problems,); problems are renumbered."""
        chosen, number = problems[self.problem], np.cumsum(problems) - 1
        scores, problem = self.scores[np.repeat(chosen, self.lengths)], self.problem[chosen]
        return LabelledSolutions(
            scores, self.lengths[chosen], self.first_wrong[chosen], number[problem]
        )


def labelled_steps(scores: pa.Table, step_labels: StepLabels) -> LabelledScores:
    """The scored steps whose label is known, of rows of ``SCORE_SCHEMA``.

    ``step_labels``: one list per row. Labels beyond the scored steps (the last step of an
    unfinished solution) are ignored; ValueError if there are fewer labels than scores.
    """
    values, lengths = step_arrays(scores)
    labels: list[bool | None] = []
    for row, length in zip(step_labels, lengths.tolist(), strict=True):
        if len(row) < length:
            raise ValueError(f"{length} step scores, but {len(row)} labels")
        labels += row[:length]
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
    not_right = [
        next(((i, label) for i, label in enumerate(labels) if not label), (NO_ERROR, False))
        for labels in step_labels
    ]
    first_wrong = np.array([step for step, _ in not_right], dtype=np.int64)
    known = np.array([label is not None for _, label in not_right], dtype=bool)
    known &= (lengths > 0) & (first_wrong < lengths)
    values, problem = values[np.repeat(known, lengths)], _problem_numbers(scores)[known]
    return LabelledSolutions(values, lengths[known], first_wrong[known], problem)


def _problem_numbers(scores: pa.Table) -> Ints:
    """(rows,) number of each row's problem, in the order of their first rows."""
    ids = scores["id"].combine_chunks().dictionary_encode()
    return np.asarray(ids.indices, dtype=np.int64)


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
    sampled, scored = (
        zip(*(table[name].to_pylist() for name in KEY_COLUMNS), strict=True)
        for table in (samples, scores)
    )
    scored_keys = set(scored)
    samples = samples.filter(pa.array([key in scored_keys for key in sampled]))
    groups = group_samples(samples, problems, grader)
    keys = [key for group in groups for key in group.keys]
    samples, scores = take_keys(samples, keys), take_keys(scores, keys)
    right = np.concatenate([group.right_samples for group in groups])
    solved = [group.problem for group in groups]
    labels = None
    if checker := step_checker(solved):
        questions = [problems[key].problem for key in samples["id"].to_pylist()]
        solutions = map(template.parse, samples["text"].to_pylist())
        labels = [
            until_first_mistake(checker(question, [step.text for step in solution.steps]))
            for question, solution in zip(questions, solutions, strict=True)
        ]
    return ScoredSamples(samples, scores, right, solved, labels)
