r"""The rules that compare strings: ``exact``, and ``official``, the paper's released code.

``official`` calls two answers equal if either of two normalisations makes them the same string:
that of Hendrycks et al. for MATH, or that of PRM800K (paper p.5). Both are done step by step as in
their code, with its oddities: "Monday" becomes "mon", and ``1011_2`` the number 10112.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from importlib.metadata import version
from typing import Any

from e2h_cli.data.final_answer import closing_brace
from e2h_cli.grading.answer_text import MAX_LENGTH
from e2h_cli.grading.verdict import Keys, Rule, Verdict, refused

_UNITS = (
    "degree", "cm", "centimeter", "meter", "mile", "second", "minute", "hour", "day", "week",
    "month", "year", "foot", "feet", "inch", "yard",
)  # fmt: skip
_UNIT = [re.compile(rf"{unit}(?:es)?(?:s)? *(?:\^[0-9]+)?") for unit in _UNITS]
_TEXT = re.compile(r"\\text\{(.+?)\}")
_SLASH = re.compile(r"(0|-?[1-9][0-9]*)/(0|-?[1-9][0-9]*)")
_COMMAS = re.compile(r"(\d),(?=\d\d\d(?:$|\D))")
_REPLACED = [  # by the MATH normalisation, in this order
    ("\n", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac"), ("\\left", ""),
    ("\\right", ""), ("^{\\circ}", ""), ("^\\circ", ""), ("\\$", ""),
]  # fmt: skip
_REPLACED_PRM800K = [
    ("\\%", "%"), ("\\$", "$"), ("$", ""), ("%", ""), (" or ", " , "), (" and ", " , "),
    ("million", "*10^6"), ("billion", "*10^9"), ("trillion", "*10^12"),
]  # fmt: skip
_PLAIN_NAMES = {"√": "sqrt", "π": "pi", "∞": "inf", "∪": "U", "·": "*", "×": "*"}


class ExactRule(Rule):
    """Equal strings, apart from white space and wrappers."""

    name = "exact"
    version = "1"

    def decide(self, gold: str, answer: str) -> Verdict:
        """Grade one pair by comparing two strings."""
        if len(answer) > MAX_LENGTH or len(gold) > MAX_LENGTH:
            return Verdict("unreadable", f"longer than {MAX_LENGTH:,} characters")
        form = exact_form(answer)
        if not form:
            return Verdict("unreadable", "empty")
        if form == exact_form(gold):
            return Verdict("right", "equal after normalisation")
        return Verdict("wrong", "different strings")

    def keys(self, answers: Sequence[str]) -> list[Keys]:
        """One key per answer: its string."""
        return [(exact_form(answer[: MAX_LENGTH + 1]),) for answer in answers]


def exact_form(text: str) -> str:
    r"""The text without white space, and without ``$..$`` or ``\boxed{..}`` around it."""
    text = "".join(text.split())
    while True:
        if len(text) > 2 and text[0] == text[-1] == "$":
            text = text.strip("$")
        elif text.startswith("\\boxed{") and closing_brace(text, 6) == len(text) - 1:
            text = text[7:-1]
        else:
            return text


class OfficialRule(Rule):
    """The released code of the paper: two string normalisations, no sympy."""

    name = "official"

    def __init__(self) -> None:
        self.version = f"2+pylatexenc-{version('pylatexenc')}"

    def decide(self, gold: str, answer: str) -> Verdict:
        """Grade one pair."""
        return refused(gold, answer) or compare_strings(gold, answer)

    def keys(self, answers: Sequence[str]) -> list[Keys]:
        """Two keys per answer, one per normalisation."""
        return [
            (("unread", answer),)
            if refused(answer, answer)
            else (("m", math_form(answer)), ("p", prm800k_form(answer)))
            for answer in answers
        ]


def compare_strings(gold: str, answer: str) -> Verdict:
    """Whether one of the two normalisations makes a pair the same string."""
    if math_form(gold) == math_form(answer):
        return Verdict("right", "equal after the MATH normalisation")
    if prm800k_form(gold) == prm800k_form(answer):
        return Verdict("right", "equal after the PRM800K normalisation")
    return Verdict("wrong", "different strings")


@lru_cache(maxsize=65_536)
def math_form(answer: str) -> str:
    """The normalisation of MATH's own code; text that it stumbles over stays as it is."""
    answer = answer.strip()
    if match := _TEXT.fullmatch(answer):
        answer = match[1].strip()
    text = answer
    for old, new in _REPLACED:
        text = text.replace(old, new)
    text, unit, rest = text.partition("\\text{ ")
    if unit and "\\text{ " in rest:
        return answer
    text = text.replace("\\%", "").replace(" .", " 0.").replace("{.", "{0.")
    if text.startswith("."):
        text = "0" + text
    sides = text.split("=")
    if len(sides) == 2 and len(sides[0]) <= 2:
        text = sides[1]
    if re.search(r"\\sqrt\Z|\\sqrt(?=\\sqrt)", text):
        return answer
    text = re.sub(r"\\sqrt([^{])", r"\\sqrt{\1}", text, flags=re.DOTALL).replace(" ", "")
    if re.search(r"\\frac(?:\Z|\\frac)", text):
        return answer
    text = _braced_fractions(text)
    if text == "0.5":
        return "\\frac{1}{2}"
    slash = _SLASH.fullmatch(text)
    return f"\\frac{{{slash[1]}}}{{{slash[2]}}}" if slash else text


