"""Equations and inequalities as answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from e2h_cli.grading.answer_tokens import ReadError, Token
from e2h_cli.grading.evaluate import Evaluator
from e2h_cli.grading.expression import parse
from e2h_cli.grading.keys import Key, ratio_keys
from e2h_cli.grading.reading import (
    INFINITY,
    MINUS_INFINITY,
    Reading,
    interval,
    scalar,
    without,
)

RELATIONS = {
    "=": "=",
    "\\approx": "=",
    "<": "<",
    ">": ">",
    "\\le": "<=",
    "\\ge": ">=",
    "\\ne": "!=",
}
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}
_POINTS = 3
_NAME = re.compile(
    r"[A-Za-z]{1}(?:_(?:\{\w+\}|\w))?(?:\^(?:\{-1\}|-1))?"
    r"(?:\(\w+(?:,\w+)*\))?"
    r"|[A-Z]{2,4}"
    r"|\\[a-zA-Z]+(?:_(?:\{\w+\}|\w))?(?:\(\w+\))?"
    r"|\(\w(?:,\w)+\)"
)


def name_of(tokens: Sequence[Token]) -> str:
    """The name that an assignment gives a value to (``x``, ``f(x)``, ``(x,y)``), or ""."""
    joined = "".join(token.text for token in tokens)
    if tokens and all(token.kind == "text" for token in tokens):
        return joined
    letter = any(token.kind in ("symbol", "command") for token in tokens)
    if (
        letter
        and joined not in ("\\pi", "\\infty", "\\reals", "i", "e")
        and _NAME.fullmatch(joined)
    ):
        return joined
    return ""


def equation(left: Sequence[Token], right: Sequence[Token]) -> Reading:
    """An equation; multiples by a constant and terms moved across are the same equation.

    Raises:
        ReadError: if a side is not a scalar, or the equation says nothing.
    """
    return Reading("equation", (("equation", *ratio_keys(_differences(left, right))),), exact=False)


def inequality(sides: Sequence[Sequence[Token]], signs: Sequence[str]) -> Reading:
    """An inequality: an interval where it bounds one variable, else compared up to a factor.

    Raises:
        ReadError: for chains of other than one variable between two bounds.
    """
    if len(signs) == 2:
        if not _is_variable(sides[1]) or signs[0][0] != signs[1][0] or signs[0][0] not in "<>":
            raise ReadError("an unknown chain of relations")
        low, high = bound(sides[0]), bound(sides[2])
        if signs[0][0] == ">":
            low, high, signs = high, low, [_FLIPPED[sign] for sign in reversed(signs)]
        opening = "[" if signs[0] == "<=" else "("
        closing = "]" if signs[1] == "<=" else ")"
        return interval(low.key, high.key, opening, closing, sides[1][0].text)
    if len(signs) != 1:
        raise ReadError("an unknown chain of relations")
    left, right, sign = sides[0], sides[1], signs[0]
    if _is_variable(right) and not _is_variable(left):
        left, right, sign = right, left, _FLIPPED[sign]
    if _is_variable(left):
        try:
            limit = bound(right)
        except ReadError:
            limit = None
        if limit is not None:
            name = left[0].text
            if sign == "!=":
                return without([limit], name)
            if sign[0] == "<":
                closing = "]" if sign == "<=" else ")"
                return interval(MINUS_INFINITY, limit.key, "(", closing, name)
            return interval(limit.key, INFINITY, "[" if sign == ">=" else "(", ")", name)
    if sign == "!=":
        key: Key = ("unequal", *ratio_keys(_differences(left, right)))
        return Reading("inequality", (key,), exact=False)
    if sign[0] == ">":
        left, right, sign = right, left, _FLIPPED[sign]
    values = _differences(left, right)
    if any(value.imag for value in values):
        raise ReadError("a complex inequality")
    key = ("inequality", sign, values[0] > 0, *ratio_keys(values))
    return Reading("inequality", (key,), exact=False)


def bound(tokens: Sequence[Token]) -> Reading:
    """An end of an interval: a real constant or plus or minus infinity.

    Raises:
        ReadError: if it is something else.
    """
    joined = "".join(token.text for token in tokens)
    if joined in ("\\infty", "+\\infty"):
        return Reading("number", (INFINITY,))
    if joined == "-\\infty":
        return Reading("number", (MINUS_INFINITY,))
    reading = scalar(tokens)
    if reading.kind != "number":
        raise ReadError("not a constant")
    return reading


def _is_variable(tokens: Sequence[Token]) -> bool:
    return len(tokens) == 1 and tokens[0].kind in ("symbol", "command") and bool(name_of(tokens))


def _differences(left: Sequence[Token], right: Sequence[Token]) -> list[Any]:
    first, second = parse(left), parse(right)
    if first.signs or second.signs or not first.symbols | second.symbols:
        raise ReadError("not an equation in variables")
    node = ("add", first.node, ("negative", second.node))
    return [Evaluator(point)(node) for point in range(_POINTS)]
