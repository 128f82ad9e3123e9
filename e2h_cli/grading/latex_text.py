r"""LaTeX answers as plain text (``\frac{1}{2}`` as ``1/2``), as the PRM800K grader needs them."""

from __future__ import annotations

import re

from e2h_cli.grading.normalise import braced

_SYMBOLS = {
    "pi": "pi",
    "infty": "inf",
    "cup": "U",
    "cap": "∩",
    "cdot": "*",
    "times": "*",
    "div": "/",
    "pm": "±",
    "mp": "∓",
    "le": "≤",
    "leq": "≤",
    "ge": "≥",
    "geq": "≥",
    "neq": "≠",
    "in": "∈",
    "to": "→",
    "ldots": "…",
    "dots": "…",
    "circ": "∘",
    "lfloor": "⌊",
    "rfloor": "⌋",
    "lceil": "⌈",
    "rceil": "⌉",
    "langle": "⟨",
    "rangle": "⟩",
    "angle": "∠",
}
_KEPT_NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi rho sigma tau "
    "phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega "
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp min max gcd det"
)
_KEPT = frozenset(_KEPT_NAMES.split())
_COMMAND = re.compile(r"\\([a-zA-Z]+)\s*|\\(.)")
_ATOM = re.compile(r"[A-Za-z0-9.]+")
_MATRIX = re.compile(r"\\begin\s*\{[a-zA-Z]*matrix\}(.*?)\\end\s*\{[a-zA-Z]*matrix\}", re.DOTALL)


def latex_to_text(text: str, flat: bool = False) -> str:
    r"""Convert LaTeX to the text that the PRM800K grader compares.

    Args:
        text: the answer.
        flat: write fractions without parentheses, ``\frac{1+a}{2}`` as ``1+a/2``, as the
            released code does; else the numerator and denominator stay together.
    """
    text = _MATRIX.sub(_matrix, text)
    pieces: list[str] = []
    position = 0
    while position < len(text):
        found = _COMMAND.match(text, position)
        if found is None:
            pieces.append(text[position])
            position += 1
            continue
        position = found.end()
        name = found.group(1)
        if name is None:
            pieces.append(_escaped(found.group(2)))
        elif name in ("frac", "dfrac", "tfrac", "cfrac"):
            above, position = _argument(text, position)
            below, position = _argument(text, position)
            parts = (latex_to_text(above, flat), latex_to_text(below, flat))
            pieces.append("/".join(part if flat else _grouped(part) for part in parts))
        elif name == "sqrt":
            if text[position : position + 1] == "[" and "]" in text[position:]:
                degree, position = text[position + 1 :].split("]")[0], text.index("]", position) + 1
            else:
                degree = "2"
            inner, position = _argument(text, position)
            inner = latex_to_text(inner, flat)
            root = f"sqrt({inner})"
            pieces.append(root if flat or degree == "2" else f"({inner})**(1/({degree}))")
        elif name in ("left", "right"):
            continue
        elif name == "mbox":
            content, position = _argument(text, position)
            pieces.append("" if flat else content)
        elif name in _SYMBOLS:
            pieces.append(_SYMBOLS[name])
        elif name in _KEPT:
            pieces.append(name)
    return "".join(pieces)


def _escaped(character: str) -> str:
    if character in "!,;: >":
        return "" if character == "!" else " "
    return ";" if character == "\\" else character


def _matrix(found: re.Match[str]) -> str:
    return "[" + found.group(1).replace("&", " ") + "]"


def _grouped(text: str) -> str:
    text = text.strip()
    return text if _ATOM.fullmatch(text) else f"({text})"


def _argument(text: str, position: int) -> tuple[str, int]:
    """The argument of a command, and where the text goes on: a group, a command or a character."""
    while text[position : position + 1].isspace():
        position += 1
    if text[position : position + 1] == "{":
        end = braced(text, position)
        if end > 0:
            return text[position + 1 : end], end + 1
    found = _COMMAND.match(text, position)
    if found is not None:
        end = found.end()
        if found.group(1) in ("sqrt", "frac") and text[end : end + 1] == "{":
            end = max(braced(text, end) + 1, end)
        return text[position:end], end
    return text[position : position + 1], position + 1
