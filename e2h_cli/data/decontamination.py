"""Which part of a split a question belongs to, and which questions are nearly test problems."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem, normalize_question
from e2h_cli.data.split_files import max_level, read_split
from e2h_cli.data.splitting import PARTS, Part

_NGRAM = 5
_MIN_SIMILARITY = 0.6
_PREFIX_LENGTHS = range(5, 50)


class QuestionIndex:
    """The questions of a split folder; they are compared without spacing and case."""

    def __init__(self, split: Path) -> None:
        if not split.is_dir():
            message = "not a split, and rows must be told from test problems"
            raise InputError(message, where=split, hint="make one with: e2h split")
        self.max_level = max_level(split)
        files = {part: split / f"{part}.jsonl" for part in PARTS}
        self.problems: dict[Part, list[Problem]] = {
            part: read_split(split, part) if file.is_file() and file.stat().st_size else []
            for part, file in files.items()
        }
        # A question of several parts counts as test, else validation: later parts overwrite.
        self._by_question: dict[str, tuple[Part, Problem]] = {
            normalize_question(problem.problem): (part, problem)
            for part, problems in self.problems.items()
            for problem in problems
        }
        held_out = [*self.problems["test"], *self.problems["validation"]]
        self.near_duplicate = NearDuplicateIndex(held_out).find

    def find(self, question: str) -> tuple[Part | Literal["unknown"], Problem | None]:
        """The part that holds a question, and the problem; ("unknown", None) if none does."""
        return self._by_question.get(normalize_question(question), ("unknown", None))

    def part_by_prefix(self, question: str) -> Part:
        """The rule of the paper's released code for Math-Shepherd: by the first characters.

        A question is easy if one of its prefixes (5 to 49 characters, without spaces) begins an
        easy but no hard question, else hard. It errs both ways: two questions may share no more
        than "Find the".
        """
        part, _ = self.find(question)
        if part != "unknown":
            return part
        return "hard" if self._easy_prefixes.isdisjoint(_prefixes(question)) else "easy"

    @cached_property
    def _easy_prefixes(self) -> set[str]:
        easy, hard = (
            {prefix for p in self.problems[part] for prefix in _prefixes(p.problem)}
            for part in ("easy", "hard")
        )
        return easy - hard


class NearDuplicateIndex:
    """Finds problems by the Jaccard similarity of 5-grams of words, numbers and symbols."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._problems = problems
        ngrams = [_ngrams(problem.problem) for problem in problems]
        self._sizes = [len(grams) for grams in ngrams]
        self._postings: defaultdict[int, list[int]] = defaultdict(list)  # n-gram -> its problems
        for number, grams in enumerate(ngrams):
            for ngram in grams:
                self._postings[ngram].append(number)

    def find(self, question: str) -> tuple[Problem, float] | None:
        """The most similar problem (the first of several) and its similarity, if 0.6 or more."""
        ngrams = _ngrams(question)
        shared = Counter(n for ngram in ngrams for n in self._postings.get(ngram, ()))
        similarity = {n: c / (len(ngrams) + self._sizes[n] - c) for n, c in shared.items()}
        best = min(similarity, key=lambda n: (-similarity[n], n), default=None)
        if best is None or similarity[best] < _MIN_SIMILARITY:
            return None
        return self._problems[best], similarity[best]


def _ngrams(text: str) -> set[int]:
    """Hashes of the n-grams of a text; a shorter text is one n-gram."""
    words = re.findall(r"[A-Za-z]+|\d+|[^\sA-Za-z\d]", text.lower())
    return {hash(tuple(words[i : i + _NGRAM])) for i in range(max(1, len(words) - _NGRAM + 1))}


def _prefixes(question: str) -> Iterator[str]:
    text = "".join(question.split())
    yield text
    yield from (text[:length] for length in _PREFIX_LENGTHS if length < len(text))
