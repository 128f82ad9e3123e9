"""Values of expression trees: exact fractions where possible, else 50 significant digits.

Every operation is refused (``TooLargeError``) before it is done if its result would be too large,
so ``9**9**9**9`` costs microseconds.
"""

from __future__ import annotations

import hashlib
import operator
import threading
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from math import comb, factorial, isqrt
from typing import Any

from e2h_cli.grading.answer_tokens import ReadError, TooLargeError
from e2h_cli.grading.parser import Node

DIGITS = 50
"""Working precision of irrational values, in significant digits."""

MAX_BITS = 20_000
"""Largest exact integer, and largest binary exponent of a power, in bits."""

TINY_BITS = 130
"""A sum that cancels to less than 2^-130 of its terms is zero."""

_LOCAL = threading.local()


def context() -> Any:
    """This thread's mpmath context (contexts change their precision while they work)."""
    if not hasattr(_LOCAL, "context"):
        import mpmath  # type: ignore[import-untyped]

        _LOCAL.context = mpmath.MPContext()
        _LOCAL.context.dps = DIGITS
    return _LOCAL.context


@lru_cache(maxsize=4096)
def coordinate(name: str, point: int) -> Fraction:
    """Where a variable stands at a test point: a fixed pseudo-random fraction, the same anywhere.

    Point 0 is positive in every variable; at the others each sign is random.
    """
    digest = hashlib.blake2b(f"{point}:{name}".encode(errors="replace"), digest_size=8).digest()
    above = 2003 + 2 * (int.from_bytes(digest[:3], "big") % 4001)
    below = 1009 + 2 * (int.from_bytes(digest[3:6], "big") % 499)
    sign = -1 if point and digest[6] % 2 else 1
    return sign * Fraction(above, below)


