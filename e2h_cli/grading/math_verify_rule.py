r"""The rule ``math-verify``, the default.

An answer that parses (``answer_parser.py``) is graded by what it means: exact fractions, 25 digits
of irrational numbers, brackets, entries. Answers that do not parse, and equations and inequalities
that are not the same up to a factor, go to the math-verify library in a worker process.

Parsing first makes the verdict symmetric, reproducible, and right where the library is not:
``9999`` is not ``10{,}000``, ``\{1,2\}`` is not ``(1,2)``, and 7\frac{3}{4} is a mixed number.
Decisions that MATH's conventions leave open:

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
from typing import Any

from e2h_cli.grading.answer_parser import parse_answer
from e2h_cli.grading.answer_text import TooLargeError, clean, unreadable_reason, unwrap
from e2h_cli.grading.expression_value import Key
from e2h_cli.grading.parsed_answer import ParsedAnswer
from e2h_cli.grading.verdict import Keys, Question, Rule, Verdict, VerdictKind, refused

LONG_DECIMAL = 6  # decimal places from which on a decimal may stand for a number that it rounds
MAX_BUCKET = 12  # unparsed answers with the same numbers and letters to compare pair by pair
_PIECE = re.compile(r"\d+|[A-Za-z]")
_RELATIONS = frozenset({"equation", "inequality"})
_SETS = frozenset({"equation", "inequality", "interval", "union"})
_PLURALS = {"number in a base": "numbers in a base", "matrix": "matrices", "text": "texts"}


class MathVerifyRule(Rule):
    """Answers are right when they mean the same as the gold answer."""

    name = "math-verify"

    def __init__(self) -> None:
        self.version = f"1+math-verify-{version('math-verify')}+sympy-{version('sympy')}"

    def decide(self, gold: str, answer: str) -> Verdict | Question:
        """Grade one pair, or defer to the library."""
        return _decide(gold, answer)

    def keys(self, answers: Sequence[str]) -> list[Keys]:
        """The keys of each answer; a long decimal shares that of the one number that it rounds."""
        parsed_answers = [_parsed(answer) for answer in answers]
        short: dict[int, dict[Key, ParsedAnswer]] = defaultdict(dict)
        for parsed in parsed_answers:
            if parsed and parsed.value is not None and parsed.places < LONG_DECIMAL:
                short[_rounded(parsed.value)][parsed.key] = parsed
        keys: list[Keys] = []
        for answer, parsed in zip(answers, parsed_answers, strict=True):
            if parsed is None:
                text = answer if unreadable_reason(answer) else _unspaced(answer)
                keys.append((("string", text),))
            elif parsed.value is not None and parsed.places >= LONG_DECIMAL:
                rounded = _rounded(parsed.value)
                near = [key for key, other in short[rounded].items() if _near(parsed, other)]
                keys.append((*parsed.keys, ("decimal", rounded), *(near if len(near) == 1 else ())))
            else:
                keys.append(parsed.keys)
        return keys

    def undecided_pairs(self, answers: Sequence[str]) -> list[tuple[int, int]]:
        """Pairs of unparsed answers with the same numbers and letters."""
        buckets: dict[object, list[int]] = defaultdict(list)
        for index, answer in enumerate(answers):
            if unreadable_reason(answer) is None and not isinstance(
                parse_answer(answer), ParsedAnswer | TooLargeError
            ):
                pieces = Counter(_PIECE.findall(clean(answer)))
                buckets[frozenset(pieces.items())].append(index)
        small = (bucket for bucket in buckets.values() if len(bucket) <= MAX_BUCKET)
        return [pair for bucket in small for pair in combinations(bucket, 2)]


@lru_cache(maxsize=65_536)
def _decide(gold: str, answer: str) -> Verdict | Question:
    if verdict := refused(gold, answer):
        return verdict
    if clean(gold) == clean(answer):
        return Verdict("right", "equal after normalisation")
    expected, given = parse_answer(gold), parse_answer(answer)
    if _unspaced(gold) == _unspaced(answer) and not isinstance(expected, ParsedAnswer):
        return Verdict("right", "equal after normalisation")
    if isinstance(given, TooLargeError):
        return Verdict("unreadable", str(given))
    if isinstance(expected, TooLargeError):
        return Verdict("unreadable", f"gold answer: {expected}")
    if not isinstance(expected, ParsedAnswer) or not isinstance(given, ParsedAnswer):
        return Question("library", gold, answer)
    return _compare(expected, given) or Question("library", gold, answer)


def _compare(gold: ParsedAnswer, answer: ParsedAnswer) -> Verdict | None:
    """The verdict on two parsed answers; None if only the library can tell."""
    if gold.kind == answer.kind == "number":
        a, b = gold.variable, answer.variable
        if a != b and len(a) == len(b) == 1:  # x = 1 is not y = 1
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


def _unspaced(answer: str) -> str:
    return clean(answer).replace(" ", "")


def _plural(kind: str) -> str:
    return _PLURALS.get(kind, kind if kind.endswith("s") else kind + "s")


def _parsed(answer: str) -> ParsedAnswer | None:
    parsed = None if unreadable_reason(answer) else parse_answer(answer)
    return parsed if isinstance(parsed, ParsedAnswer) else None


def _rounded(value: Fraction) -> int:
    return round(value * 10**LONG_DECIMAL)


def _near(a: ParsedAnswer, b: ParsedAnswer) -> bool:
    """Whether one is a long decimal that equals the other to six places and to five digits."""
    if a.value is None or b.value is None or max(a.places, b.places) < LONG_DECIMAL:
        return False
    if _rounded(a.value) != _rounded(b.value):
        return False
    return abs(a.value - b.value) * 10**5 <= max(abs(a.value), abs(b.value))


def library_verdict(gold: str, answer: str) -> tuple[VerdictKind, str]:
    """The verdict of the math-verify library and its reason. Call it in a sandbox only.

    Only the library's LaTeX parser is used: that of plain expressions ends in Python's ``eval``.
    Its time limits need signals and a main thread; the worker pool has its own.
    """
    from math_verify import LatexExtractionConfig, parse, verify

    def parsed(text: str) -> list[Any]:
        text = unwrap(text)
        if "$" not in text.replace("\\$", ""):
            text = f"${text}$"
        return parse(text, extraction_config=[LatexExtractionConfig()], parsing_timeout=None)

    expected, given = parsed(gold), parsed(answer)
    if verify(expected, given, timeout_seconds=None):
        return "right", "math-verify: equal"
    if all(isinstance(item, str) for item in given):
        return "unreadable", "math-verify cannot read it"
    return "wrong", "math-verify: not equal"
