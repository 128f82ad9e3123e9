"""Values of expression trees, and hashable keys that equal values share.

Values are exact fractions where possible, else mpmath numbers with 600 significant digits. An
operation whose result would be too large is refused before it is computed, so ``9**9**9**9`` costs
microseconds. So is a sum whose small terms would not show in the key, as in ``x^{900}+1``.
"""

from __future__ import annotations

import hashlib
import operator
import threading
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import lru_cache
from math import comb, factorial, isqrt
from typing import Any

from e2h_cli.grading.answer_text import ParseError, TooLargeError
from e2h_cli.grading.expression_parser import Node

Key = tuple[Any, ...]
"""Equal values have equal keys."""

WORKING_BITS = 2_048  # precision of irrational values
MAX_BITS = 20_000  # largest exact integer, and largest binary exponent of a power
TINY_BITS = 1_800  # a sum that cancels to less than 2^-1800 of its terms is zero
_KEY_BITS = 1_536  # less than the working precision, so that rounding errors never show
_MAX_SPREAD = 1_400  # binary digits by which sums may push a term down: it still shows in the key
_MAX_DENOMINATOR = 10**6
_TRIGONOMETRIC = frozenset({"sin", "cos", "tan", "cot", "sec", "csc"})
_MPMATH_NAMES = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}
_THREAD = threading.local()


def context() -> Any:
    """The mpmath context of this thread (a context changes its precision while it works)."""
    if not hasattr(_THREAD, "context"):
        import mpmath  # type: ignore[import-untyped]

        _THREAD.context = mpmath.MPContext()
        _THREAD.context.prec = WORKING_BITS
    return _THREAD.context


@lru_cache(maxsize=4096)
def coordinate(name: str, point: int) -> Fraction:
    """The value of a variable at a test point: a pseudo-random fraction, the same in any process.

    All variables are positive at point 0; at the others each sign is random.
    """
    digest = hashlib.blake2b(f"{point}:{name}".encode(errors="replace"), digest_size=8).digest()
    above = 2003 + 2 * (int.from_bytes(digest[:3], "big") % 4001)
    below = 1009 + 2 * (int.from_bytes(digest[3:6], "big") % 499)
    sign = -1 if point and digest[6] % 2 else 1
    return sign * Fraction(above, below)


class Evaluator:
    r"""Evaluates trees at one test point, with one choice (+1 or -1) of the sign of ``\pm``."""

    def __init__(self, point: int = 0, sign: int = 1) -> None:
        self.point = point
        self.sign = sign
        self.exact = True  # nothing was rounded so far
        self._degrees = False
        self._spread = 0

    def __call__(self, node: Node) -> Any:
        """The value, a Fraction or an mpmath number; ``ParseError`` if it has none, as 1/0."""
        try:
            value = self._value(node)
        except ZeroDivisionError as error:
            raise ParseError("division by zero") from error
        except (ValueError, OverflowError, TypeError, NotImplementedError) as error:
            raise ParseError("no value") from error
        # A constant, which is evaluated at point 0 only, keeps all digits if it is a fraction.
        if self._spread > _MAX_SPREAD and (self.point or not isinstance(value, Fraction)):
            raise ParseError("terms of too different size")
        return value

    def _value(self, node: Node) -> Any:
        match node:
            case ("number", value):
                return value
            case ("symbol", name):
                return coordinate(name, self.point)
            case ("constant", name):
                self.exact = False
                return context().mpc(0, 1) if name == "i" else +getattr(context(), name)
            case ("degree", inner):
                value = self._value(inner)
                if not self._degrees:
                    return value
                self.exact = False
                return inexact(value) * context().pi / 180
            case (kind, inner) if kind not in ("negative", "sign", "absolute", "factorial"):
                return self._function(kind, inner)
        kind, values = node[0], [self._value(child) for child in node[1:]]
        match kind:
            case "add":
                return self._add(*values)
            case "multiply" | "divide":
                operation = operator.mul if kind == "multiply" else operator.truediv
                return _bounded(_apply(operation, *values))
            case "negative":
                return -values[0]
            case "sign":
                return self.sign * values[0]
            case "absolute":
                return abs(values[0])
            case "factorial":
                return Fraction(factorial(_whole(values[0], 2_100)))
            case "binomial":
                return Fraction(comb(*(_whole(value, 3_000) for value in values)))
            case "power":
                return self._power(*values)
        return self._root(*values)

    def _add(self, a: Any, b: Any) -> Any:
        if a and b:
            self._spread += abs(magnitude(a) - magnitude(b))
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


