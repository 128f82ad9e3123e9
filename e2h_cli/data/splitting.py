"""The split by level: easy, hard, validation, test. Pure functions on lists of problems."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from e2h_cli.data.problem import Problem, normalize_question


@dataclass(frozen=True, slots=True)
class Split:
    """The four parts, and what was set aside.

    ``leaks``: training problems whose text is that of a test problem; ``repeats``: training
    problems whose text is that of another training problem. Both are in no part.
    """

    easy: list[Problem]
    hard: list[Problem]
    validation: list[Problem]
    test: list[Problem]
    leaks: list[Problem]
    repeats: list[Problem]


def split(
    train: Sequence[Problem],
    test: Sequence[Problem],
    *,
    max_level: int,
    validation: int | None,
    seed: int,
) -> Split:
    """Split training problems by level, with a validation set drawn out of them.

    Validation has the shape of the test set by subject and level (paper p.5). It
    is taken out before anything else, so that no training data can hold it; the official data
    builders leave it inside.

    Args:
        train: problems that may be trained on.
        test: problems that are only evaluated on.
        max_level: levels up to this are easy.
        validation: how many, or None for as many as the test set.
        seed: of the draw.
    """
    taken = {normalize_question(p.problem) for p in test}
    kept, leaks, repeats = [], [], []
    seen: set[str] = set()
    for problem in train:
        key = normalize_question(problem.problem)
        if key in taken:
            leaks.append(problem)
        elif key in seen:
            repeats.append(problem)
        else:
            seen.add(key)
            kept.append(problem)
    chosen = stratified(kept, test, len(test) if validation is None else validation, seed)
    chosen_ids = {p.id for p in chosen}
    rest = [p for p in kept if p.id not in chosen_ids]
    return Split(
        easy=[p for p in rest if p.level <= max_level],
        hard=[p for p in rest if p.level > max_level],
        validation=chosen,
        test=list(test),
        leaks=leaks,
        repeats=repeats,
    )


def stratified(
    pool: Sequence[Problem], like: Sequence[Problem], size: int, seed: int
) -> list[Problem]:
    """Draw problems with the shares of ``like`` by subject and level, in the order of the pool.

    A cell that the pool cannot fill gives what it has.
    """
    room = cell_sizes(Counter((p.subject, p.level) for p in like), size)
    by_cell = defaultdict(list)
    for index, problem in enumerate(pool):
        by_cell[problem.subject, problem.level].append(index)
    rng = random.Random(seed)
    picked = []
    for cell in sorted(room):
        members = by_cell.get(cell, [])
        picked += rng.sample(members, min(room[cell], len(members)))
    return [pool[i] for i in sorted(picked)]


def cell_sizes(cells: Counter[tuple[str, int]], size: int) -> dict[tuple[str, int], int]:
    """Whole numbers that sum to ``size`` in the proportions of ``cells`` (largest remainders)."""
    total = sum(cells.values())
    if not total:
        return {}
    exact = {cell: size * count / total for cell, count in cells.items()}
    floor = {cell: int(value) for cell, value in exact.items()}
    missing = size - sum(floor.values())
    by_remainder = sorted(exact, key=lambda c: (floor[c] - exact[c], c))
    for cell in by_remainder[:missing]:
        floor[cell] += 1
    return floor
