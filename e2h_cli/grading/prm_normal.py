r"""The two normalisations of the PRM800K grader (paper p.5), written from their description.

The first is that of Hendrycks et al. for MATH; the second is PRM800K's own. The paper's released
code has both, and it deletes unit words inside of other words ("Monday" becomes "mon").
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import isfinite

from e2h_cli.grading.latex_text import latex_to_text
from e2h_cli.grading.normalise import unwrap

_UNIT_NAMES = (
    "degree cm centimeter meter mile second minute hour day week month year foot feet inch yard"
)
_UNITS = _UNIT_NAMES.split()
_INSIDE = [re.compile(rf"{unit}(?:es)?(?:s)? *(?:\^[0-9]+)?") for unit in _UNITS]
_WHOLE = re.compile(
    rf"(?<![A-Za-z])(?:{'|'.join(_UNITS)})(?:es)?s?(?![A-Za-z]) *(?:\^(?:\{{[0-9]+\}}|[0-9]+))?"
)
_TEXT = re.compile(r"\\text\{(.+?)\}")
_SLASH = re.compile(r"(-?(?:0|[1-9]\d*))/(-?(?:0|[1-9]\d*))")
_SCALES = {"trillion": "*10^12", "billion": "*10^9", "million": "*10^6"}
_COMMAS = re.compile(r"(\d),(?=\d\d\d(?:$|\D))")
_PLAIN_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?")


@lru_cache(maxsize=65_536)
def hendrycks(answer: str, released: bool = False) -> str:
    r"""The normalisation of the MATH data set's own code.

    Args:
        answer: the answer.
        released: take ``12\text{ and }13`` for 12 with a unit, as the released code does.
    """
    text = unwrap(answer)
    found = _TEXT.fullmatch(text)
    if found:
        text = found.group(1).strip()
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
    return f"\\frac{{{slash.group(1)}}}{{{slash.group(2)}}}" if slash else text


def _braced_fractions(text: str) -> str:
    r"""Write ``\frac12`` and ``\frac1{72}`` with braces."""
    head, *rest = text.split("\\frac")
    pieces = [head]
    for piece in rest:
        if piece.startswith("{"):
            pieces.append(piece)
        elif len(piece) < 2:
            return text
        elif piece[1] == "{":
            pieces.append(f"{{{piece[0]}}}{piece[1:]}")
        else:
            pieces.append(f"{{{piece[0]}}}{{{piece[1]}}}{piece[2:]}")
    return "\\frac".join(pieces)


@lru_cache(maxsize=65_536)
def prm800k(answer: str, released: bool = False) -> str:
    """The normalisation of the PRM800K grader.

    Args:
        answer: the answer.
        released: do as the paper's released code does, quirks included; else unit words are
            deleted as whole words only, and fractions and mixed numbers keep their value.
    """
    text = unwrap(answer)
    found = _TEXT.fullmatch(text)
    if found:
        text = found.group(1)
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
    text = _whole_float(text, released)
    if "\\" in text:
        text = latex_to_text(
            text.replace("\\dfrac", "\\frac").replace("\\frac", " \\frac"), released
        )
        text = text.strip()
    text = re.sub("- *", "-", text)
    if not released:
        text = re.sub(r"\^ *\{([^{}]*)\}", _exponent, text)
    if released:
        text = re.sub("([0-9]) +([0-9])", r"\1+\2", text)
    else:
        text = re.sub(r"(?<![0-9./])([0-9]+) +([0-9]+/[0-9]+)(?![0-9.])", r"(\1+\2)", text)
    text = text.replace(" ", "").replace("{", "").replace("}", "").lower()
    return str(as_integer(text, released)) if is_integer(text, released) else text


def _exponent(found: re.Match[str]) -> str:
    """``^{2}`` as ``^2``; what is longer keeps together, and sympy is not asked about it."""
    inner = found.group(1).strip()
    return f"^{inner}" if inner.isalnum() else f"^({inner})"


def _without_units(text: str, released: bool) -> str:
    if released:
        for unit in _INSIDE:
            text = unit.sub("", text)
        return text
    bare = _WHOLE.sub("", text)
    return bare if re.search(r"\w", re.sub(r"\\text", "", bare)) else text


def _whole_float(text: str, released: bool) -> str:
    value = _float(text, released)
    return str(round(value)) if value is not None and abs(value - round(value)) <= 1e-7 else text


def _float(text: str, released: bool) -> float | None:
    """The text as a finite float. Python's own reading takes 1011_2 for 10112, as released."""
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
