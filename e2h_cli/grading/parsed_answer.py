r"""What an answer means: its kind, and keys that equal answers share.

Two answers are equal when they share a key. Most have one; ``y = 2x + 3`` has two, that of its
right-hand side and that of the equation, so it equals ``2x + 3`` as well as ``2x - y + 3 = 0``.
*Loose* keys count only when a pair is graded, never when answers are grouped, because they are
not transitive: ``10\%`` equals both 10 and 0.1.

The functions raise ``ParseError`` if the tokens or parts do not make such an answer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from e2h_cli.grading.answer_text import ParseError, Token
from e2h_cli.grading.expression_parser import Expression, parse_expression
from e2h_cli.grading.expression_value import (
    Evaluator,
    Key,
    key_value,
    number_key,
    ratio_keys,
    sample_key,
)

INFINITY: Key = ("infinity", 1)
MINUS_INFINITY: Key = ("infinity", -1)
REALS: Key = ("sequence", "(", ")", (MINUS_INFINITY, INFINITY))
EMPTY_SET: Key = ("set", frozenset())

RELATIONS = {
    "=": "=", "\\approx": "=", "<": "<", ">": ">", "\\le": "<=", "\\ge": ">=", "\\ne": "!=",
}  # fmt: skip
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}
_TEST_POINTS = 3
_NAME = re.compile(
    r"[A-Za-z](?:_(?:\{\w+\}|\w))?(?:\^(?:\{-1\}|-1))?(?:\(\w+(?:,\w+)*\))?"
    r"|m?[A-Z]{2,4}|\|[A-Z]{2}\||\\overline\{[A-Z]{2}\}"
    r"|\\[a-zA-Z]+(?:_(?:\{\w+\}|\w))?(?:\(\w+\))?"
    r"|\(\w(?:,\w)+\)"
)


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """A parsed answer. ``keys[0]`` is the main key."""

    kind: str
    keys: tuple[Key, ...]
    loose: tuple[Key, ...] = ()
    variable: str = ""  # the left-hand side of an assignment such as x = 5

    @property
    def key(self) -> Key:
        """The main key."""
        return self.keys[0]


def text_of(tokens: Sequence[Token]) -> str:
    """The texts of tokens, joined."""
    return "".join(token.text for token in tokens)


def number(value: Fraction) -> ParsedAnswer:
    """An exact number."""
    return ParsedAnswer("number", (number_key(value),))


def scalar(tokens: Sequence[Token]) -> ParsedAnswer:
    """Parse one scalar expression: a number, or an expression with variables."""
    expression = parse_expression(tokens)
    if expression.two_signs:
        return ParsedAnswer("list", (set_key([_evaluated(expression, sign) for sign in (1, -1)]),))
    return _evaluated(expression, 1)


def _evaluated(expression: Expression, sign: int) -> ParsedAnswer:
    value = Evaluator(0, sign)(expression.node)
    if expression.symbols:
        samples = sample_key(value), sample_key(Evaluator(1, sign)(expression.node))
        if samples[0] != samples[1]:
            return ParsedAnswer("expression", (("expression", *samples),))
    loose = (number_key(value / 100),) if expression.percent else ()
    return ParsedAnswer("number", (number_key(value),), loose)


def set_key(parts: Sequence[ParsedAnswer], repeated: bool = False) -> Key:
    """The key of an unordered set; a set of one element is that element, as in math-verify.

    ``repeated``: whether an element that stands twice counts twice, as the angles 75°, 75° do.
    """
    counts: Counter[Key] = Counter()
    for part in parts:
        counts.update(part.key[1] if part.key[0] == "set" else [part.key])
    members = set(counts)
    if repeated:
        members |= {("again", key, n) for key, count in counts.items() for n in range(1, count)}
    return next(iter(members)) if len(members) == 1 else ("set", frozenset(members))


def union(parts: Sequence[ParsedAnswer], variable: str = "") -> ParsedAnswer:
    """The union of intervals and sets, in any order."""
    members: set[Key] = set()
    for part in parts:
        if part.kind not in ("interval", "tuple", "union", "set", "number"):
            raise ParseError("a union of something else than sets")
        members |= part.key[1] if part.key[0] == "union" else {part.key}
    key: Key = next(iter(members)) if len(members) == 1 else ("union", frozenset(members))
    return ParsedAnswer("union", (key,), variable=variable)


def interval(low: Key, high: Key, opening: str, closing: str, variable: str = "") -> ParsedAnswer:
    """An interval; it is open at infinity however it was written."""
    opening = "(" if low == MINUS_INFINITY else opening
    closing = ")" if high == INFINITY else closing
    key = ("sequence", opening, closing, (low, high))
    return ParsedAnswer("interval", (key,), variable=variable)


def reals_without(points: Sequence[ParsedAnswer], variable: str = "") -> ParsedAnswer:
    """The real line without some points, as a union of open intervals."""
    values = {}
    for point in points:
        value = key_value(point.key)
        if value is None:
            raise ParseError("not a real number")
        values[value] = point.key
    keys = [MINUS_INFINITY, *(values[value] for value in sorted(values)), INFINITY]
    return union([interval(low, high, "(", ")") for low, high in pairwise(keys)], variable)


def name_of(tokens: Sequence[Token]) -> str:
    """The name that an assignment gives a value to (``x``, ``f(x)``, ``(x,y)``), or ""."""
    joined = text_of(tokens)
    if tokens and all(token.kind == "text" for token in tokens):
        return joined
    has_letter = any(token.kind in ("symbol", "command") for token in tokens)
    constant = joined in ("\\pi", "\\infty", "\\reals", "i", "e")
    return joined if has_letter and not constant and _NAME.fullmatch(joined) else ""


def equation(left: Sequence[Token], right: Sequence[Token]) -> ParsedAnswer:
    """An equation; its multiples by a constant are the same equation."""
    return ParsedAnswer("equation", (("equation", *ratio_keys(_differences(left, right))),))


def inequality(sides: Sequence[Sequence[Token]], signs: Sequence[str]) -> ParsedAnswer:
    """An inequality: an interval if it bounds one variable, else compared up to a factor."""
    if len(signs) == 2:
        return _between(sides, signs)
    if len(signs) != 1:
        raise ParseError("an unknown chain of relations")
    left, right, sign = sides[0], sides[1], signs[0]
    if _is_variable(right) and not _is_variable(left):
        left, right, sign = right, left, _FLIPPED[sign]
    if _is_variable(left):
        try:
            limit = bound(right)
        except ParseError:
            pass
        else:
            return _bounded_variable(left[0].text, sign, limit)
    if sign == "!=":
        return ParsedAnswer("inequality", (("unequal", *ratio_keys(_differences(left, right))),))
    if sign[0] == ">":
        left, right, sign = right, left, _FLIPPED[sign]
    values = _differences(left, right)
    if any(value.imag for value in values):
        raise ParseError("a complex inequality")
    return ParsedAnswer("inequality", (("inequality", sign, values[0] > 0, *ratio_keys(values)),))


def _between(sides: Sequence[Sequence[Token]], signs: Sequence[str]) -> ParsedAnswer:
    """The interval of ``1 < x <= 2``."""
    if not _is_variable(sides[1]) or signs[0][0] != signs[1][0] or signs[0][0] not in "<>":
        raise ParseError("an unknown chain of relations")
    low, high = bound(sides[0]), bound(sides[2])
    if signs[0][0] == ">":
        low, high, signs = high, low, [_FLIPPED[sign] for sign in reversed(signs)]
    opening = "[" if signs[0] == "<=" else "("
    closing = "]" if signs[1] == "<=" else ")"
    return interval(low.key, high.key, opening, closing, sides[1][0].text)


def _bounded_variable(name: str, sign: str, limit: ParsedAnswer) -> ParsedAnswer:
    """The interval of ``x < 2``, or the union of ``x != 2``."""
    if sign == "!=":
        return reals_without([limit], name)
    if sign[0] == "<":
        return interval(MINUS_INFINITY, limit.key, "(", "]" if sign == "<=" else ")", name)
    return interval(limit.key, INFINITY, "[" if sign == ">=" else "(", ")", name)


def bound(tokens: Sequence[Token]) -> ParsedAnswer:
    """An end of an interval: a real constant, or plus or minus infinity."""
    joined = text_of(tokens)
    if joined in ("\\infty", "+\\infty", "-\\infty"):
        return ParsedAnswer("number", (MINUS_INFINITY if joined[0] == "-" else INFINITY,))
    parsed = scalar(tokens)
    if parsed.kind != "number":
        raise ParseError("not a constant")
    return parsed


def _is_variable(tokens: Sequence[Token]) -> bool:
    return len(tokens) == 1 and tokens[0].kind in ("symbol", "command") and bool(name_of(tokens))


def _differences(left: Sequence[Token], right: Sequence[Token]) -> list[Any]:
    """The values of left - right at the test points."""
    first, second = parse_expression(left), parse_expression(right)
    if first.two_signs or second.two_signs or not first.symbols | second.symbols:
        raise ParseError("not an equation in variables")
    node = ("add", first.node, ("negative", second.node))
    return [Evaluator(point)(node) for point in range(_TEST_POINTS)]
