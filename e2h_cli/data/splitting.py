"""The split by level into easy, hard, validation and test. Pure functions on lists of problems."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from e2h_cli.data.problem import Problem, normalize_question

Part = Literal["easy", "hard", "validation", "test"]
PARTS: tuple[Part, ...] = ("easy", "hard", "validation", "test")


@dataclass(frozen=True, slots=True)
class Split:
    """The four parts of a split, and the training problems that are in none of them."""

    parts: dict[Part, list[Problem]]
    leaks: list[Problem]  # training problems with the text of a test problem
    duplicates: list[Problem]  # training problems with the text of an earlier one
    max_level: int  # problems up to this level are easy


def split(
    train: Sequence[Problem],
    test: Sequence[Problem],
    *,
    max_level: int,
    validation: int | None,
    seed: int,
) -> Split:
    """Split training problems by level, after drawing a validation set from them.

    The validation set has ``validation`` problems (None: as many as the test set), in the
    proportions of the test set by subject and level (paper p.5). It is taken out first, so that no
    training data holds it; the paper's released data builders leave it in.
    """
    test_questions = {normalize_question(p.problem) for p in test}
    first: dict[str, Problem] = {}
    leaks, duplicates = [], []
    for problem in train:
        question = normalize_question(problem.problem)
        if question in test_questions:
            leaks.append(problem)
        elif question in first:
            duplicates.append(problem)
        else:
            first[question] = problem
    size = len(test) if validation is None else validation
    held_out = stratified_sample(list(first.values()), test, size, seed)
    held_out_ids = {p.id for p in held_out}
    training = [p for p in first.values() if p.id not in held_out_ids]
    parts: dict[Part, list[Problem]] = {
        "easy": [p for p in training if p.level <= max_level],
        "hard": [p for p in training if p.level > max_level],
        "validation": held_out,
        "test": list(test),
    }
    return Split(parts, leaks, duplicates, max_level)


def stratified_sample(
    problems: Sequence[Problem], like: Sequence[Problem], size: int, seed: int
) -> list[Problem]:
    """Draw problems in the proportions of ``like`` by subject and level; their order is kept.

    A stratum with too few problems gives all that it has.
    """
    by_stratum = defaultdict(list)
    for index, problem in enumerate(problems):
        by_stratum[problem.subject, problem.level].append(index)
    rng = random.Random(seed)
    drawn: list[int] = []
    sizes = stratum_sizes(Counter((p.subject, p.level) for p in like), size)
    for stratum, wanted in sorted(sizes.items()):
        members = by_stratum[stratum]
        drawn += rng.sample(members, min(wanted, len(members)))
    return [problems[i] for i in sorted(drawn)]


def stratum_sizes(strata: Counter[tuple[str, int]], size: int) -> dict[tuple[str, int], int]:
    """Divide ``size`` in the proportions of ``strata``: whole numbers by largest remainders."""
    total = sum(strata.values())
    if not total:
        return {}
    exact = {stratum: size * count / total for stratum, count in strata.items()}
    sizes = {stratum: int(value) for stratum, value in exact.items()}
    missing = size - sum(sizes.values())
    for stratum in sorted(exact, key=lambda s: (sizes[s] - exact[s], s))[:missing]:
        sizes[stratum] += 1
    return sizes
