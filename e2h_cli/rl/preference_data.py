"""What ReST-EM and DPO learn from: right solutions, and pairs of better and worse ones.

Pure functions on the solutions of one problem.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finished solution.

    ``score``: what the reward model says, in [0, 1]; 0 where none is asked. ``right``: None where
    no gold answer may be looked at.
    """

    text: str
    right: bool | None
    score: float = 0.0

    @property
    def value(self) -> float:
        """Score plus 1 for a right answer (paper p.19)."""
        return self.score + bool(self.right)


def right_solutions(candidates: Sequence[Candidate], keep: int, rng: random.Random) -> list[str]:
    """At most ``keep`` distinct right solutions, at random (ReST-EM, paper p.19: 10)."""
    texts = list(dict.fromkeys(c.text for c in candidates if c.right))
    return texts if len(texts) <= keep else rng.sample(texts, keep)


def preference_pairs(
    candidates: Sequence[Candidate], gap: float, unknown_gap: float, most: int
) -> list[tuple[Candidate, Candidate]]:
    """At most ``most`` pairs of (better, worse), the widest apart first, no solution twice.

    The values of a pair differ by more than ``gap`` (paper p.19: 1.0). Where no answer may be
    looked at values end at 1, so that this gap cannot be met; there ``unknown_gap`` stands for it,
    which the paper leaves open.
    """
    unique = list({c.text: c for c in candidates}.values())
    needed = unknown_gap if any(c.right is None for c in unique) else gap
    ranked = sorted(unique, key=lambda c: -c.value)
    pairs = list(zip(ranked[: len(ranked) // 2], reversed(ranked), strict=False))
    return [(a, b) for a, b in pairs if a.value - b.value > needed][:most]
