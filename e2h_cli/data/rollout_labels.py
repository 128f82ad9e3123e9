"""Step labels without an oracle: a step is as right as the solutions that go on from it.

This is the method of Math-Shepherd (Wang et al. 2024). A completer finishes the first k steps of a
solution several times. By hard estimation step k is right if any of these completions reaches the
gold answer; by soft estimation its label is the share of them that do.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from e2h_cli.data.problem import Problem
from e2h_cli.data.rm_labels import Grade, ParsedSample, StepChecker


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first steps of a solution. Solutions that begin alike share it."""

    problem: Problem
    steps: tuple[str, ...]

    @property
    def key(self) -> str:
        """Names the prefix on disk and in the seeds of its completions."""
        digest = hashlib.sha256("\x00".join(self.steps).encode()).hexdigest()
        return f"{self.problem.id}/{digest[:16]}"


# prefixes -> key -> how often its completions end in each answer; None: in no answer, or cut
Complete = Callable[[Sequence[Prefix]], Mapping[str, Mapping[str | None, int]]]


def choose_solutions(
    samples: Sequence[ParsedSample], max_solutions: int, seed: int
) -> list[ParsedSample]:
    """At most so many samples of each problem, drawn by seed and problem id; the order is kept."""
    by_problem: dict[str, list[int]] = {}
    for number, sample in enumerate(samples):
        by_problem.setdefault(sample.problem.id, []).append(number)
    kept: list[int] = []
    for key, numbers in by_problem.items():
        rng = random.Random(f"solutions {seed} {key}")
        kept += numbers if len(numbers) <= max_solutions else rng.sample(numbers, max_solutions)
    return [samples[number] for number in sorted(kept)]


def prefixes_of(sample: ParsedSample) -> list[Prefix]:
    """The prefix that ends with each step."""
    ends = range(1, len(sample.steps) + 1)
    return [Prefix(sample.problem, sample.steps[:end]) for end in ends]


@dataclass(frozen=True, slots=True)
class Rollouts:
    """Completions of prefixes, by key: how many there are, and how many of them are right."""

    completions: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)

    def add(self, prefixes: Iterable[Prefix], complete: Complete, grade: Grade) -> None:
        """Complete prefixes, each distinct one once, and grade the completions."""
        by_key = {prefix.key: prefix for prefix in prefixes}
        found = [
            (key, answer, count)
            for key, counts in complete(list(by_key.values())).items()
            for answer, count in counts.items()
        ]
        pairs = [(by_key[key].problem.answer or "", a) for key, a, _ in found if a is not None]
        verdicts = iter(grade(pairs))
        for key, answer, count in found:
            self.completions[key] += count
            self.right[key] += count if answer is not None and next(verdicts) else 0

    def shares(self, sample: ParsedSample) -> list[float | None]:
        """The share of right completions after each step; None where there are none."""
        keys = (prefix.key for prefix in prefixes_of(sample))
        return [
            self.right[key] / self.completions[key] if key in self.completions else None
            for key in keys
        ]


def roll_out(
    samples: Iterable[ParsedSample], complete: Complete, grade: Grade, *, until_first_mistake: bool
) -> Rollouts:
    """Complete every distinct prefix of the samples, and grade the completions.

    With ``until_first_mistake`` step by step, one call of ``complete`` per step: prefixes that go
    on from one without a right completion are left out.
    """
    rollouts = Rollouts()
    left = [prefixes_of(sample) for sample in samples]
    if not until_first_mistake:
        rollouts.add((prefix for prefixes in left for prefix in prefixes), complete, grade)
    while until_first_mistake and left:
        rollouts.add((prefixes[0] for prefixes in left), complete, grade)
        left = [rest for first, *rest in left if rest and rollouts.right[first.key]]
    return rollouts


def hard_labels(shares: Iterable[float | None]) -> list[bool | None]:
    """Hard estimation: right if any completion is."""
    return [None if share is None else share > 0 for share in shares]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How labels of steps agree with those of an oracle; shares in [0, 1], None of no steps.

    ``right_found`` and ``wrong_found``: the share of the oracle's right and wrong steps that have
    the same label.
    """

    steps: int
    accuracy: float | None
    right_found: float | None
    wrong_found: float | None


def agreement(
    labels: Iterable[Sequence[float | None]], samples: Iterable[ParsedSample], checker: StepChecker
) -> Agreement:
    """Compare labels, one list per sample, with the oracle; a label from 0.5 on is right.

    Every labelled step counts, also after the first mistake: there the oracle calls a step right if
    it equals the right solution's.
    """
    counts: Counter[tuple[bool, bool]] = Counter()  # (label, oracle)
    for row, sample in zip(labels, samples, strict=True):
        oracle = checker(sample.problem.problem, [*sample.steps])
        for label, right in zip(row, oracle, strict=True):
            if label is not None:
                counts[label >= 0.5, right] += 1

    def share(part: int, of: int) -> float | None:
        return round(part / of, 4) if of else None

    both, neither = counts[True, True], counts[False, False]
    return Agreement(
        steps=counts.total(),
        accuracy=share(both + neither, counts.total()),
        right_found=share(both, both + counts[False, True]),
        wrong_found=share(neither, neither + counts[True, False]),
    )
