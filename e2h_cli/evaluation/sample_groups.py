"""The N samples of a problem as arrays, and accuracy per problem as a function of N."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.statistics import Bools, Floats, Ints, best_of_n_accuracy, pass_at_k
from e2h_cli.evaluation.voting import NO_ANSWER, permutations, vote_accuracy
from e2h_cli.grading.verdict import Grader, Verdict, refuse_unjudged

logger = logging.getLogger(__name__)

# Of programs also the mean share of tests that are passed; accuracy is the share that passes all.
ACCURACY, AVERAGE = "accuracy", "average accuracy"

# Votes of several problems at once. More threads than these would wait for Python's lock.
_THREADS = 8


@dataclass(frozen=True, slots=True)
class SampleGroup:
    """N samples of a problem.

    ``samples``: (N,) their numbers, ascending; ``answers``: N texts or None; ``answer_classes``:
    (N,) equal answers have equal numbers; ``right_samples``: (N,) whether a sample's answer is
    right; ``shares``: (N,) of programs, the share of the tests that each passes.
    """

    problem: Problem
    samples: tuple[int, ...]
    answers: tuple[str | None, ...]
    answer_classes: Ints
    right_samples: Bools
    shares: Floats | None = None

    @property
    def size(self) -> int:
        """N."""
        return len(self.answer_classes)

    @property
    def keys(self) -> list[tuple[str, int]]:
        """(id, sample) of each sample."""
        return [(self.problem.id, sample) for sample in self.samples]

    @property
    def classes(self) -> int:
        """The number of answer classes."""
        return int(self.answer_classes.max(initial=NO_ANSWER)) + 1

    def is_right(self, winner: int) -> bool:
        """Whether the first sample of an answer class is right; ``winner`` may be NO_ANSWER."""
        first = int(np.argmax(self.answer_classes == winner))
        return winner != NO_ANSWER and bool(self.right_samples[first])

    def values(self, metric: str) -> Floats:
        """(N,) what each sample is worth under one of ``METRICS``."""
        if metric == AVERAGE and self.shares is not None:
            return self.shares
        return self.right_samples.astype(np.float64)


def group_samples(
    samples: pa.Table, problems: Mapping[str, Problem], grader: Grader
) -> list[SampleGroup]:
    """One group per sampled problem, all of the same size N, in the order of their first rows.

    N is the smallest number of samples that any problem has; of the others the samples with the
    lowest numbers are taken, which is logged. Each answer has its own verdict: equal answers with
    different verdicts are two classes, so that none is right because of another; the classes of
    programs are by behaviour alone. InputError if a sampled problem is unknown or has no gold
    answer, or a sample stands twice; RunError if programs could not be judged.
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
    graded = grader.grade(pairs)
    refuse_unjudged(graded)
    verdicts = iter(graded)
    classes = grader.classes_of(
        [(texts, problems[k].public_tests) for k, texts in distinct.items()]
    )
    return [
        _group(problems[key], answers[key], texts, [next(verdicts) for _ in texts], labels)
        for (key, texts), labels in zip(distinct.items(), classes, strict=True)
    ]


def _group(
    problem: Problem,
    answers: Mapping[int, str | None],
    distinct: Sequence[str],
    verdicts: Sequence[Verdict],
    labels: Sequence[int],
) -> SampleGroup:
    """A group of samples (number -> answer), by the verdicts and classes of distinct answers."""
    verdict_of: dict[str | None, Verdict] = dict(zip(distinct, verdicts, strict=True))
    # Programs of a class may differ on the tests, which no vote may see.
    classes = [
        (label, None if problem.is_program else verdict.right)
        for label, verdict in zip(labels, verdicts, strict=True)
    ]
    number = {label: i for i, label in enumerate(dict.fromkeys(classes))}
    class_of = {text: number[label] for text, label in zip(distinct, classes, strict=True)}
    given = tuple(answers.values())
    judged = [verdict_of.get(answer) for answer in given]
    return SampleGroup(
        problem,
        tuple(answers),
        given,
        np.array([NO_ANSWER if a is None else class_of[a] for a in given], dtype=np.int64),
        np.array([verdict is not None and verdict.right for verdict in judged], dtype=bool),
        np.array([v.share if v else 0.0 for v in judged]) if problem.is_program else None,
    )


def pass_at_k_curve(groups: Sequence[SampleGroup], ks: Sequence[int]) -> Floats:
    """(problems, ks): exact pass@k."""
    right = np.array([group.right_samples.sum() for group in groups])
    return np.stack([pass_at_k(groups[0].size, right, k) for k in ks], axis=1)


def best_of_n_curve(
    groups: Sequence[SampleGroup],
    scores: Sequence[Floats],
    ks: Sequence[int],
    metric: str = ACCURACY,
) -> Floats:
    """(problems, ks): exact accuracy of best-of-n. ``scores``: one (N,) array per problem."""
    accuracy = [
        best_of_n_accuracy(values, group.answer_classes != NO_ANSWER, group.values(metric), ks)
        for group, values in zip(groups, scores, strict=True)
    ]
    return np.array(accuracy)


def vote_curves(
    groups: Sequence[SampleGroup],
    weightings: Sequence[Sequence[Floats]],
    ks: Sequence[int],
    draws: int,
    seed: int,
    metrics: Sequence[str] = (ACCURACY,),
) -> Floats:
    """(metrics, weightings, problems, ks): accuracy of voting over random subsets of the N samples.

    ``weightings``: for each, one (N,) array per problem. All weightings see the same subsets.
    """
    accuracy = np.zeros((len(metrics), len(weightings), len(groups), len(ks)))
    # Drawing them takes a third of the time of a vote: all problems share the draws, each after
    # a random renumbering of its samples, which makes its subsets independent of the others'.
    order = permutations(groups[0].size, draws, np.random.default_rng(seed))

    def vote(i: int) -> None:
        group = groups[i]
        shuffled = np.random.default_rng([seed, i]).permutation(group.size)
        weights = [weighting[i][shuffled] for weighting in weightings]
        values = np.stack([group.values(metric)[shuffled] for metric in metrics])
        classes = group.answer_classes[shuffled]
        accuracy[:, :, i] = vote_accuracy(classes, weights, values, ks, order)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _THREADS)) as pool:
        list(pool.map(vote, range(len(groups))))  # raises what a thread raised
    return accuracy
