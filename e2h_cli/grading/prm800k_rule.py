"""The rules ``prm800k`` (the paper's grader, p.5) and ``official`` (what its code really does).

``official`` calls two answers equal when either normalisation makes them the same string.
``prm800k`` goes on where the released code stops: entry by entry, whole numbers and fractions
must be the same string (so fractions must be reduced), and for the rest sympy has to show that
the difference is zero. sympy sees a tree built by our own parser, never text to evaluate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import version
from math import gcd

from e2h_cli.grading.answer_tokens import ReadError, Token, tokenise
from e2h_cli.grading.keys import Key
from e2h_cli.grading.prm_normal import hendrycks, is_integer, prm800k, strip_commas
from e2h_cli.grading.reading import Reading, scalar
from e2h_cli.grading.rule import Question, refused
from e2h_cli.grading.verdict import Verdict

_BRACKETS = "()[]"
_FRACTION = re.compile(r"-?[0-9]+/0*[1-9][0-9]*")
_REFUSED = re.compile(r"\^\{|\^\(|\^[0-9]+\^|\^[0-9][0-9]+")
_NAMES = re.compile(r"(?<=[a-z])(?=(?:sqrt|pi)(?![a-z]))|(?<=pi)(?=[a-z])")
"""Where a name starts or ends inside of a run of letters that has lost its spaces."""

MAX_LETTERS = 2
"""sympy is not asked about more unknown letters than this (PRM800K grader)."""


class Unsettled(Exception):
    """The numbers agree to 25 digits; sympy has to confirm it."""


class OfficialRule:
    """The released code of the paper: two string normalisations, no sympy."""

    name = "official"
    version = "1"

    def decide(self, gold: str, answer: str) -> Verdict:
        """Judge one pair."""
        verdict = refused(gold, answer)
        if verdict is not None:
            return verdict
        if hendrycks(gold, released=True) == hendrycks(answer, released=True):
            return Verdict("right", "equal after the MATH normalisation")
        if prm800k(gold, released=True) == prm800k(answer, released=True):
            return Verdict("right", "equal after the PRM800K normalisation")
        return Verdict("wrong", "different strings")

    def keys(self, answers: Sequence[str]) -> list[tuple[Key, ...]]:
        """Two keys per answer, one per normalisation."""
        return [
            (("unread", answer),)
            if refused(answer, answer)
            else (
                ("m", hendrycks(answer, released=True)),
                ("p", prm800k(answer, released=True)),
            )
            for answer in answers
        ]

    def doubtful(self, answers: Sequence[str]) -> list[tuple[int, int]]:
        """Nothing is left open."""
        return []


class Prm800kRule:
    """The PRM800K grader with its guarded sympy step, unit words deleted as whole words only."""

    name = "prm800k"

    def __init__(self) -> None:
        self.version = f"1+sympy-{version('sympy')}"

    def decide(self, gold: str, answer: str) -> Verdict | Question:
        """Judge one pair, or ask sympy about it."""
        verdict = refused(gold, answer)
        if verdict is not None:
            return verdict
        try:
            return compare(gold, answer, _numerically_equal)
        except Unsettled:
            return Question("sympy", gold, answer)

    def keys(self, answers: Sequence[str]) -> list[tuple[Key, ...]]:
        """String keys and, where sympy may be asked, a key of the value."""
        return [_keys(answer) for answer in answers]

    def doubtful(self, answers: Sequence[str]) -> list[tuple[int, int]]:
        """Nothing is left open: values are compared by their 25 digits."""
        return []


def compare(gold: str, answer: str, equal: Callable[[str, str], bool]) -> Verdict:
    """Judge a pair; ``equal`` says whether two normalised entries have the same value."""
    if hendrycks(gold) == hendrycks(answer) != "":
        return Verdict("right", "equal after the MATH normalisation")
    expected, given = prm800k(gold), prm800k(answer)
    if expected == given:
        return Verdict("right", "equal after the PRM800K normalisation")
    if not given:
        return Verdict("wrong", "nothing left after normalisation")
    wanted, found = entries(expected), entries(given)
    if len(wanted) > 1 and (expected[0] != given[0] or expected[-1] != given[-1]):
        return Verdict("wrong", "different brackets")
    if len(wanted) != len(found):
        return Verdict("wrong", "different number of entries")
    for a, b in zip(wanted, found, strict=True):
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
        inner = text[1:-1]
        if not any(bracket in inner for bracket in _BRACKETS):
            return inner.split(",")
        parts = _split(inner)
        if parts is not None and len(parts) > 1:
            return parts
    return [text]


def _split(inner: str) -> list[str] | None:
    """Split at commas outside of brackets; None if the brackets do not match."""
    parts = [""]
    level = 0
    for character in inner:
        level += (character in "([") - (character in ")]")
        if level < 0:
            return None
        if character == "," and level == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts if level == 0 else None


def may_evaluate(text: str) -> bool:
    """Whether the PRM800K grader would give this to sympy: few letters, no towers of powers."""
    letters = {c for c in text.replace("sqrt", "").replace("frac", "") if c.isalpha()}
    return len(letters) <= MAX_LETTERS and not _REFUSED.search(text)


def entry_tokens(entry: str) -> list[Token]:
    """The tokens of a normalised entry.

    Raises:
        ReadError: if it has none that are known.
    """
    return tokenise(_NAMES.sub(" ", entry))


@lru_cache(maxsize=65_536)
def value(entry: str) -> Reading | None:
    """The value of a normalised entry, or None."""
    try:
        return scalar(entry_tokens(entry))
    except (ReadError, RecursionError):
        return None


def _numerically_equal(a: str, b: str) -> bool:
    """Whether two entries have the same value.

    Raises:
        Unsettled: if they agree, but rounding was involved.
    """
    first, second = value(a), value(b)
    if first is None or second is None or first.key != second.key:
        return False
    if not (first.exact and second.exact):
        raise Unsettled
    return True


def _keys(answer: str) -> tuple[Key, ...]:
    if refused(answer, answer):
        return (("unread", answer),)
    text = prm800k(answer)
    keys: list[Key] = [("m", hendrycks(answer)), ("p", text)]
    parts = entries(text)
    values = [_entry_key(part) for part in parts]
    if all(key is not None for key in values):
        keys.append(("v", text[0] + text[-1] if len(parts) > 1 else "", tuple(values)))
    return tuple(keys)


def _entry_key(entry: str) -> Key | None:
    if is_integer(entry):
        return ("whole", entry)
    if _FRACTION.fullmatch(entry):
        above, below = (int(part) for part in entry.split("/"))
        if gcd(above, below) != 1:
            return ("unreduced", entry)
    elif not may_evaluate(entry):
        return ("string", entry)
    reading = value(entry)
    return ("value", reading.key) if reading is not None else ("string", entry)