class Evaluator:
    r"""Evaluates trees at one test point, with one choice of the sign for ``\pm``.

    Args:
        point: number of the test point.
        sign: +1 or -1, the value of ``\pm 1``.
    """

    def __init__(self, point: int = 0, sign: int = 1) -> None:
        self.point = point
        self.sign = sign
        self.exact = True
        self._degrees = False

    def __call__(self, node: Node) -> Any:
        """The value: a Fraction, or an mpmath number.

        Raises:
            TooLargeError: if a value on the way is too large.
            ReadError: if the expression has no value, such as 1/0.
        """
        try:
            return self._value(node)
        except ZeroDivisionError as error:
            raise ReadError("division by zero") from error
        except (ValueError, OverflowError, TypeError, NotImplementedError) as error:
            raise ReadError("no value") from error

    def _value(self, node: Node) -> Any:
        kind = node[0]
        if kind == "number":
            return node[1]
        if kind == "symbol":
            return coordinate(node[1], self.point)
        if kind == "constant":
            return self._constant(node[1])
        if kind == "add":
            return self._add(self._value(node[1]), self._value(node[2]))
        if kind == "multiply":
            return _bounded(_same(self._value(node[1]), self._value(node[2]), operator.mul))
        if kind == "divide":
            return _bounded(_same(self._value(node[1]), self._value(node[2]), operator.truediv))
        if kind == "negative":
            return -self._value(node[1])
        if kind == "sign":
            return self.sign * self._value(node[1])
        if kind == "power":
            return self._power(self._value(node[1]), self._value(node[2]))
        if kind == "root":
            return self._root(self._value(node[1]), self._value(node[2]))
        if kind == "degree":
            inner = self._value(node[1])
            if not self._degrees:
                return inner
            self.exact = False
            return inexact(inner) * context().pi / 180
        if kind == "absolute":
            return abs(self._value(node[1]))
        if kind == "factorial":
            return Fraction(factorial(_whole(self._value(node[1]), 2_100)))
        if kind == "binomial":
            above, below = self._value(node[1]), self._value(node[2])
            return Fraction(comb(_whole(above, 3_000), _whole(below, 3_000)))
        return self._function(kind, node[1])

    def _constant(self, name: str) -> Any:
        self.exact = False
        if name == "pi":
            return +context().pi
        if name == "e":
            return +context().e
        return context().mpc(0, 1)

    def _add(self, a: Any, b: Any) -> Any:
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return _bounded(a + b)
        a, b = inexact(a), inexact(b)
        total = a + b
        if not total or context().mag(total) < max(magnitude(a), magnitude(b)) - TINY_BITS:
            return Fraction(0)
        return total

    def _power(self, base: Any, exponent: Any) -> Any:
        if isinstance(exponent, Fraction) and isinstance(base, Fraction):
            if exponent.denominator == 1:
                bits = max(base.numerator.bit_length(), base.denominator.bit_length())
                if bits > 1 and abs(exponent) * bits > MAX_BITS:
                    raise TooLargeError("power too large")
                return base**exponent.numerator
            if exponent.denominator == 2 and base >= 0:
                return self._power(self._root(base, Fraction(2)), Fraction(exponent.numerator))
        if not base:
            if inexact(exponent).real > 0:
                return Fraction(0)
            raise ZeroDivisionError
        self.exact = False
        base, exponent = inexact(base), inexact(exponent)
        size = abs(exponent)
        if size > MAX_BITS or size * max(1, abs(magnitude(base))) > MAX_BITS:
            raise TooLargeError("power too large")
        return base**exponent

    def _root(self, value: Any, degree: Any) -> Any:
        if not isinstance(degree, Fraction) or degree.denominator != 1 or not 1 < degree < 100:
            return self._power(value, Fraction(1) / degree)
        if isinstance(value, Fraction):
            index = degree.numerator
            if value < 0 and index % 2:
                return -self._root(-value, degree)
            if value >= 0:
                above = _integer_root(value.numerator, index)
                below = _integer_root(value.denominator, index)
                if above is not None and below is not None:
                    return Fraction(above, below)
        self.exact = False
        if degree == 2:
            return context().sqrt(inexact(value))
        return self._power(inexact(value), Fraction(1) / degree)

    def _function(self, name: str, argument: Node) -> Any:
        self.exact = False
        mp = context()
        outer, self._degrees = self._degrees, name in _TRIGONOMETRIC
        try:
            value = inexact(self._value(argument))
        finally:
            self._degrees = outer
        if abs(value) > (10_000 if name in ("exp", "sinh", "cosh", "tanh") else 10**12):
            raise TooLargeError("argument too large")
        if name in ("ln", "log"):
            if not value:
                raise ZeroDivisionError
            return mp.ln(value) if name == "ln" else mp.ln(value) / mp.ln(10)
        result = getattr(mp, _MPMATH_NAMES.get(name, name))(value)
        if magnitude(result) > TINY_BITS and name in _TRIGONOMETRIC:
            raise ZeroDivisionError
        return Fraction(0) if result and magnitude(result) < -TINY_BITS else result


_TRIGONOMETRIC = frozenset({"sin", "cos", "tan", "cot", "sec", "csc"})
_MPMATH_NAMES = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}


def inexact(value: Any) -> Any:
    """A fraction as an mpmath number; other numbers as they are."""
    if isinstance(value, Fraction):
        return context().mpf(value.numerator) / value.denominator
    return value


def _same(a: Any, b: Any, operation: Callable[[Any, Any], Any]) -> Any:
    if isinstance(a, Fraction) != isinstance(b, Fraction):
        a, b = inexact(a), inexact(b)
    return operation(a, b)


def magnitude(value: Any) -> int:
    """The binary exponent of a number; very small for zero."""
    if not value:
        return -MAX_BITS
    return int(context().mag(value))


def _bounded(value: Any) -> Any:
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
            raise TooLargeError("number too large")
    elif value and abs(magnitude(value)) > 10 * MAX_BITS:
        raise TooLargeError("number too large")
    return value


def _whole(value: Any, limit: int) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1 or value < 0:
        raise ReadError("not a whole number")
    if value > limit:
        raise TooLargeError("whole number too large")
    return value.numerator


def _integer_root(value: int, index: int) -> int | None:
    """The exact ``index``-th root of a whole number, or None."""
    if index == 2:
        root = isqrt(value)
        return root if root * root == value else None
    if value.bit_length() > 1_000:
        return None
    root = round(value ** (1 / index))
    return root if root**index == value else None
