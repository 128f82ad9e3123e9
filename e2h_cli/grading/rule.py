"""What a rule is to the machinery around it: a decision in this process, or a question for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from e2h_cli.grading.keys import Key
from e2h_cli.grading.normalise import refusal
from e2h_cli.grading.verdict import Verdict

Task = Literal["library", "sympy"]


@dataclass(frozen=True, slots=True)
class Question:
    """A pair that only a worker process may judge, because a library has to be trusted with it."""

    task: Task
    gold: str
    answer: str


class Rule(Protocol):
    """A grading rule without its processes and caches."""

    name: str
    version: str

    def decide(self, gold: str, answer: str) -> Verdict | Question:
        """Judge one pair at once, or name the question that has to be asked."""
        ...

    def keys(self, answers: Sequence[str]) -> list[tuple[Key, ...]]:
        """The keys of distinct answers; answers that share a key are equal."""
        ...

    def doubtful(self, answers: Sequence[str]) -> list[tuple[int, int]]:
        """Pairs of distinct answers (by position) whose equality keys cannot settle."""
        ...


def refused(gold: str, answer: str) -> Verdict | None:
    """The verdict on a pair of which one side is not read at all: empty, too long, too deep."""
    reason = refusal(answer)
    if reason:
        return Verdict("unreadable", reason)
    reason = refusal(gold)
    return Verdict("unreadable", f"gold answer: {reason}") if reason else None
