"""The N samples of a problem as arrays, and accuracy per problem as a function of N."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.statistics import Bools, Floats, Ints, best_of_n_accuracy, pass_at_k
from e2h_cli.evaluation.voting import NO_ANSWER, permutations, vote_accuracy
from e2h_cli.grading.verdict import Grader

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SampleGroup:
    """N samples of a problem.

    ``samples``: (N,) their numbers, ascending; ``answers``: N texts or None; ``answer_classes``:
    (N,) equal answers have equal numbers; ``right_classes``: (classes,) whether a class is right.
    """

    problem: Problem
    samples: tuple[int, ...]
    answers: tuple[str | None, ...]
    answer_classes: Ints
    right_classes: Bools

    @property
    def size(self) -> int:
        """N."""
        return len(self.answer_classes)

    @property
    def keys(self) -> list[tuple[str, int]]:
        """(id, sample) of each sample."""
        return [(self.problem.id, sample) for sample in self.samples]

    @property
    def right_samples(self) -> Bools:
        """(N,) whether a sample's answer is right."""
        return np.append(self.right_classes, False)[self.answer_classes]


def group_samples(
    samples: pa.Table, problems: Mapping[str, Problem], grader: Grader
) -> list[SampleGroup]:
    """One group per sampled problem, all of the same size N, in the order of their first rows.

    N is the smallest number of samples that any problem has; of the others the samples with the
    lowest numbers are taken, which is logged. Each answer has its own verdict: equal answers with
    different verdicts are two classes, so that none is right because of another. InputError if a
    sampled problem is unknown or has no gold answer, or a sample stands twice.
    """
    answers: dict[str, dict[int, str | None]] = {}
    columns = (samples[name].to_pylist() for name in ("id", "sample", "answer"))
    for key, number, answer in zip(*columns, strict=True):
        if number in answers.setdefault(key, {}):
            raise InputError(f"sample {number} of {key!r} stands twice")
        answers[key][number] = answer
    unknown = [k for k in answers if k not in problems or problems[k].answer is None]
    if unknown:
        raise InputError(
            f"{len(unknown)} sampled problems have no gold answer here, {unknown[0]!r} first",
            hint="give the split that the samples were drawn from with --problems",
        )
    if not answers:
        raise InputError("no samples to vote on")
    size, largest = (of(map(len, answers.values())) for of in (min, max))
    if size < largest:
        logger.warning(
            f"problems have {size} to {largest} samples: N is {size}, the others are left out"
        )
    answers = {key: dict(sorted(found.items())[:size]) for key, found in answers.items()}
    distinct = {
        key: [answer for answer in dict.fromkeys(found.values()) if answer is not None]
        for key, found in answers.items()
    }
    pairs = [(problems[key].answer or "", a) for key, texts in distinct.items() for a in texts]
    verdicts = iter(grader.grade(pairs))
    groups = []
    for key, texts in distinct.items():
        labels = zip(grader.classes(texts), (next(verdicts).right for _ in texts), strict=True)
        label_of: dict[str | None, tuple[int, bool]] = dict(zip(texts, labels, strict=True))
        class_of = {label: i for i, label in enumerate(dict.fromkeys(label_of.values()))}
        right = np.array([is_right for _, is_right in class_of], dtype=bool)
        numbers, given = tuple(answers[key]), tuple(answers[key].values())
        numbered = (NO_ANSWER if a is None else class_of[label_of[a]] for a in given)
        classes = np.fromiter(numbered, dtype=np.int64)
        groups.append(SampleGroup(problems[key], numbers, given, classes, right))
    return groups


def pass_at_k_curve(groups: Sequence[SampleGroup], ks: Sequence[int]) -> Floats:
    """(problems, ks): exact pass@k."""
    right = np.array([group.right_samples.sum() for group in groups])
    return np.stack([pass_at_k(groups[0].size, right, k) for k in ks], axis=1)


def best_of_n_curve(
    groups: Sequence[SampleGroup], scores: Sequence[Floats], ks: Sequence[int]
) -> Floats:
    """(problems, ks): exact accuracy of best-of-n. ``scores``: one (N,) array per problem."""
    accuracy = [
        best_of_n_accuracy(values, group.answer_classes != NO_ANSWER, group.right_samples, ks)
        for group, values in zip(groups, scores, strict=True)
    ]
    return np.array(accuracy)


def vote_curves(
    groups: Sequence[SampleGroup],
    weightings: Sequence[Sequence[Floats]],
    ks: Sequence[int],
    draws: int,
    seed: int,
) -> Floats:
    """(weightings, problems, ks): accuracy of voting over random subsets of the N samples.

    ``weightings``: for each, one (N,) array per problem. All weightings see the same subsets.
    """
    accuracy = np.zeros((len(weightings), len(groups), len(ks)))
    for i, group in enumerate(groups):
        order = permutations(group.size, draws, np.random.default_rng([seed, i]))
        weights, classes = [weighting[i] for weighting in weightings], group.answer_classes
        accuracy[:, i] = vote_accuracy(classes, weights, group.right_classes, ks, order)
    return accuracy
