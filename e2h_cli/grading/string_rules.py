r"""The rules that compare strings: ``exact``, and ``official``, the paper's released code.

``official`` calls two answers equal if either of two normalisations makes them the same string:
that of Hendrycks et al. for MATH, or that of PRM800K (paper p.5). The released code deletes unit
words inside of other words ("Monday" becomes "mon"), and never reaches PRM800K's sympy step. The
rule ``prm800k`` uses the same normalisations without these quirks (``released=False``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from importlib.metadata import version
from math import isfinite
from typing import Any

from e2h_cli.grading.answer_text import MAX_LENGTH, closing_brace, unwrap
from e2h_cli.grading.verdict import Keys, Rule, Verdict, refused

_UNITS = (
    "degree", "cm", "centimeter", "meter", "mile", "second", "minute", "hour", "day", "week",
    "month", "year", "foot", "feet", "inch", "yard",
)  # fmt: skip
_UNITS_ANYWHERE = [re.compile(rf"{unit}(?:es)?(?:s)? *(?:\^[0-9]+)?") for unit in _UNITS]
_UNIT_WORD = re.compile(
    rf"(?<![A-Za-z])(?:{'|'.join(_UNITS)})(?:es)?s?(?![A-Za-z]) *(?:\^(?:\{{[0-9]+\}}|[0-9]+))?"
)
_TEXT = re.compile(r"\\text\{(.+?)\}")
_SLASH = re.compile(r"(-?(?:0|[1-9]\d*))/(-?(?:0|[1-9]\d*))")
_SCALES = {"trillion": "*10^12", "billion": "*10^9", "million": "*10^6"}
_COMMAS = re.compile(r"(\d),(?=\d\d\d(?:$|\D))")
_PLAIN_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")
_ATOM = re.compile(r"[A-Za-z0-9.]+")


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
        self.version = f"1+pylatexenc-{version('pylatexenc')}"

    def decide(self, gold: str, answer: str) -> Verdict:
        """Grade one pair."""
        if verdict := refused(gold, answer):
            return verdict
        if math_form(gold, released=True) == math_form(answer, released=True):
            return Verdict("right", "equal after the MATH normalisation")
        if prm800k_form(gold, released=True) == prm800k_form(answer, released=True):
            return Verdict("right", "equal after the PRM800K normalisation")
        return Verdict("wrong", "different strings")

    def keys(self, answers: Sequence[str]) -> list[Keys]:
        """Two keys per answer, one per normalisation."""
        return [
            (("unread", answer),)
            if refused(answer, answer)
            else (
                ("m", math_form(answer, released=True)),
                ("p", prm800k_form(answer, released=True)),
            )
            for answer in answers
        ]


@lru_cache(maxsize=65_536)
def math_form(answer: str, released: bool = False) -> str:
    r"""The normalisation of MATH's own code; as released, ``12\text{ and }13`` is 12 and a unit."""
    text = unwrap(answer)
    if match := _TEXT.fullmatch(text):
        text = match[1].strip()
    text = text.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac")
    text = text.replace("\\left", "").replace("\\right", "")
    text = text.replace("^{\\circ}", "").replace("^\\circ", "").replace("\\$", "")
    if "\\text{ " in text:
        head, *rest = text.split("\\text{ ")
        if len(rest) > 1:
            return unwrap(answer)
        if released or not rest[0].startswith(("and", "or")):
            text = head
    text = text.replace("\\%", "").replace(" .", " 0.").replace("{.", "{0.")
    if text.startswith("."):
        text = "0" + text
    sides = text.split("=")
    if len(sides) == 2 and len(sides[0]) <= 2:
        text = sides[1]
    text = re.sub(r"\\sqrt([^{\s])", r"\\sqrt{\1}", text).replace(" ", "")
    text = _braced_fractions(text)
    if text == "0.5":
        return "\\frac{1}{2}"
    slash = _SLASH.fullmatch(text)
    return f"\\frac{{{slash[1]}}}{{{slash[2]}}}" if slash else text


def _braced_fractions(text: str) -> str:
    r"""Write ``\frac12`` and ``\frac1{72}`` with braces, unless an argument is missing."""
    if re.search(r"\\frac(?!\{).?(?=\\frac|\Z)", text, re.DOTALL):
        return text
    text = re.sub(r"\\frac([^{])(?!\{)(.)", r"\\frac{\1}{\2}", text, flags=re.DOTALL)
    return re.sub(r"\\frac([^{])(?=\{)", r"\\frac{\1}", text)


