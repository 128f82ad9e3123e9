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
    """The four parts of a split, and the training problems that are in none of them.

    Attributes:
        parts: the problems of each part; training problems are "easy" and "hard".
        leaks: training problems with the text of a test problem.
        duplicates: training problems with the text of an earlier training problem.
        max_level: problems up to this level are easy.
    """

    parts: dict[Part, list[Problem]]
    leaks: list[Problem]
    duplicates: list[Problem]
    max_level: int


def split(
    train: Sequence[Problem],
    test: Sequence[Problem],
    *,
    max_level: int,
    validation: int | None,
    seed: int,
) -> Split:
    """Split training problems by level, after drawing a validation set from them.

    The validation set has the proportions of the test set by subject and level (paper p.5). It is
    taken out first, so that no training data holds it; the paper's released data builders leave it
    in.

    Args:
        train: problems that may be trained on.
        test: problems for evaluation only.
        max_level: problems up to this level are easy.
        validation: size of the validation set; None for that of the test set.
        seed: of the draw.
    """
    test_questions = {normalize_question(p.problem) for p in test}
    kept, leaks, duplicates = [], [], []
    seen: set[str] = set()
    for problem in train:
        question = normalize_question(problem.problem)
        if question in test_questions:
            leaks.append(problem)
        elif question in seen:
            duplicates.append(problem)
        else:
            seen.add(question)
            kept.append(problem)
    held_out = stratified_sample(kept, test, len(test) if validation is None else validation, seed)
    held_out_ids = {p.id for p in held_out}
    training = [p for p in kept if p.id not in held_out_ids]
    return Split(
        parts={
            "easy": [p for p in training if p.level <= max_level],
            "hard": [p for p in training if p.level > max_level],
            "validation": held_out,
            "test": list(test),
        },
        leaks=leaks,
        duplicates=duplicates,
        max_level=max_level,
    )


def stratified_sample(
    problems: Sequence[Problem], like: Sequence[Problem], size: int, seed: int
) -> list[Problem]:
    """Draw problems in the proportions of ``like`` by subject and level; their order is kept.

    A stratum with too few problems gives all that it has.
    """
    sizes = stratum_sizes(Counter((p.subject, p.level) for p in like), size)
    by_stratum = defaultdict(list)
    for index, problem in enumerate(problems):
        by_stratum[problem.subject, problem.level].append(index)
    rng = random.Random(seed)
    drawn: list[int] = []
    for stratum in sorted(sizes):
        members = by_stratum.get(stratum, [])
        drawn += rng.sample(members, min(sizes[stratum], len(members)))
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
