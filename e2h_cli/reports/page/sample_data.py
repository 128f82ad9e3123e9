"""Problems, their solutions and answers as JSON, with the votes and scores of rerank stages.

Lists of one problem are parallel: an entry for each kept solution. Names are short, as they stand
in the file once for every problem; ``static/data.js`` gives them their long names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.data.rm_labels import StepChecker, step_checker
from e2h_cli.evaluation.measurements import VotingMethod
from e2h_cli.evaluation.sample_groups import SampleGroup
from e2h_cli.evaluation.score_tables import take_keys
from e2h_cli.evaluation.voting import NO_ANSWER, best_of_n, weighted_vote
from e2h_cli.reports.page.kept_samples import best_of, kept_indices, rule

# Answers of a problem that are listed; the chosen and the right ones are, however rare.
_ANSWERS = 12
_MAJORITY = "majority"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scoring:
    """A rerank stage: its scores, or None, and one voting method of each kind that it used."""

    stage: str
    scores: pa.Table | None
    methods: Sequence[VotingMethod]


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Solutions of one generator, in groups with verdicts, and the rerank stages that read them.

    ``samples``: ``SAMPLE_SCHEMA``, texts in e2h's template.
    """

    name: str
    groups: Sequence[SampleGroup]
    samples: pa.Table
    scorings: Sequence[Scoring] = ()


def problems_json(problems: Mapping[str, Problem]) -> list[Json]:
    """Problems with gold answer and reference solution."""
    return [
        {"id": p.id, "q": p.problem, "gold": p.answer, "level": p.level, "subject": p.subject}
        | ({"solution": p.solution} if p.solution else {})
        for p in problems.values()
    ]


