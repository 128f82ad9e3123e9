"""The rule ``prm800k``: the paper's grader (p.5), which goes on where its released code stops.

If the normalised strings differ, answers are compared entry by entry: of a whole number both must
be whole, fractions must be the same string (so they must be reduced), and for the rest sympy has
to simplify the difference to zero. The PRM800K grader hands sympy text, which sympy evaluates; here
sympy gets an expression built from the tree of our own parser.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from e2h_cli.grading.answer_text import ParseError, tokenize
from e2h_cli.grading.expression_parser import Expression, Node, parse_expression
from e2h_cli.grading.expression_value import Evaluator, inexact, number_key
from e2h_cli.grading.string_rules import (
    compare_strings,
    is_integer,
    math_form,
    prm800k_form,
    strip_commas,
)
from e2h_cli.grading.verdict import Keys, Question, Rule, Verdict, refused

MAX_LETTERS = 2  # sympy is not asked about more distinct letters
_BRACKETS = frozenset("()[]")
_FRACTION = re.compile(r"-?[0-9]+.?/0*[1-9][0-9]*.?")
_TOO_COMPLEX = re.compile(r"\^\{|\^\(|\^[0-9]+\^|\^[0-9][0-9]+")
# Where a name starts or ends inside of a run of letters that has lost its spaces.
_NAMES = re.compile(r"(?<=[a-z])(?=(?:sqrt|pi)(?![a-z]))|(?<=pi)(?=[a-z])")


class UnconfirmedError(Exception):
    """The values agree to nine digits; sympy has to confirm that they are equal."""


class Prm800kRule(Rule):
    """The PRM800K grader with its guarded sympy step."""

    name = "prm800k"

    def __init__(self) -> None:
        self.version = f"2+sympy-{version('sympy')}+pylatexenc-{version('pylatexenc')}"

    def decide(self, gold: str, answer: str) -> Verdict | Question:
        """Grade one pair, or defer to sympy."""
        if verdict := refused(gold, answer):
            return verdict
        try:
            return compare(gold, answer, _numerically_equal)
        except UnconfirmedError:
            return Question("sympy", gold, answer)

    def keys(self, answers: Sequence[str]) -> list[Keys]:
        """String keys and, where sympy may be asked, a key of the value."""
        return [_keys(answer) for answer in answers]


def compare(gold: str, answer: str, equal: Callable[[str, str], bool]) -> Verdict:
    """Grade a pair; ``equal`` says whether two normalised entries have the same value."""
    verdict = compare_strings(gold, answer)
    expected, given = prm800k_form(gold), prm800k_form(answer)
    if verdict.right:
        return verdict
    if not given:
        return Verdict("wrong", "nothing left after normalisation")
    gold_entries, answer_entries = entries(expected), entries(given)
    if len(gold_entries) > 1 and (expected[0] != given[0] or expected[-1] != given[-1]):
        return Verdict("wrong", "different brackets")
    if len(gold_entries) != len(answer_entries):
        return Verdict("wrong", "different number of entries")
    for a, b in zip(gold_entries, answer_entries, strict=True):
        if _FRACTION.fullmatch(a) and _FRACTION.fullmatch(b):
            if a != b:
                return Verdict("wrong", "different fractions")
        elif is_integer(a) != is_integer(b):
            return Verdict("wrong", "one is a whole number")
        elif not may_evaluate(f"({a})-({b})"):
            return Verdict("wrong", "different strings, too complex for sympy")
        elif not equal(a, b):
            return Verdict("wrong", "difference is not zero")
    return Verdict("right", "difference is zero")


def entries(text: str) -> list[str]:
    """The entries of a normalised tuple or interval; anything else is one entry."""
    text = strip_commas(text)
    inner = text[1:-1]
    if inner and {text[0], text[-1]} <= _BRACKETS and _BRACKETS.isdisjoint(inner):
        return inner.split(",")
    return [text]


def may_evaluate(text: str) -> bool:
    """Whether the PRM800K grader would pass this to sympy: few letters, no towers of powers."""
    letters = {c for c in text.replace("sqrt", "").replace("frac", "") if c.isalpha()}
    return len(letters) <= MAX_LETTERS and not _TOO_COMPLEX.search(text)


def _parsed(entry: str) -> Expression:
    """The tree of a normalised entry, where e and i are variables as for the original's sympy."""
    expression = parse_expression(tokenize(_NAMES.sub(" ", entry)), constants=False)
    if expression.two_signs:
        raise ParseError("two values")
    return expression


@lru_cache(maxsize=65_536)
def _values(entry: str) -> tuple[bool, list[Any]] | None:
    """Whether a normalised entry has no rounded part, and its values at two points; or None."""
    evaluators = Evaluator(0), Evaluator(1)
    try:
        node = _parsed(entry).node
        values = [evaluate(node) for evaluate in evaluators]
    except (ParseError, RecursionError):
        return None
    return all(evaluate.exact for evaluate in evaluators), values


def _numerically_equal(a: str, b: str) -> bool:
    """Whether two entries have the same value; ``UnconfirmedError`` if one was rounded."""
    first, second = _values(a), _values(b)
    if first is None or second is None:
        return False
    pairs = list(zip(first[1], second[1], strict=True))
    if all(abs(inexact(x) - inexact(y)) * 10**9 <= abs(inexact(y)) for x, y in pairs):
        if first[0] and second[0] and first[1] == second[1]:
            return True
        raise UnconfirmedError
    return False


def _keys(answer: str) -> Keys:
    if refused(answer, answer):
        return (("unread", answer),)
    text = prm800k_form(answer)
    parts = entries(text)
    values = tuple(_entry_key(part) for part in parts)
    brackets = text[0] + text[-1] if len(parts) > 1 else ""
    return (("m", math_form(answer)), ("p", text), ("v", brackets, values))


def _entry_key(entry: str) -> Any:
    """The value of an entry, or the entry itself: fractions that are not reduced, and words."""
    found = _values(entry) if may_evaluate(entry) else None
    if found is None or (_FRACTION.fullmatch(entry) and entry != str(found[1][0])):
        return entry
    return (is_integer(entry), *(number_key(value) for value in found[1]))


def difference_is_zero(a: str, b: str) -> bool:
    """Whether sympy simplifies the difference of two normalised entries to zero."""
    import sympy

    try:
        first, second = (to_sympy(_parsed(text).node) for text in (a, b))
    except ParseError:
        return False
    return bool(sympy.simplify(first - second) == 0)


def to_sympy(node: Node) -> Any:
    """The sympy expression of a tree, built node by node: no text is evaluated."""
    import sympy

    match node:
        case ("number", value) if value.denominator == 1:
            return sympy.Integer(value.numerator)
        case ("number", value):
            return sympy.Float(str(Decimal(value.numerator) / value.denominator))
        case ("symbol", name):
            return sympy.Symbol(name)
        case ("constant", _):
            return sympy.pi
    operations: dict[str, Callable[..., Any]] = {
        "add": operator.add, "multiply": operator.mul, "divide": operator.truediv,
        "negative": operator.neg, "power": operator.pow, "root": lambda a, n: a ** (1 / n),
        "absolute": sympy.Abs, "ln": sympy.log,
    }  # fmt: skip
    operation = operations.get(node[0]) or getattr(sympy, node[0])  # sqrt, factorial, ...
    return operation(*map(to_sympy, node[1:]))
