r"""The rules ``e2h``, the default, and ``math-verify``, the library of that name alone.

For ``e2h`` an answer that parses (``answer_parser.py``) is graded by what it means: exact
fractions, 460 digits of irrational numbers, brackets, entries. Answers that do not parse, and
equations and inequalities that are not the same up to a factor, go to the math-verify library in a
worker process.

Parsing first makes the verdict symmetric, reproducible, and right where the library is not:
``9999`` is not ``10{,}000``, ``\{1,2\}`` is not ``(1,2)``, and 7\frac{3}{4} is a mixed number.
Decisions that MATH's conventions leave open:

* the answer is taken out of a whole solution (``data/final_answer.py``);
* units, degree signs and currency are dropped; so is a percent sign, but ``10\%`` also equals 0.1;
* a list without brackets is a set (MATH's "find all"), and also the tuple of its entries;
* (1,2) is a pair and an open interval; [1,2] is another answer;
* ``x = 5`` equals 5, but not ``y = 5``; when answers are grouped, the left-hand side is dropped;
* a number with a base needs its base;
* a decimal with six places or more equals what it rounds to six places (as in math-verify).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from e2h_cli.grading.answer_parser import parse_answer
from e2h_cli.grading.answer_text import (
    MAX_SOLUTION,
    TooLargeError,
    clean,
    unreadable_reason,
    unwrap,
)
from e2h_cli.grading.expression_value import Key, key_value
from e2h_cli.grading.parsed_answer import ParsedAnswer
from e2h_cli.grading.verdict import Keys, Question, Rule, Verdict, VerdictKind, refused

LONG_DECIMAL = 6  # decimal places from which on a decimal may stand for a number that it rounds
_RELATIONS = frozenset({"equation", "inequality"})
_SETS = frozenset({"equation", "inequality", "interval", "union"})
_PLURALS = {"number in a base": "numbers in a base", "matrix": "matrices", "text": "texts"}
_DOLLAR = re.compile(r"\\?\$")
_WHOLE_TEXT = re.compile(r"(?s).*(?:\n|\\\(|\\\[|[^$\\]\$+[^$])")


class E2hRule(Rule):
    """Answers are right when they mean the same as the gold answer."""

    name = "e2h"

    def __init__(self) -> None:
        self.version = f"2+math-verify-{version('math-verify')}+sympy-{version('sympy')}"

    def decide(self, gold: str, answer: str) -> Verdict | Question:
        """Grade one pair, or defer to the library."""
        return _decide(unwrap(gold), unwrap(answer))

    def keys(self, answers: Sequence[str]) -> list[Keys]:
        """The keys of each answer; a long decimal shares that of the one number that it rounds."""
        texts = [unwrap(answer) for answer in answers]
        parsed_answers = [_parsed(text) for text in texts]
        short: dict[int | None, set[Key]] = defaultdict(set)
        for parsed in parsed_answers:
            if parsed and not _is_long(parsed.key):
                short[_rounded(parsed.key)].add(parsed.key)
        keys: list[Keys] = []
        for text, parsed in zip(texts, parsed_answers, strict=True):
            if parsed is None:
                keys.append((("string", text if unreadable_reason(text) else _unspaced(text)),))
            elif _is_long(parsed.key):
                rounded = _rounded(parsed.key)
                near = [key for key in short[rounded] if _near(parsed.key, key)]
                keys.append((*parsed.keys, ("decimal", rounded), *(near if len(near) == 1 else ())))
            else:
                keys.append(parsed.keys)
        return keys


class MathVerifyRule(E2hRule):
    """The library alone gives the verdicts. It groups no answers: they vote as under ``e2h``."""

    name = "math-verify"

    def decide(self, gold: str, answer: str) -> Verdict | Question:
        """Defer to the library."""
        return refused(gold, answer, MAX_SOLUTION) or Question(
            "library", _as_formula(gold), _as_formula(answer)
        )


def _as_formula(text: str) -> str:
    """A bare answer in dollar signs, as the library asks for; a whole solution as it is."""
    return text if _WHOLE_TEXT.match(text) else f"${text}$"


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
    verdict = None
    if isinstance(expected, ParsedAnswer) and isinstance(given, ParsedAnswer):
        verdict = _compare(expected, given)
    # Without dollar signs the library takes no formula out of prose.
    formulas = (f"${_DOLLAR.sub(' ', text)}$" for text in (gold, answer))
    return verdict or Question("latex", *formulas)


def _compare(gold: ParsedAnswer, answer: ParsedAnswer) -> Verdict | None:
    """The verdict on two parsed answers; None if only the library can tell."""
    if gold.kind == answer.kind == "number":
        a, b = gold.variable, answer.variable
        if a != b and len(a) == len(b) == 1:  # x = 1 is not y = 1
            return Verdict("wrong", "different variables")
    if not set(gold.keys).isdisjoint(answer.keys):
        return Verdict("right", f"equal {_plural(gold.kind)}")
    # Of the gold answer only the first loose key counts: the others guess what a model meant.
    first = set(gold.loose[:1])
    loosely = set(gold.keys) & set(answer.loose) or first & set(answer.keys)
    if loosely or (gold.kind != answer.kind and first & set(answer.loose)):
        return Verdict("right", f"{answer.kind} equals {gold.kind}, written otherwise")
    if _near(gold.key, answer.key):
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


def _rounded(key: Key) -> int | None:
    value = key_value(key)
    return None if value is None else round(value * 10**LONG_DECIMAL)


def _is_long(key: Key) -> bool:
    """Whether a key is that of a finite decimal with six places or more."""
    return (
        key[0] == "q"
        and 10 ** (LONG_DECIMAL - 1) % key[2] != 0
        and pow(10, key[2].bit_length(), key[2]) == 0
    )


def _near(a: Key, b: Key) -> bool:
    """Whether one is a long decimal that equals the other to six places and to five digits.

    So are the entries of a tuple and the bounds of an interval.
    """
    if a[0] == b[0] == "sequence" and a[:3] == b[:3] and len(a[3]) == len(b[3]):
        return all(x == y or _near(x, y) for x, y in zip(a[3], b[3], strict=True))
    if not (_is_long(a) or _is_long(b)) or _rounded(a) != _rounded(b):
        return False
    first, second = key_value(a), key_value(b)
    if first is None or second is None:
        return False
    return abs(first - second) * 10**5 <= max(abs(first), abs(second))


@lru_cache(maxsize=1_024)
def _library_parsed(text: str, latex_only: bool) -> list[Any]:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    targets = [LatexExtractionConfig(), *([] if latex_only else [ExprExtractionConfig()])]
    # Its time limits need signals and a main thread; the worker pool has its own.
    found: list[Any] = parse(text, targets, parsing_timeout=None)
    return found


def library_verdict(gold: str, answer: str, latex_only: bool) -> tuple[VerdictKind, str]:
    """The verdict of the math-verify library and its reason. Call it in a sandbox only.

    ``latex_only``: without its reading of plain numbers, which finds 204 in ``204_``.
    """
    from math_verify import verify

    expected, given = (_library_parsed(text, latex_only) for text in (gold, answer))
    if verify(expected, given, timeout_seconds=None):
        return "right", "math-verify: equal"
    if all(isinstance(item, str) for item in given):
        return "unreadable", "math-verify cannot read it"
    return "wrong", "math-verify: not equal"