@lru_cache(maxsize=65_536)
def prm800k_form(answer: str, released: bool = False) -> str:
    """The normalisation of the PRM800K grader.

    Unless ``released``, only whole unit words are deleted, and mixed numbers keep their value.
    """
    text = unwrap(answer)
    if match := _TEXT.fullmatch(text):
        text = match[1]
    text = text.replace("\\%", "%").replace("\\$", "$").replace("$", "").replace("%", "")
    text = text.replace(" or ", " , ").replace(" and ", " , ")
    for word, factor in _SCALES.items():
        text = text.replace(word, factor)
    text = _without_units(text, released)
    text = re.sub(r"\^ *\\circ", "", text)
    if not released:
        text = re.sub(r"\^ *\{ *\\circ *\}|°", "", text)
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    text = re.sub(r",\\! *", "", text)
    if not released:
        text = text.replace("{,}", "")
    value = _float(text, released)
    if value is not None and abs(value - round(value)) <= 1e-7:
        text = str(round(value))
    if "\\" in text:
        text = latex_to_text(text, released)
    text = re.sub("- *", "-", text)
    if released:
        text = re.sub("([0-9]) +([0-9])", r"\1+\2", text)
    else:
        text = re.sub(r"\^ *\{([^{}]*)\}", _exponent, text)
        text = re.sub(r"(?<![0-9./])([0-9]+) +([0-9]+/[0-9]+)(?![0-9.])", r"(\1+\2)", text)
    text = text.replace(" ", "").replace("{", "").replace("}", "").lower()
    return str(as_integer(text, released)) if is_integer(text, released) else text


def _exponent(match: re.Match[str]) -> str:
    """``^{2}`` as ``^2``; a longer exponent in brackets, for which sympy is not asked."""
    inner = match[1].strip()
    return f"^{inner}" if inner.isalnum() else f"^({inner})"


def _without_units(text: str, released: bool) -> str:
    if released:
        for unit in _UNITS_ANYWHERE:
            text = unit.sub("", text)
        return text
    bare = _UNIT_WORD.sub("", text)
    return bare if re.search(r"\w", re.sub(r"\\text", "", bare)) else text


def latex_to_text(text: str, released: bool) -> str:
    r"""Convert LaTeX to plain text with pylatexenc, as the PRM800K grader does.

    The released code writes ``\frac{1+a}{2}`` as ``1+a/2``; else it becomes ``(1+a)/2``.
    """
    text = text.replace("\\tfrac", "\\frac").replace("\\dfrac", "\\frac")
    try:
        converted = _converter(released)(text.replace("\\frac", " \\frac"))
    except Exception:  # pylatexenc may raise anything on malformed LaTeX
        return text
    return str(converted).strip()


@lru_cache(maxsize=2)
def _converter(released: bool) -> Callable[[str], Any]:
    from pylatexenc import latex2text, latexwalker

    logging.getLogger("pylatexenc").setLevel(logging.ERROR)  # it warns of malformed LaTeX

    def arguments(node: Any, converter: Any) -> list[str]:
        parts = node.nodeargd.argnlist if node.nodeargd else ()
        return ["" if part is None else converter.nodelist_to_text([part]) for part in parts]

    def fraction(node: Any, l2tobj: Any) -> str:
        parts = arguments(node, l2tobj)
        return "/".join(part if released else _grouped(part) for part in parts)

    def root(node: Any, l2tobj: Any) -> str:
        degree, *inner = arguments(node, l2tobj)
        content = "".join(inner)
        return f"({content})**(1/({degree}))" if degree and not released else f"sqrt({content})"

    symbols = {"pi": "pi", "infty": "inf", "cup": "U", "cdot": "*", "times": "*"}
    functions: dict[str, Any] = {"frac": fraction, "sqrt": root}
    if not released:
        symbols["div"] = "/"
        symbols |= {name: name for name in ("cot", "sec", "csc", "gcd", "det")}
        functions["mbox"] = lambda node, l2tobj: "".join(arguments(node, l2tobj))
    context = latex2text.get_default_latex_context_db()
    macros = [latex2text.MacroTextSpec(*macro) for macro in (symbols | functions).items()]
    context.add_context_category("answers", prepend=True, macros=macros)
    converter = latex2text.LatexNodes2Text(latex_context=context)
    walker = latexwalker.get_default_latex_context_db()  # slow to build
    # Tolerant parsing would take exponential time on nested groups that are not closed.
    return partial(converter.latex_to_text, latex_context=walker, tolerant_parsing=False)


def _grouped(text: str) -> str:
    text = text.strip()
    return text if _ATOM.fullmatch(text) else f"({text})"


def _float(text: str, released: bool) -> float | None:
    """The text as a finite float. Python's own parser takes 1011_2 for 10112, as released."""
    if not released and not _PLAIN_NUMBER.fullmatch(text.strip()):
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def strip_commas(text: str) -> str:
    """Delete the commas between thousands."""
    return _COMMAS.sub(r"\1", text)


def is_integer(text: str, released: bool = False) -> bool:
    """Whether the text is a whole number, with or without commas and zero decimals."""
    value = _float(strip_commas(text), released)
    return value is not None and abs(value - round(value)) <= 1e-7


def as_integer(text: str, released: bool = False) -> int:
    """The whole number that ``is_integer`` found; the released code rounds it to 53 bits."""
    text = strip_commas(text).strip()
    if not released and re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    return int(float(text.replace(",", "")))
