"""Whose question is this? Rows of other data sets are matched with the problems of a split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem, normalize_question
from e2h_cli.data.split_files import max_level, read_part

Place = Literal["easy", "hard", "validation", "test", "unknown"]
PARTS: tuple[Place, ...] = ("easy", "hard", "validation", "test")

_WORDS = 5
_SIMILAR = 0.6
_PREFIXES = range(5, 50)


class Questions:
    """The questions of a split, by their text without spacing and case."""

    def __init__(self, split: Path) -> None:
        if not split.is_dir():
            raise InputError(
                "not a split, and rows must be told from test problems",
                where=split,
                hint="make one with: e2h split",
            )
        self.max_level = max_level(split)
        self.problems = {part: _or_none(split, part) for part in PARTS}
        self._place: dict[str, tuple[Place, Problem]] = {}
        # In doubt a question is a test question, then a validation question.
        for part in PARTS:
            for problem in self.problems[part]:
                self._place[normalize_question(problem.problem)] = (part, problem)
        self._near = Near([*self.problems["test"], *self.problems["validation"]])
        self._prefixes: set[str] | None = None

    def place(self, question: str) -> tuple[Place, Problem | None]:
        """The part that holds a question, and the problem; "unknown" where none does."""
        return self._place.get(normalize_question(question), ("unknown", None))

    def place_by_prefix(self, question: str) -> Place:
        """The official code's rule for Math-Shepherd: a beginning that only easy questions share.

        Without spaces, 5 to 49 characters; whatever is not easy by it is hard. It errs both ways:
        "Find the" may be all that two questions have in common.
        """
        place, _ = self.place(question)
        if place != "unknown":
            return place
        if self._prefixes is None:
            easy, hard = (
                {p for problem in self.problems[part] for p in _prefixes(problem.problem)}
                for part in ("easy", "hard")
            )
            self._prefixes = easy - hard
        return "easy" if any(p in self._prefixes for p in _prefixes(question)) else "hard"

    def near(self, question: str) -> tuple[Problem, float] | None:
        """The test or validation problem that a question nearly is, and how much they share."""
        return self._near.find(question)


class Near:
    """Near-duplicates: questions that share most of their runs of five words or numbers."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self._problems = list(problems)
        self._size: list[int] = []
        self._holders: dict[int, list[int]] = {}
        for number, problem in enumerate(self._problems):
            runs = _runs(problem.problem)
            self._size.append(len(runs))
            for run in runs:
                self._holders.setdefault(run, []).append(number)

    def find(self, question: str) -> tuple[Problem, float] | None:
        """The most alike problem whose Jaccard similarity is 0.6 at least."""
        runs = _runs(question)
        shared = Counter(n for run in runs for n in self._holders.get(run, ()))
        if not shared:
            return None
        alike = {n: c / (len(runs) + self._size[n] - c) for n, c in shared.items()}
        best = max(alike, key=lambda n: alike[n])
        return (self._problems[best], alike[best]) if alike[best] >= _SIMILAR else None


def _runs(text: str) -> set[int]:
    words = re.findall(r"[A-Za-z]+|\d+|[^\sA-Za-z\d]", text.lower())
    return {hash(tuple(words[i : i + _WORDS])) for i in range(max(1, len(words) - _WORDS + 1))}


def _prefixes(question: str) -> Iterator[str]:
    bare = "".join(question.split())
    yield bare
    yield from (bare[:length] for length in _PREFIXES if length < len(bare))


def _or_none(split: Path, part: str) -> list[Problem]:
    file = split / f"{part}.jsonl"
    return read_part(split, part) if file.is_file() and file.stat().st_size else []
