"""The ``exact`` rule: equal strings, for worlds whose answers have one spelling."""

from __future__ import annotations

from collections.abc import Sequence

from e2h_cli.grading.keys import Key
from e2h_cli.grading.normalise import MAX_LENGTH, braced
from e2h_cli.grading.verdict import Verdict


def exact_form(text: str) -> str:
    r"""The text without white space, and without ``$..$`` or ``\boxed{..}`` around it."""
    text = "".join(text.split())
    while True:
        if len(text) > 2 and text[0] == text[-1] == "$":
            text = text.strip("$")
        elif text.startswith("\\boxed{") and braced(text, 6) == len(text) - 1:
            text = text[7:-1]
        else:
            return text


class ExactRule:
    """Answers are right when they are the gold answer, white space and wrappers aside."""

    name = "exact"
    version = "1"

    def decide(self, gold: str, answer: str) -> Verdict:
        """Judge one pair by comparing two strings."""
        if len(answer) > MAX_LENGTH or len(gold) > MAX_LENGTH:
            return Verdict("unreadable", f"longer than {MAX_LENGTH:,} characters")
        form = exact_form(answer)
        if not form:
            return Verdict("unreadable", "empty")
        if form == exact_form(gold):
            return Verdict("right", "equal after normalisation")
        return Verdict("wrong", "different strings")

    def keys(self, answers: Sequence[str]) -> list[tuple[Key, ...]]:
        """One key per answer: its string."""
        return [(("string", exact_form(answer[: MAX_LENGTH + 1])),) for answer in answers]

    def doubtful(self, answers: Sequence[str]) -> list[tuple[int, int]]:
        """Nothing is left open."""
        return []
