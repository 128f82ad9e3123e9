"""Numbers written in a base: ``1011_2``, ``4210_{7}``, ``0.11_{\\text{two}}``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from e2h_cli.grading.answer_tokens import Token
from e2h_cli.grading.reading import Reading, number

_BASED = re.compile(r"(-?)([0-9A-Z]+(?:\.[0-9A-Z]+)?)_(?:\{(\w+)\}|(\w+))")
_BASE_NAMES = "two three four five six seven eight nine ten eleven twelve"
_BASES = {name: base for base, name in enumerate(_BASE_NAMES.split(), start=2)}


def read_based(tokens: Sequence[Token]) -> Reading | None:
    """A number with its base, or None. Without its base it is another answer, except base 10."""
    found = _BASED.fullmatch("".join(token.text for token in tokens))
    if not found or not any(character.isdigit() for character in found.group(2)):
        return None
    sign, digits, name = found.group(1), found.group(2), found.group(3) or found.group(4)
    base = int(name) if name.isdecimal() and len(name) < 3 else _BASES.get(name, 0)
    if not 2 <= base <= 36:
        return None
    if base == 10 and digits.replace(".", "").isdigit():
        return number(Fraction(sign + digits))
    try:
        int(digits.replace(".", ""), base)
    except ValueError:
        return None
    return Reading("number in a base", (("base", sign + digits.lstrip("0"), base),))