def _braced_fractions(text: str) -> str:
    r"""Write ``\frac12`` and ``\frac1{72}`` with braces, unless an argument is missing."""
    done, *parts = text.split("\\frac")
    for part in parts:
        if part[0] != "{":
            if len(part) < 2:
                return text
            second = part[1:] if part[1] == "{" else f"{{{part[1]}}}{part[2:]}"
            part = f"{{{part[0]}}}{second}"
        done += "\\frac" + part
    return done


@lru_cache(maxsize=65_536)
def prm800k_form(answer: str) -> str:
    """The normalisation of the PRM800K grader."""
    match = _TEXT.fullmatch(answer)
    text = match[1] if match else answer
    for old, new in _REPLACED_PRM800K:
        text = text.replace(old, new)
    for unit in _UNIT:
        text = unit.sub("", text)
    text = re.sub(r"\^ *\\circ", "", text)
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    text = re.sub(r",\\! *", "", text)
    value = _whole(text)
    text = latex_to_text(text) if value is None else str(value)
    text = re.sub("([0-9]) +([0-9])", r"\1+\2", re.sub("- *", "-", text))
    text = text.replace(" ", "").replace("{", "").replace("}", "").lower()
    return str(int(float(text.replace(",", "")))) if is_integer(text) else text


def latex_to_text(text: str) -> str:
    """Convert LaTeX to plain text with pylatexenc, as the PRM800K grader does."""
    if "\\" not in text:
        return text
    latex = text.replace("\\tfrac", "\\frac").replace("\\dfrac", "\\frac")
    try:
        plain = str(_converter()(latex.replace("\\frac", " \\frac")))
    except Exception:  # pylatexenc may raise anything on malformed LaTeX
        return text
    for symbol, name in _PLAIN_NAMES.items():
        plain = plain.replace(symbol, name)
    return plain.strip()


@lru_cache(maxsize=1)
def _converter() -> Callable[[str], Any]:
    from pylatexenc import latex2text, latexwalker

    logging.getLogger("pylatexenc").setLevel(logging.ERROR)  # it warns of malformed LaTeX
    walker = latexwalker.get_default_latex_context_db()  # slow to build
    # Tolerant parsing would take exponential time on nested groups that are not closed.
    convert = latex2text.LatexNodes2Text().latex_to_text
    return partial(convert, latex_context=walker, tolerant_parsing=False)


def _whole(text: str) -> int | None:
    """The whole number that the text is to 1e-7, or None. Python takes ``1011_2`` for 10112."""
    try:
        value = float(text)
        return round(value) if abs(value - round(value)) <= 1e-7 else None
    except (ValueError, OverflowError):  # OverflowError: infinity
        return None


def strip_commas(text: str) -> str:
    """Delete the commas between thousands."""
    return _COMMAS.sub(r"\1", text)


def is_integer(text: str) -> bool:
    """Whether the text is a whole number, with or without commas and zero decimals."""
    return _whole(strip_commas(text)) is not None
