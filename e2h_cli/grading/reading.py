r"""What an answer means: its kind, and keys that equal answers share.

Two answers are equal when they share a key. Most have one; ``y = 2x + 3`` has two, that of its
right-hand side and that of the equation, so that it equals ``2x + 3`` as well as
``2x - y + 3 = 0``. *Loose* keys count only when a pair is judged, never when answers are grouped,
because they are not transitive: ``10\%`` equals both 10 and 0.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

from e2h_cli.grading.answer_tokens import ReadError, Token
from e2h_cli.grading.evaluate import Evaluator
from e2h_cli.grading.expression import Expression, parse
from e2h_cli.grading.keys import Key, number_key, sample_key

INFINITY: Key = ("infinity", 1)
MINUS_INFINITY: Key = ("infinity", -1)
REALS: Key = ("sequence", "(", ")", (MINUS_INFINITY, INFINITY))
EMPTY: Key = ("set", frozenset())


@dataclass(frozen=True, slots=True)
class Reading:
    """A read answer. ``keys[0]`` is the main key."""

    kind: str
    keys: tuple[Key, ...]
    loose: tuple[Key, ...] = ()
    exact: bool = True
    """Whether the keys were found without rounding."""
    value: Fraction | None = None
    """The value of a real constant, to at least 25 digits."""
    places: int = 0
    """Decimal places, if the answer is one decimal number."""
    variable: str = ""
    """The left-hand side of an assignment such as ``x = 5``."""

    @property
    def key(self) -> Key:
        """The main key."""
        return self.keys[0]


def number(value: Fraction) -> Reading:
    """The reading of an exact number."""
    return Reading("number", (number_key(value),), value=value)


def scalar(tokens: Sequence[Token]) -> Reading:
    """Read one scalar expression: a number, or an expression with variables.

    Raises:
        ReadError: if the tokens are not a scalar expression, or it has no value.
    """
    expression = parse(tokens)
    if expression.signs:
        both = [_evaluated(expression, sign) for sign in (1, -1)]
        return Reading("list", (set_key(both),), exact=all(reading.exact for reading in both))
    return _evaluated(expression, 1)


def _evaluated(expression: Expression, sign: int) -> Reading:
    first = Evaluator(0, sign)
    value = first(expression.node)
    if expression.symbols:
        second = Evaluator(1, sign)
        other = second(expression.node)
        samples = sample_key(value), sample_key(other)
        if samples[0] != samples[1]:
            key = ("expression", *samples)
            return Reading("expression", (key,), exact=first.exact and second.exact)
    loose = (number_key(value / 100),) if expression.percent else ()
    return Reading(
        "number",
        (number_key(value),),
        loose,
        exact=first.exact,
        value=_real(value),
        places=expression.places,
    )


def _real(value: Any) -> Fraction | None:
    """A real mpmath number as a fraction; None for complex and for huge numbers."""
    if isinstance(value, Fraction):
        return value
    if value.imag:
        return None
    sign, mantissa, exponent, _ = value.real._mpf_
    if abs(exponent) > 1_000:
        return None
    result = Fraction(int(mantissa)) * Fraction(2) ** exponent
    return -result if sign else result


def set_key(readings: Sequence[Reading]) -> Key:
    """The key of an unordered set; a set of one is that one, as in math-verify."""
    members: set[Key] = set()
    for reading in readings:
        if reading.key[0] == "set":
            members |= reading.key[1]
        else:
            members.add(reading.key)
    return next(iter(members)) if len(members) == 1 else ("set", frozenset(members))


def union(readings: Sequence[Reading], variable: str = "") -> Reading:
    r"""The union of intervals and sets, in any order.

    Raises:
        ReadError: if a part is not a set.
    """
    members: set[Key] = set()
    for reading in readings:
        if reading.kind not in ("interval", "tuple", "union", "set", "number"):
            raise ReadError("a union of something else than sets")
        members |= reading.key[1] if reading.key[0] == "union" else {reading.key}
    key: Key = next(iter(members)) if len(members) == 1 else ("union", frozenset(members))
    exact = all(reading.exact for reading in readings)
    return Reading("union", (key,), exact=exact, variable=variable)


def interval(low: Key, high: Key, opening: str, closing: str, variable: str = "") -> Reading:
    """An interval; it is open at infinity however it was written."""
    opening = "(" if low == MINUS_INFINITY else opening
    closing = ")" if high == INFINITY else closing
    return Reading("interval", (("sequence", opening, closing, (low, high)),), variable=variable)


def without(points: Sequence[Reading], variable: str = "") -> Reading:
    """The real line without some points, as a union of open intervals.

    Raises:
        ReadError: if a point is not a real number.
    """
    values = {}
    for point in points:
        if point.value is None:
            raise ReadError("not a real number")
        values[point.value] = point.key
    keys = [MINUS_INFINITY, *(values[value] for value in sorted(values)), INFINITY]
    pieces = [interval(low, high, "(", ")") for low, high in pairwise(keys)]
    return union(pieces, variable)
