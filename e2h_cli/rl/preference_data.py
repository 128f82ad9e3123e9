"""Training data of ReST-EM and DPO: right solutions, and preference pairs.

Pure functions on the solutions of one problem.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScoredSolution:
    """A finished solution.

    ``right``: None where no gold answer may be read; ``score``: P(correct) of the reward model in
    [0, 1]; 0 where there is none.
    """

    text: str
    right: bool | None
    score: float = 0.0

    @property
    def value(self) -> float:
        """Score plus 1 for a right answer (paper p.19)."""
        return self.score + bool(self.right)


def right_solutions(
    solutions: Sequence[ScoredSolution], max_count: int, rng: random.Random
) -> list[str]:
    """At most ``max_count`` distinct right solutions, at random (ReST-EM, paper p.19: 10)."""
    texts = list(dict.fromkeys(s.text for s in solutions if s.right))
    return texts if len(texts) <= max_count else rng.sample(texts, max_count)


def preference_pairs(
    solutions: Sequence[ScoredSolution],
    min_gap: float,
    min_gap_without_answer: float,
    max_pairs: int,
) -> list[tuple[ScoredSolution, ScoredSolution]]:
    """Pairs of (chosen, rejected), the largest gap first; every solution is in one pair at most.

    Args:
        solutions: of one problem.
        min_gap: the values of a pair differ by more than this (paper p.19: 1.0).
        min_gap_without_answer: the same for problems whose gold answer may not be read. Their
            values end at 1, so that ``min_gap`` cannot be met; the paper leaves this open.
        max_pairs: pairs of one problem at most.
    """
    unique = list({s.text: s for s in solutions}.values())
    without_answer = any(s.right is None for s in unique)
    gap = min_gap_without_answer if without_answer else min_gap
    ranked = sorted(unique, key=lambda s: -s.value)
    pairs = list(zip(ranked[: len(ranked) // 2], reversed(ranked), strict=False))
    return [(a, b) for a, b in pairs if a.value - b.value > gap][:max_pairs]
