"""The samples of one problem as arrays: answer classes, which are right, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.statistics import best_of_n_accuracy, pass_at_k
from e2h_cli.evaluation.voting import (
    NO_ANSWER,
    Floats,
    Ints,
    aggregate,
    permutations,
    vote_accuracy,
)
from e2h_cli.grading.verdict import Grader


@dataclass(frozen=True, slots=True)
class SampleGroup:
    """N samples of a problem.

    ``answers``: N texts or None; ``classes``: (N,) equal answers have equal numbers;
    ``right``: (classes,) whether a class is correct.
    """

    problem: Problem
    answers: tuple[str | None, ...]
    classes: Ints
    right: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """N."""
        return len(self.classes)

    @property
    def right_samples(self) -> NDArray[np.bool_]:
        """(N,) whether a sample's answer is correct."""
        return np.append(self.right, False)[self.classes]


def group_samples(
    samples: pa.Table, problems: Mapping[str, Problem], grader: Grader
) -> list[SampleGroup]:
    """One pool per sampled problem, all of the same size, in the order of the samples.

    A class is right when one of its answers is, so that votes and verdicts agree.

    Raises:
        InputError: a sampled problem is unknown or has no gold answer.
    """
    answers: dict[str, list[str | None]] = {}
    for key, answer in zip(samples["id"].to_pylist(), samples["answer"].to_pylist(), strict=True):
        answers.setdefault(key, []).append(answer)
    unknown = [k for k in answers if k not in problems or problems[k].answer is None]
    if unknown:
        raise InputError(
            f"{len(unknown)} sampled problems have no gold answer here, {unknown[0]!r} first",
            hint="give the split that the samples were drawn from with --problems",
        )
    if not answers:
        raise InputError("no samples to vote on")
    size = min(map(len, answers.values()))
    distinct: dict[str, list[str]] = {}
    for key, many in answers.items():
        distinct[key] = list(dict.fromkeys(a for a in many[:size] if a is not None))
    pairs = [(problems[key].answer or "", a) for key, many in distinct.items() for a in many]
    verdicts = iter(grader.grade(pairs))
    groups = []
    for key, many in answers.items():
        labels = grader.classes(distinct[key])
        right = np.zeros(max(labels, default=-1) + 1, dtype=bool)
        for label in labels:
            right[label] |= next(verdicts).right
        number = dict(zip(distinct[key], labels, strict=True))
        kept = many[:size]
        classes = [NO_ANSWER if a is None else number[a] for a in kept]
        groups.append(
            SampleGroup(problems[key], tuple(kept), np.array(classes, dtype=np.int64), right)
        )
    return groups


def aggregate_scores(scores: pa.Table, size: int, how: str) -> list[Floats]:
    """Aggregated scores (N,) of each problem, in table order; see ``voting.aggregate``."""
    steps = scores["step_scores"].combine_chunks()
    lengths = np.asarray(steps.value_lengths(), dtype=np.int64)
    flat = np.asarray(steps.flatten(), dtype=np.float64)
    outcome = np.asarray(scores["outcome_score"], dtype=np.float64)
    flat = np.insert(flat, np.cumsum(lengths), outcome)
    combined = aggregate(flat, lengths + 1, how)
    rows: dict[str, list[int]] = {}
    for row, key in enumerate(scores["id"].to_pylist()):
        rows.setdefault(key, []).append(row)
    return [combined[many[:size]] for many in rows.values()]


def pass_at_k_curve(groups: Sequence[SampleGroup], ks: Sequence[int]) -> Floats:
    """(problems, ks): exact pass@k."""
    return np.array(
        [[pass_at_k(p.size, int(p.right_samples.sum()), k) for k in ks] for p in groups],
        dtype=float,
    )


def best_of_n_curve(
    groups: Sequence[SampleGroup], scores: Sequence[Floats], ks: Sequence[int]
) -> Floats:
    """(problems, ks): exact accuracy of best-of-n."""
    return np.array(
        [
            best_of_n_accuracy(s, p.classes != NO_ANSWER, p.right_samples, ks)
            for p, s in zip(groups, scores, strict=True)
        ]
    )


def vote_curves(
    groups: Sequence[SampleGroup],
    weightings: Sequence[Sequence[Floats]],
    ks: Sequence[int],
    draws: int,
    seed: int,
) -> Floats:
    """(weightings, problems, ks): accuracy of voting over random draws.

    ``weightings``: for each, one (N,) array per problem. All of them see the same draws.
    """
    accuracy = np.zeros((len(weightings), len(groups), len(ks)))
    for i, pool in enumerate(groups):
        rng = np.random.default_rng([seed, i])
        order = permutations(pool.size, draws, rng)
        own = [w[i] for w in weightings]
        accuracy[:, i] = vote_accuracy(pool.classes, own, pool.right, ks, order)
    return accuracy
