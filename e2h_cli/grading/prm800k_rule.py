"""The rule ``prm800k``: the paper's grader (p.5), which goes on where its released code stops.

If the normalised strings differ, answers are compared entry by entry: whole numbers and fractions
must be the same string (so fractions must be reduced), and for the rest sympy has to simplify the
difference to zero. sympy gets an expression built from our own parser's tree, never text.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import version
from math import gcd
from typing import Any

from e2h_cli.grading.answer_text import ParseError, Token, tokenize
from e2h_cli.grading.expression_parser import Node, parse_expression
from e2h_cli.grading.expression_value import Key
from e2h_cli.grading.parsed_answer import ParsedAnswer, scalar
from e2h_cli.grading.string_rules import is_integer, math_form, prm800k_form, strip_commas
from e2h_cli.grading.verdict import Keys, Question, Rule, Verdict, refused

MAX_LETTERS = 2  # sympy is not asked about more distinct letters (PRM800K grader)
_BRACKETS = "()[]"
_FRACTION = re.compile(r"-?[0-9]+/0*[1-9][0-9]*")
_TOO_COMPLEX = re.compile(r"\^\{|\^\(|\^[0-9]+\^|\^[0-9][0-9]+")
# Where a name starts or ends inside of a run of letters that has lost its spaces.
_NAMES = re.compile(r"(?<=[a-z])(?=(?:sqrt|pi)(?![a-z]))|(?<=pi)(?=[a-z])")


class UnconfirmedError(Exception):
    """The values agree to 25 digits; sympy has to confirm that they are equal."""


class Prm800kRule(Rule):
    """The PRM800K grader with its guarded sympy step; deletes only whole unit words."""

    name = "prm800k"

    def __init__(self) -> None:
        self.version = f"1+sympy-{version('sympy')}+pylatexenc-{version('pylatexenc')}"

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
    if math_form(gold) == math_form(answer) != "":
        return Verdict("right", "equal after the MATH normalisation")
    expected, given = prm800k_form(gold), prm800k_form(answer)
    if expected == given:
        return Verdict("right", "equal after the PRM800K normalisation")
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
        elif is_integer(a):
            if a != b:
                return Verdict("wrong", "different whole numbers")
        elif a != b:
            if not may_evaluate(a + "-" + b):
                return Verdict("wrong", "different strings, too complex for sympy")
            if not equal(a, b):
                return Verdict("wrong", "difference is not zero")
    return Verdict("right", "difference is zero")


def entries(text: str) -> list[str]:
    """The entries of a normalised tuple or interval; anything else is one entry."""
    text = strip_commas(text)
    if len(text) > 2 and text[0] in _BRACKETS and text[-1] in _BRACKETS:
        parts = _split(text[1:-1])
        if len(parts) > 1 or not any(bracket in text[1:-1] for bracket in _BRACKETS):
            return parts
    return [text]


def _split(inner: str) -> list[str]:
    """Split at commas outside of brackets; empty if the brackets do not match."""
    parts = [""]
    level = 0
    for character in inner:
        level += (character in "([") - (character in ")]")
        if level < 0:
            return []
        if character == "," and level == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts if level == 0 else []


def may_evaluate(text: str) -> bool:
    """Whether the PRM800K grader would pass this to sympy: few letters, no towers of powers."""
    letters = {c for c in text.replace("sqrt", "").replace("frac", "") if c.isalpha()}
    return len(letters) <= MAX_LETTERS and not _TOO_COMPLEX.search(text)


@lru_cache(maxsize=65_536)
def _value(entry: str) -> ParsedAnswer | None:
    """The value of a normalised entry, or None."""
    try:
        return scalar(_tokens(entry))
    except (ParseError, RecursionError):
        return None


def _tokens(entry: str) -> list[Token]:
    return tokenize(_NAMES.sub(" ", entry))


def _numerically_equal(a: str, b: str) -> bool:
    """Whether two entries have the same value; ``UnconfirmedError`` if one was rounded."""
    first, second = _value(a), _value(b)
    if first is None or second is None or first.key != second.key:
        return False
    if not (first.exact and second.exact):
        raise UnconfirmedError
    return True


def _keys(answer: str) -> Keys:
    if refused(answer, answer):
        return (("unread", answer),)
    text = prm800k_form(answer)
    parts = entries(text)
    keys: Keys = (("m", math_form(answer)), ("p", text))
    values = [_entry_key(part) for part in parts]
    return (*keys, ("v", text[0] + text[-1] if len(parts) > 1 else "", tuple(values)))


def _entry_key(entry: str) -> Key:
    if is_integer(entry):
        return ("whole", entry)
    if _FRACTION.fullmatch(entry):
        above, below = (int(part) for part in entry.split("/"))
        if gcd(above, below) != 1:
            return ("unreduced", entry)
    elif not may_evaluate(entry):
        return ("string", entry)
    parsed = _value(entry)
    return ("value", parsed.key) if parsed is not None else ("string", entry)


def difference_is_zero(a: str, b: str) -> bool:
    """Whether sympy simplifies the difference of two normalised entries to zero."""
    import sympy

    try:
        first, second = (to_sympy(parse_expression(_tokens(text)).node) for text in (a, b))
    except ParseError:
        return False
    return bool(sympy.simplify(first - second) == 0)


def to_sympy(node: Node) -> Any:
    """The sympy expression of a tree, built node by node: no text is evaluated."""
    import sympy

    match node:
        case ("number", value):
            return sympy.Rational(value.numerator, value.denominator)
        case ("symbol", name):
            return sympy.Symbol(name)
        case ("constant", name):
            return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}[name]
        case ("sign", _):
            raise ParseError("two values")
    operations: dict[str, Callable[..., Any]] = {
        "add": operator.add, "multiply": operator.mul, "divide": operator.truediv,
        "negative": operator.neg, "power": operator.pow, "root": lambda a, n: a ** (1 / n),
        "degree": lambda a: a, "absolute": sympy.Abs, "ln": sympy.log,
        "log": lambda a: sympy.log(a, 10), "arcsin": sympy.asin, "arccos": sympy.acos,
        "arctan": sympy.atan,
    }  # fmt: skip
    operation = operations.get(node[0]) or getattr(sympy, node[0])  # sin, factorial, ...
    return operation(*map(to_sympy, node[1:]))