def inexact(value: Any) -> Any:
    """A fraction as an mpmath number; other numbers unchanged."""
    if isinstance(value, Fraction):
        return context().mpf(value.numerator) / value.denominator
    return value


def magnitude(value: Any) -> int:
    """The binary exponent of a number, at most 2 too large; very small for zero."""
    if isinstance(value, Fraction) and value:
        return value.numerator.bit_length() - value.denominator.bit_length() + 1
    return int(context().mag(value)) if value else -MAX_BITS


def _apply(operation: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    if isinstance(a, Fraction) != isinstance(b, Fraction):
        a, b = inexact(a), inexact(b)
    return operation(a, b)


def _bounded(value: Any) -> Any:
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
            raise TooLargeError("number too large")
    elif value and abs(magnitude(value)) > 10 * MAX_BITS:
        raise TooLargeError("number too large")
    return value


def _whole(value: Any, limit: int) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1 or value < 0:
        raise ParseError("not a whole number")
    if value > limit:
        raise TooLargeError("whole number too large")
    return value.numerator


def _integer_root(value: int, index: int) -> int | None:
    """The exact ``index``-th root of a whole number, or None."""
    if index > 2 and value.bit_length() > 1_000:
        return None
    root = isqrt(value) if index == 2 else round(value ** (1 / index))
    return root if root**index == value else None


def number_key(value: Any) -> Key:
    """The key of a constant: exact for fractions, 460 digits for irrational numbers.

    A number that equals a simple fraction to 440 digits, as sin(30°), gets the fraction's key.
    """
    if isinstance(value, Fraction):
        return ("q", value.numerator, value.denominator)
    return _complex_key(value, _real_key)


def sample_key(value: Any) -> Key:
    """The key of an expression's value at a test point: 460 digits, exact or not."""
    return _complex_key(inexact(value), _rounded)


def ratio_keys(values: Iterable[Any]) -> Key:
    """Keys of values up to a common factor, for equations."""
    first, *rest = values
    if not first:
        raise ParseError("an equation without content")
    return tuple(sample_key(_apply(operator.truediv, value, first)) for value in rest)


def key_value(key: Key) -> Fraction | None:
    """The value of the key of a real number; None for other keys, and huge and tiny numbers."""
    match key:
        case ("q", above, below):
            return Fraction(above, below)
        case ("r", mantissa, exponent) if abs(exponent) <= MAX_BITS:
            return Fraction(mantissa) * Fraction(2) ** exponent
    return None


def _complex_key(value: Any, key: Callable[[Any], Key]) -> Key:
    """The keys of both parts; a part that is only a rounding error becomes zero."""
    real, imaginary = value.real, value.imag
    if imaginary and real:
        if magnitude(imaginary) < magnitude(real) - TINY_BITS:
            imaginary = 0
        elif magnitude(real) < magnitude(imaginary) - TINY_BITS:
            real = 0
    return ("c", key(real), key(imaginary)) if imaginary else key(real)


def _real_key(value: Any) -> Key:
    if not value:
        return ("q", 0, 1)
    rounded = _rounded(value)
    if -40 <= magnitude(value) <= 60 and (exact := key_value(rounded)) is not None:
        simple = exact.limit_denominator(_MAX_DENOMINATOR)
        if abs(exact - simple) * 2 ** (_KEY_BITS - 60) <= 1:
            return ("q", simple.numerator, simple.denominator)
    return rounded


def _rounded(value: Any) -> Key:
    if not value:
        return ("r", 0, 0)
    from mpmath.libmp import mpf_pos  # type: ignore[import-untyped]

    sign, mantissa, exponent, _ = mpf_pos(value._mpf_, _KEY_BITS, "n")
    return ("r", -int(mantissa) if sign else int(mantissa), exponent)