def sample_set_json(given: SampleSet, limit: int) -> tuple[Json, list[Json]]:
    """The solutions of a set, and the votes and scores of each of its rerank stages.

    ``limit``: solutions of a problem, beside those that ``kept_samples.rule`` names.
    """
    groups = given.groups
    chosen = [_choices(group, given.scorings, i) for i, group in enumerate(groups)]
    kept = [
        kept_indices(group, limit, [(v.weights, v.winner) for votes in one for v in votes])
        for group, one in zip(groups, chosen, strict=True)
    ]
    answers = [
        _listed(group, {v.winner for votes in one for v in votes})
        for group, one in zip(groups, chosen, strict=True)
    ]
    keys = [group.keys[i] for group, some in zip(groups, kept, strict=True) for i in some]
    table = take_keys(given.samples, keys)
    checker = step_checker(group.problem for group in groups)
    bounds = np.cumsum([0, *map(len, kept)]).tolist()
    problems = [
        _problem_json(group, some, listed, table.slice(start, len(some)), checker)
        for group, some, listed, start in zip(groups, kept, answers, bounds, strict=False)
    ]
    size = groups[0].size
    first = min(group.problem.id for group in groups)  # tells samples of other parts of a split
    about = {"stage": given.name, "n": size, "rule": rule(size, limit), "oracle": bool(checker)}
    about["first"] = first
    scorings = [
        _scoring_json(scoring, groups, [one[i] for one in chosen], kept, answers, keys)
        for i, scoring in enumerate(given.scorings)
    ]
    return {**about, "problems": problems}, scorings


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a voting method chooses for a problem: weights (N,) and the winning answer class."""

    method: VotingMethod
    weights: np.ndarray
    winner: int


def _choices(group: SampleGroup, scorings: Sequence[Scoring], index: int) -> list[list[_Choice]]:
    """The choices of the methods of each scoring for the problem at an index."""
    return [
        [
            _Choice(m, weights, (best_of_n if m.name == "best-of-n" else weighted_vote)(
                group.answer_classes, weights))
            for m in scoring.methods
            for weights in [m.weights[index]]
        ]
        for scoring in scorings
    ]  # fmt: skip


def _listed(group: SampleGroup, winners: set[int]) -> list[int]:
    """Answer classes that are listed, by falling votes; ``NO_ANSWER`` last, if a sample has none.

    Those of most votes, the right ones, and those that a method chose.
    """
    classes = group.answer_classes
    votes = np.bincount(classes[classes != NO_ANSWER], minlength=group.classes)
    order = np.argsort(-votes, kind="stable").tolist()
    wanted = {*winners, weighted_vote(classes, np.ones(group.size))}
    wanted |= set(classes[group.right_samples].tolist())
    listed = [c for place, c in enumerate(order) if place < _ANSWERS or c in wanted]
    return [*listed, NO_ANSWER] if (classes == NO_ANSWER).any() else listed


def _problem_json(
    group: SampleGroup,
    kept: list[int],
    listed: list[int],
    samples: pa.Table,
    checker: StepChecker | None,
) -> Json:
    """Answers with votes, and the kept solutions."""
    classes = group.answer_classes
    place = {c: i for i, c in enumerate(listed)}
    answers = []
    for c in listed:
        first = int(np.argmax(classes == c))
        right = int(group.is_right(c))
        answers.append([group.answers[first], right, int((classes == c).sum())])
    columns = {name: samples[name].to_pylist() for name in ("text", "finish_reason", "tokens")}
    texts = {text: i for i, text in enumerate(dict.fromkeys(columns["text"]))}
    solutions = [_solution_json(text) for text in texts]
    found: Json = {
        "id": group.problem.id,
        "a": answers,
        "other": [group.classes - len([c for c in listed if c != NO_ANSWER]),
                  int((~np.isin(classes, listed)).sum())],
        "maj": place.get(weighted_vote(classes, np.ones(group.size)), -1),
        "right": int(group.right_samples.sum()),
        "s": [group.samples[i] for i in kept],
        "g": [place.get(int(classes[i]), -1) for i in kept],
        # Answers that are not listed stand with the solution.
        "own": {str(i): group.answers[k] for i, k in enumerate(kept) if classes[k] not in place},
        "t": solutions,
        "x": [texts[text] for text in columns["text"]],
        "tokens": columns["tokens"],
        "end": columns["finish_reason"],
    }  # fmt: skip
    if samples["logprob"].null_count < samples.num_rows:
        found["logprob"] = [_rounded(value, 2) for value in samples["logprob"].to_pylist()]
    if checker is not None:
        # By text: equal solutions have the same first wrong step.
        found["wrong"] = [_first_wrong(checker, group.problem, steps) for steps, _ in solutions]
    return found


def _solution_json(text: str) -> tuple[list[str], str]:
    """Steps, and what stands after them: "" for the answer block alone."""
    solution = template.parse(text)
    end = solution.steps[-1].end if solution.steps else 0
    rest = text[end:].strip()
    plain = solution.answer is not None and rest == template.answer_block(solution.answer)
    return [step.text for step in solution.steps], "" if plain else rest


def _first_wrong(checker: StepChecker, problem: Problem, steps: list[str]) -> int:
    right = checker(problem.problem, steps)
    return right.index(False) if False in right else -1


def _scoring_json(
    scoring: Scoring,
    groups: Sequence[SampleGroup],
    chosen: Sequence[Sequence[_Choice]],
    kept: Sequence[list[int]],
    listed: Sequence[list[int]],
    keys: Sequence[tuple[str, int]],
) -> Json:
    """Choices of the methods, sums of weights by answer, and the scores of the kept solutions."""
    table = None if scoring.scores is None else take_keys(scoring.scores, keys)
    problems, start = [], 0
    for group, choices, some, classes in zip(groups, chosen, kept, listed, strict=True):
        one: Json = {"c": [_choice_json(group, choice, classes) for choice in choices]}
        # Majority voting has no weights.
        scored = [choice for choice in choices if choice.method.name != _MAJORITY]
        one["w"] = [[_digits(float(c.weights[i])) for i in some] for c in scored]
        one["sum"] = [[_digits(_of_answer(group, c, answer)) for answer in classes] for c in scored]
        if table is not None:
            part = table.slice(start, len(some))
            one["steps"] = [
                [_rounded(score, 3) for score in scores]
                for scores in part["step_scores"].to_pylist()
            ]
            one["out"] = [_rounded(score, 4) for score in part["outcome_score"].to_pylist()]
        start += len(some)
        problems.append(one)
    methods = [{"name": m.name, "aggregate": m.aggregate} for m in scoring.methods]
    return {"stage": scoring.stage, "methods": methods, "problems": problems}


def _choice_json(group: SampleGroup, choice: _Choice, listed: Sequence[int]) -> list[int]:
    """Place of the chosen answer, whether it is right, and the number of its best solution."""
    if choice.winner == NO_ANSWER:
        return [-1, 0, -1]
    best = best_of(group.answer_classes == choice.winner, choice.weights)
    assert best is not None
    right = int(group.is_right(choice.winner))
    return [listed.index(choice.winner), right, group.samples[best]]


def _of_answer(group: SampleGroup, choice: _Choice, answer: int) -> float:
    """The weight of an answer: the sum, or for best-of-n the highest."""
    weights = choice.weights[group.answer_classes == answer]
    return float(weights.max() if choice.method.name == "best-of-n" else weights.sum())


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, digits)


def _digits(value: float) -> float | None:
    """Four significant digits."""
    return float(f"{value:.4g}") if np.isfinite(value) else None
