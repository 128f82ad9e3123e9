"""What every grading rule offers: verdicts on pairs, and classes of equal answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

VerdictKind = Literal["right", "wrong", "unreadable", "timed out"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judged pair. ``reason`` says in a few words what decided; ``ms`` is the time it took."""

    verdict: VerdictKind
    reason: str
    ms: float = 0.0

    @property
    def right(self) -> bool:
        """Whether the answer counts as correct. Unreadable and timed out count as wrong."""
        return self.verdict == "right"


class Grader(Protocol):
    """A grading rule. ``name`` and ``version`` stand in every result that it decided."""

    name: str
    version: str

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Judge pairs of (gold, answer), in order. Each distinct pair is judged once."""
        ...

    def classes(self, answers: Sequence[str]) -> list[int]:
        """Label equal answers with equal numbers, 0, 1, ... in order of first appearance."""
        ...
