"""Reads a whole answer text into a ``Reading``."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from e2h_cli.grading.answer_tokens import FUNCTIONS, ReadError, tokenise
from e2h_cli.grading.keys import Key, number_key
from e2h_cli.grading.normalise import clean
from e2h_cli.grading.reading import REALS, Reading, number
from e2h_cli.grading.structure import LONG_WORD, read_tokens, words

_INTEGER = re.compile(r"[+-]?\d{1,300}")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_SPACED_THOUSANDS = re.compile(r"-?\d{1,3}(?: \d{3})+")
_PROSE = re.compile(r"[A-Za-z0-9 ,.'\"\-:;/()?!&]+")
_TEXT_COMMAND = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|mathrm|mbox)\s*\{([^{}]*)\}")
_MATH_WORDS = FUNCTIONS | {"infinity", "infty", "inf", "pi", "and", "or"}


@lru_cache(maxsize=65_536)
def read(text: str) -> Reading | ReadError:
    """Read one answer; the error is returned, not raised, so that it is remembered as well."""
    try:
        return _read(clean(text))
    except RecursionError:
        return ReadError("nested too deep")
    except ReadError as error:
        return error


def _read(text: str) -> Reading:
    if _INTEGER.fullmatch(text):
        return number(Fraction(int(text)))
    if _SPACED_THOUSANDS.fullmatch(text):
        return number(Fraction(int(text.replace(" ", ""))))
    plain = _TEXT_COMMAND.sub(r"\1", text).strip(" .,;:!")
    prose = bool(_PROSE.fullmatch(plain) and LONG_WORD.search(plain))
    if prose and plain.replace(" ", "").isalpha() and not _MATH_WORDS & set(plain.lower().split()):
        return _words(text, plain)
    try:
        reading = read_tokens(tokenise(text))
    except ReadError:
        if prose:
            return words(plain)
        raise
    if _THOUSANDS.fullmatch(text):
        members = frozenset(number_key(Fraction(int(part))) for part in text.split(","))
        return Reading(reading.kind, reading.keys, (("set", members),), value=reading.value)
    return reading


def _words(text: str, plain: str) -> Reading:
    """A text answer. Three bare letters may be a word or a product, so they get both keys."""
    if plain.lower() in ("all real numbers", "all reals", "real numbers"):
        return Reading("interval", (REALS,))
    reading = words(plain)
    if len(plain) > 3 or "\\" in text:
        return reading
    try:
        product: tuple[Key, ...] = read_tokens(tokenise(text)).keys
    except ReadError:
        product = ()
    return Reading("text", (*reading.keys, *product))
