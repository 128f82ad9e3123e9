r"""The ``math-verify`` rule, the default.

An answer that can be read (``reader.py``) is judged by what it means: exact fractions, 25 digits
of irrational numbers, brackets, entries. What cannot be read, and equations and inequalities
that are not the same up to a factor, go to the math-verify library in a worker process.

Reading first makes the verdict symmetric, the same in any process, and right where the library
is not: ``9999`` is not ``10{,}000``, ``\{1,2\}`` is not ``(1,2)``, and 7\frac{3}{4} is a mixed
number. Decisions that MATH's conventions leave open:

* units, degree signs and currency are dropped; so is a percent sign, but ``10\%`` also equals 0.1;
* a list without brackets is a set (MATH's "find all"), and also the tuple of its entries;
* (1,2) is a pair and an open interval; [1,2] is another answer;
* ``x = 5`` equals 5, but not ``y = 5``; when answers are grouped, the left-hand side is dropped;
* a number with a base needs its base;
* a decimal with six places or more equals what it rounds to six places (as in math-verify).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from importlib.metadata import version
from itertools import combinations

from e2h_cli.grading.answer_tokens import TooLargeError
from e2h_cli.grading.keys import Key
from e2h_cli.grading.normalise import clean, refusal
from e2h_cli.grading.reader import read
from e2h_cli.grading.reading import Reading
from e2h_cli.grading.rule import Question, refused
from e2h_cli.grading.verdict import Verdict

LONG_DECIMAL = 6
"""Decimal places from which on a decimal may stand for a number that it rounds."""

MAX_BUCKET = 12
"""Most unread answers of the same symbols that are compared pair by pair."""

_PIECE = re.compile(r"\d+|[A-Za-z]")
_RELATIONS = frozenset({"equation", "inequality"})
_SETS = frozenset({"equation", "inequality", "interval", "union"})


class MathVerifyRule:
    """Answers are right when they mean the same as the gold answer."""

    name = "math-verify"

    def __init__(self) -> None:
        self.version = f"1+math-verify-{version('math-verify')}+sympy-{version('sympy')}"

    def decide(self, gold: str, answer: str) -> Verdict | Question:
        """Judge one pair, or ask the library about it."""
        return _decide(gold, answer)

    def keys(self, answers: Sequence[str]) -> list[tuple[Key, ...]]:
        """The keys of each answer, with long decimals joined to the number that they round."""
        readings = [_reading(answer) for answer in answers]
        anchors: dict[int, dict[Key, Reading]] = defaultdict(dict)
        for reading in readings:
            if reading and reading.value is not None and reading.places < LONG_DECIMAL:
                anchors[_rounded(reading.value)][reading.key] = reading
        keys: list[tuple[Key, ...]] = []
        for answer, reading in zip(answers, readings, strict=True):
            if reading is None:
                keys.append((("string", _unspaced(answer) if refusal(answer) is None else answer),))
            elif reading.value is not None and reading.places >= LONG_DECIMAL:
                near: list[Key] = [("decimal", _rounded(reading.value))]
                close = [
                    key
                    for key, anchor in anchors[_rounded(reading.value)].items()
                    if _near(reading, anchor)
                ]
                keys.append((*reading.keys, *near, *(close if len(close) == 1 else ())))
            else:
                keys.append(reading.keys)
        return keys

    def doubtful(self, answers: Sequence[str]) -> list[tuple[int, int]]:
        """Pairs of unread answers that are made of the same numbers and letters."""
        buckets: dict[object, list[int]] = defaultdict(list)
        for index, answer in enumerate(answers):
            if refusal(answer) is None and not isinstance(read(answer), Reading | TooLargeError):
                pieces = Counter(_PIECE.findall(clean(answer)))
                buckets[frozenset(pieces.items())].append(index)
        return [
            pair
            for bucket in buckets.values()
            if len(bucket) <= MAX_BUCKET
            for pair in combinations(bucket, 2)
        ]


@lru_cache(maxsize=65_536)
def _decide(gold: str, answer: str) -> Verdict | Question:
    verdict = refused(gold, answer)
    if verdict is not None:
        return verdict
    if clean(gold) == clean(answer):
        return Verdict("right", "equal after normalisation")
    expected, given = read(gold), read(answer)
    if _unspaced(gold) == _unspaced(answer) and not isinstance(expected, Reading):
        return Verdict("right", "equal after normalisation")
    if isinstance(given, TooLargeError):
        return Verdict("unreadable", str(given))
    if isinstance(expected, TooLargeError):
        return Verdict("unreadable", f"gold answer: {expected}")
    if not isinstance(expected, Reading) or not isinstance(given, Reading):
        return Question("library", gold, answer)
    return _compare(expected, given) or Question("library", gold, answer)


def _compare(gold: Reading, answer: Reading) -> Verdict | None:
    if gold.kind == answer.kind == "number" and _other_variable(gold.variable, answer.variable):
        return Verdict("wrong", "different variables")
    if not set(gold.keys).isdisjoint(answer.keys):
        return Verdict("right", f"equal {_plural(gold.kind)}")
    loosely = set(gold.keys) & set(answer.loose) or set(gold.loose) & set(answer.keys)
    if loosely or (gold.kind != answer.kind and set(gold.loose) & set(answer.loose)):
        return Verdict("right", f"{answer.kind} equals {gold.kind}, written otherwise")
    if _near(gold, answer):
        return Verdict("right", f"equal to {LONG_DECIMAL} decimal places")
    if {gold.kind, answer.kind} & _RELATIONS and all(
        side.kind in _SETS or side.variable for side in (gold, answer)
    ):
        return None
    if gold.kind != answer.kind:
        return Verdict("wrong", f"{answer.kind}, not {gold.kind}")
    if gold.key[0] == answer.key[0] == "sequence":
        if gold.key[3] == answer.key[3]:
            return Verdict("wrong", "different brackets")
        if len(gold.key[3]) != len(answer.key[3]):
            return Verdict("wrong", "different number of entries")
    return Verdict("wrong", f"different {_plural(gold.kind)}")


def _other_variable(a: str, b: str) -> bool:
    """Whether two values are of different single letters: ``x = 1`` is not ``y = 1``."""
    return a != b and len(a) == len(b) == 1


def _unspaced(answer: str) -> str:
    return clean(answer).replace(" ", "")


def _plural(kind: str) -> str:
    return {"number in a base": "numbers in a base", "matrix": "matrices", "text": "texts"}.get(
        kind, kind if kind.endswith("s") else kind + "s"
    )


def _reading(answer: str) -> Reading | None:
    if refusal(answer) is not None:
        return None
    reading = read(answer)
    return reading if isinstance(reading, Reading) else None


def _rounded(value: Fraction) -> int:
    return round(value * 10**LONG_DECIMAL)


def _near(a: Reading, b: Reading) -> bool:
    """Whether one is a long decimal that equals the other to six places and to five digits."""
    if a.value is None or b.value is None or max(a.places, b.places) < LONG_DECIMAL:
        return False
    if _rounded(a.value) != _rounded(b.value):
        return False
    return abs(a.value - b.value) * 10**5 <= max(abs(a.value), abs(b.value))
