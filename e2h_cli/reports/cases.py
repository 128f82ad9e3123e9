"""Case studies: two solutions of a problem side by side, chosen by a stated rule (paper p.22-37).

A study counts all problems by how they came out, so that one example is not taken for the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.rm_metrics import THRESHOLD
from e2h_cli.evaluation.sample_groups import SampleGroup
from e2h_cli.evaluation.score_tables import aggregate_scores, take_keys
from e2h_cli.evaluation.statistics import Floats
from e2h_cli.evaluation.voting import weighted_vote

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GradedSamples:
    """The samples of one generator: ``SAMPLE_SCHEMA``, in groups with verdicts.

    ``name``: of the generator; ``scores``: ``SCORE_SCHEMA``, or None where nothing scored them.
    """

    name: str
    groups: Sequence[SampleGroup]
    samples: pa.Table
    scores: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class AnswerVotes:
    """Votes for an answer, the sum of their weights, and the weight of the shown solution."""

    votes: int
    total: float
    weight: float


@dataclass(frozen=True, slots=True)
class ShownSolution:
    """A solution with its step scores.

    ``name``: of its generator, or of the vote that chose its answer; ``step_scores``: as many as
    were read, () without a reward model; ``outcome_score``: of the whole solution; ``answer``: None
    where it has none; ``votes``: for its answer; ``sample``: its number.
    """

    name: str
    steps: tuple[str, ...]
    answer: str | None
    right: bool
    step_scores: tuple[float, ...] = ()
    outcome_score: float | None = None
    votes: AnswerVotes | None = None
    sample: int = 0

    @property
    def first_low(self) -> int | None:
        """Index of the first step score below 0.5, None where there is none or it is no share."""
        low = (i for i, score in enumerate(self.step_scores) if score < THRESHOLD)
        return next(low, None) if all(0 <= s <= 1 for s in self.step_scores) else None


@dataclass(frozen=True, slots=True)
class Case:
    """Two solutions of one problem."""

    problem: Problem
    left: ShownSolution
    right: ShownSolution


@dataclass(frozen=True, slots=True)
class CaseStudy:
    """Cases, the rule that chose them, and how many problems came out how.

    ``outcomes``: (outcome, number of problems), all considered problems together; ``style``: mean
    figures of all solutions of the left and of the right generator.
    """

    title: str
    rule: str
    outcomes: tuple[tuple[str, int], ...]
    cases: tuple[Case, ...]
    style: tuple[Style, Style] | None = None


@dataclass(frozen=True, slots=True)
class Style:
    """Means over solutions; of characters over steps. None where there is nothing to count."""

    name: str
    steps: float
    characters_per_step: float | None
    tokens: float | None
    share_right: float


def vote_cases(given: GradedSamples, aggregation: str, max_level: int, count: int) -> CaseStudy:
    """Problems on which majority voting is wrong and weighted voting right (Figures 22-23, p.37).

    Left is the solution of highest weight with the most frequent answer, right that with the answer
    that wins by weights. Problems are hard ones, all where there are none above ``max_level``.
    ``aggregation``: of step scores to a weight. ValueError where the samples have no scores.
    """
    if given.scores is None:
        raise ValueError("votes need scores")
    hard = [group for group in given.groups if group.problem.level > max_level]
    groups = hard or given.groups
    all_weights = aggregate_scores(given.scores, groups, aggregation)
    outcomes: Counter[tuple[bool, bool]] = Counter()
    found = []
    for group, weights in zip(groups, all_weights, strict=True):
        classes = group.answer_classes
        winners = weighted_vote(classes, np.ones(group.size)), weighted_vote(classes, weights)
        # Without any answer both winners are NO_ANSWER.
        by_majority, by_weight = (group.is_right(c) for c in winners)
        outcomes[by_majority, by_weight] += 1
        if by_weight and not by_majority:
            most_frequent, winner = (float(weights[classes == c].sum()) for c in winners)
            found.append((most_frequent - winner, group.problem.id, (group, weights, winners)))
    names, cases = ("majority", "weighted"), []
    for group, weights, winners in _first(found, count):
        left, right = (_best_of_answer(given, group, weights, chosen) for chosen in winners)
        named = replace(left, name=names[0]), replace(right, name=names[1])
        cases.append(Case(group.problem, *named))
    about = f"hard problems (above level {max_level})" if hard else "problems (none is hard)"
    rule = (
        f"Of {len(groups):,} {about}, those that majority voting answers wrongly and voting "
        f"weighted by {aggregation} rightly: by falling margin of the winner's sum of weights over "
        "that of the most frequent answer, then by id. Of each answer the solution of highest "
        "weight is shown."
    )
    title = "Weighted voting right where majority voting is wrong (as the paper's Figures 22-23)"
    return CaseStudy(title, rule, _outcomes(outcomes, names), tuple(cases))


def first_wrong_cases(before: GradedSamples, after: GradedSamples, count: int) -> CaseStudy:
    """Problems that ``before`` solves wrongly and ``after`` rightly, as the paper's Table 7 (p.22).

    The solution of a problem is the sample with the lowest number. InputError if the two have not
    sampled the same problems.
    """
    outcomes: Counter[tuple[bool, bool]] = Counter()
    found = []
    for pair in _pairs(before, after):
        first, second = (bool(group.right_samples[0]) for group in pair)
        outcomes[first, second] += 1
        if second and not first:
            problem = pair[0].problem
            found.append((-problem.level, problem.id, pair))
    rule = (
        f"Of {sum(outcomes.values()):,} problems, those that {before.name} answers wrongly and "
        f"{after.name} rightly: the highest level first, then by id."
    )
    title = f"Wrong by {before.name}, right by {after.name} (as the paper's Table 7)"
    cases = tuple(_case(before, after, pair) for pair in _first(found, count))
    return CaseStudy(title, rule, _outcomes(outcomes, (before.name, after.name)), cases)


def style_cases(before: GradedSamples, after: GradedSamples, count: int) -> CaseStudy:
    """Problems whose number of steps changes as most do, as the paper's Table 8 (p.23).

    Right and wrong solutions alike. The solution of a problem is the sample with the lowest number;
    ``CaseStudy.style`` is of all samples. InputError as of ``first_wrong_cases``.
    """
    pairs = _pairs(before, after)
    texts = [
        take_keys(given.samples, [pair[side].keys[0] for pair in pairs])["text"].to_pylist()
        for side, given in enumerate((before, after))
    ]
    steps = [np.array([len(template.parse(text).steps) for text in side]) for side in texts]
    change = steps[1] - steps[0]
    median = float(np.median(change))
    found = [
        (abs(float(changed) - median), pair[0].problem.id, pair)
        for changed, pair, a, b in zip(change, pairs, *texts, strict=True)
        if a != b
    ]
    rule = (
        f"Of {len(pairs):,} problems, those with different solutions by {before.name} and "
        f"{after.name}, right or wrong: the change in the number of steps that is nearest to the "
        f"median change ({median:+g}) first, then by id."
    )
    outcomes = (("different", len(found)), ("the same", len(pairs) - len(found)))
    cases = tuple(_case(before, after, pair) for pair in _first(found, count))
    style = style_of(before), style_of(after)
    title = f"Solutions of {before.name} and {after.name} (as the paper's Table 8)"
    return CaseStudy(title, rule, outcomes, cases, style)


def style_of(given: GradedSamples) -> Style:
    """Mean number of steps and tokens per solution and of characters per step, over all samples."""
    samples = take_keys(given.samples, [key for group in given.groups for key in group.keys])
    steps = [
        len(step.text)
        for text in samples["text"].to_pylist()
        for step in template.parse(text).steps
    ]
    tokens = None if samples["tokens"].null_count else float(np.mean(samples["tokens"].to_numpy()))
    right = float(np.mean([group.right_samples.mean() for group in given.groups]))
    characters = float(np.mean(steps)) if steps else None
    return Style(given.name, len(steps) / samples.num_rows, characters, tokens, right)


def _pairs(before: GradedSamples, after: GradedSamples) -> list[tuple[SampleGroup, SampleGroup]]:
    """The groups of both generators by problem."""
    others = {group.problem.id: group for group in after.groups}
    if others.keys() != {group.problem.id for group in before.groups}:
        raise InputError(
            f"{before.name} and {after.name} have sampled different problems",
            hint="give samples of the same part of the same split",
        )
    return [(group, others[group.problem.id]) for group in before.groups]


def _outcomes(
    counts: Counter[tuple[bool, bool]], names: tuple[str, str]
) -> tuple[tuple[str, int], ...]:
    """Number of problems by the verdicts on both, those of the study and the opposite first."""
    words = {False: "wrong", True: "right"}
    order = (False, True), (True, False), (True, True), (False, False)
    return tuple((f"{names[0]} {words[a]}, {names[1]} {words[b]}", counts[a, b]) for a, b in order)


def _first(found: Iterable[tuple[float, str, T]], count: int) -> tuple[T, ...]:
    """The first by number and id."""
    return tuple(case for _, _, case in sorted(found, key=itemgetter(0, 1))[:count])


def _case(
    before: GradedSamples, after: GradedSamples, pair: tuple[SampleGroup, SampleGroup]
) -> Case:
    return Case(pair[0].problem, _shown(before, pair[0], 0), _shown(after, pair[1], 0))


def _best_of_answer(
    given: GradedSamples, group: SampleGroup, weights: Floats, answer_class: int
) -> ShownSolution:
    """The solution of highest weight with an answer; of equal ones the first drawn."""
    same = group.answer_classes == answer_class
    best = int(np.argmax(np.where(same, weights, -np.inf)))
    votes = AnswerVotes(int(same.sum()), float(weights[same].sum()), float(weights[best]))
    return _shown(given, group, best, votes)


def _shown(
    given: GradedSamples, group: SampleGroup, index: int, votes: AnswerVotes | None = None
) -> ShownSolution:
    """The solution at an index of a group."""
    key = group.keys[index]
    text = _row(given.samples, key)["text"]
    scores = {} if given.scores is None else _row(given.scores, key)
    return ShownSolution(
        given.name,
        tuple(step.text for step in template.parse(text).steps),
        group.answers[index],
        bool(group.right_samples[index]),
        tuple(scores.get("step_scores", ())),
        scores.get("outcome_score"),
        votes,
        key[1],
    )


def _row(table: pa.Table, key: tuple[str, int]) -> dict[str, Any]:
    """The row of a sample; a table of all samples is searched by problem first, which is fast."""
    [row] = take_keys(table.filter(pc.equal(table["id"], key[0])), [key]).to_pylist()
    return row
