"""Keys of values: hashable stand-ins that equal values share."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from e2h_cli.grading.answer_tokens import ReadError
from e2h_cli.grading.evaluate import TINY_BITS, inexact, magnitude

Key = tuple[Any, ...]
"""Equal values have equal keys."""

_KEY_BITS = 83  # 25 digits: half of the working precision, so that rounding noise never shows
_SNAP = 10**6


def number_key(value: Any) -> Key:
    """The key of one constant: exact for fractions, 25 digits for irrational numbers.

    An irrational form of a simple fraction, such as sin(30°), gets the fraction's key.
    """
    if isinstance(value, Fraction):
        return ("q", value.numerator, value.denominator)
    real, imaginary = _parts(value)
    if imaginary:
        return ("c", number_key_of_real(real), number_key_of_real(imaginary))
    return number_key_of_real(real)


def number_key_of_real(value: Any) -> Key:
    """As ``number_key``, for a real mpmath number."""
    if not value:
        return ("q", 0, 1)
    simple = _simple_fraction(value)
    return ("q", simple.numerator, simple.denominator) if simple is not None else _rounded(value)


def sample_key(value: Any) -> Key:
    """The key of an expression's value at a test point: 25 digits, exact or not."""
    if isinstance(value, Fraction):
        if not value:
            return ("r", 0, 0)
        value = inexact(value)
    real, imaginary = _parts(value)
    return ("c", _rounded(real), _rounded(imaginary)) if imaginary else _rounded(real)


def ratio_keys(values: Iterable[Any]) -> Key:
    """Keys of values up to a common factor, for equations."""
    first, *rest = values
    if not first:
        raise ReadError("an equation without content")
    keys = []
    for value in rest:
        if isinstance(value, Fraction) and isinstance(first, Fraction):
            keys.append(sample_key(value / first))
        else:
            keys.append(sample_key(inexact(value) / inexact(first)))
    return tuple(keys)


def _parts(value: Any) -> tuple[Any, Any]:
    """Real and imaginary part, with a part that is only rounding noise set to zero."""
    real, imaginary = value.real, value.imag
    if imaginary and real:
        if magnitude(imaginary) < magnitude(real) - TINY_BITS:
            imaginary = 0
        elif magnitude(real) < magnitude(imaginary) - TINY_BITS:
            real = 0
    return real, imaginary


def _rounded(value: Any) -> Key:
    if not value:
        return ("r", 0, 0)
    sign, mantissa, exponent, bits = value._mpf_
    mantissa = int(mantissa)
    if bits > _KEY_BITS:
        shift = bits - _KEY_BITS
        mantissa = (mantissa + (1 << (shift - 1))) >> shift
        exponent += shift
    zeros = (mantissa & -mantissa).bit_length() - 1
    return ("r", -(mantissa >> zeros) if sign else mantissa >> zeros, exponent + zeros)


def _simple_fraction(value: Any) -> Fraction | None:
    """The fraction with a denominator up to 10^6 that equals ``value`` to 39 digits, or None."""
    sign, mantissa, exponent, bits = value._mpf_
    if not -40 <= exponent + bits <= 60:
        return None
    scaled = int(mantissa) << exponent + TINY_BITS if exponent > -TINY_BITS else None
    if scaled is None:
        shift = -exponent - TINY_BITS
        scaled = (int(mantissa) + (1 << (shift - 1) if shift else 0)) >> shift
    unit = 1 << TINY_BITS
    above, below = scaled, unit
    p, p_before, q, q_before = 1, 0, 0, 1
    while True:
        whole, rest = divmod(above, below)
        p, p_before = whole * p + p_before, p
        q, q_before = whole * q + q_before, q
        if q > _SNAP:
            return None
        if abs(scaled * q - p * unit) <= q * max(4, scaled >> TINY_BITS):
            return Fraction(-p if sign else p, q)
        if not rest:
            return None
        above, below = below, rest
