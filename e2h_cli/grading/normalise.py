"""Light, shared clean-up of answer texts: wrappers off, spellings of the same symbol made one.

Nothing here decides a verdict, and nothing here costs more than linear time in the text.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_LENGTH = 2_000
"""Longest text that is read, in characters; the longest gold answer of MATH has 159."""

MAX_DEPTH = 50
"""Deepest nesting of brackets that is read; more would overflow a recursive reader."""

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]")
_OPENING = re.compile(r"[(\[{]")

_UNICODE = {
    "−": "-",
    "–": "-",
    "—": "-",
    "×": r"\times ",
    "⋅": r"\cdot ",
    "·": r"\cdot ",
    "∗": "*",
    "÷": "/",
    "∕": "/",
    "⁄": "/",
    "π": r"\pi ",
    "∞": r"\infty ",
    "√": " sqrt ",
    "°": r"^\circ ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "≈": r"\approx ",
    "±": r"\pm ",
    "∓": r"\mp ",
    "∈": r"\in ",
    "∅": r"\emptyset ",
    "ℝ": r"\mathbb{R}",
    "⟨": r"\langle ",
    "⟩": r"\rangle ",
    "¹": "^1",
    "²": "^2",
    "³": "^3",
    "½": r"\frac{1}{2}",
    "⅓": r"\frac{1}{3}",
    "⅔": r"\frac{2}{3}",
    "¼": r"\frac{1}{4}",
    "¾": r"\frac{3}{4}",
    "％": "%",
    "“": '"',
    "”": '"',
    "’": "'",
    "£": "",
    "€": "",
    "¥": "",
    "¢": r"\text{ cents}",
}
_UNICODE_TABLE = str.maketrans(_UNICODE)

_SAME = [
    (re.compile(r"(?<=\d)\{,\}(?=\d{3})"), ""),  # 10{,}000
    (re.compile(r"(?<=\d),\s*\\[!,;: ]\s*(?=\d{3}(?!\d))"), ""),  # 10,\!000
    (re.compile(r"(?<=\d)\\[,;:! ]\s*(?=\d{3}(?!\d))"), ""),  # 10\,000
    (re.compile(r"\\(?:left|right|middle)\s*\."), ""),
    (re.compile(r"\\(?:left|right|middle|[bB]ig{1,2}[lrm]?)(?![a-zA-Z])\s*"), ""),
    (re.compile(r"\\(?:displaystyle|textstyle|limits|nolimits|!)(?![a-zA-Z])"), ""),
    (re.compile(r"\\(?:quad|qquad)(?![a-zA-Z])|(?<!\\)\\[,;:> ]|~"), " "),
    (re.compile(r"\\(?:angle|triangle|phantom)(?![a-zA-Z])"), ""),
    (re.compile(r"(?<=\d)\s*([apAP])\.\s?[mM]\.?"), r" \1m"),
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\(?:mathbf|boldsymbol|bm|mathit|mathcal|vec|overrightarrow)(?![a-zA-Z])"), ""),
    (
        re.compile(r"\^\s*(?:\{\s*\\(?:circ|degree)\s*\}|\\(?:circ|degree)(?![a-zA-Z]))"),
        r"\\degree ",
    ),
    (re.compile(r"\\degree\s*[CF](?![a-zA-Z])"), r"\\degree "),
    (re.compile(r"\\(?:l|r)vert(?![a-zA-Z])"), "|"),
    (re.compile(r"\\(?:leq|leqslant)(?![a-zA-Z])"), r"\\le"),
    (re.compile(r"\\(?:geq|geqslant)(?![a-zA-Z])"), r"\\ge"),
    (re.compile(r"\\neq(?![a-zA-Z])|!="), r"\\ne "),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"\\lt(?![a-zA-Z])"), "<"),
    (re.compile(r"\\gt(?![a-zA-Z])"), ">"),
    (re.compile(r"\\(?:lbrace)(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![a-zA-Z])"), r"\\}"),
    (re.compile(r"\\(?:pounds|euro|yen)(?![a-zA-Z])"), ""),
    (re.compile(r"\\mathbb\s*(?:\{\s*R\s*\}|R)"), r"\\reals "),
    (re.compile(r"(?<=[)\]}])\s*U\s*(?=[(\[\\])"), r"\\cup "),
    (re.compile(r"\\(?:backslash|smallsetminus)(?![a-zA-Z])"), r"\\setminus"),
    (re.compile(r"\\?\$"), ""),
    (re.compile(r"\s+"), " "),
]

_WRAPPERS = [
    re.compile(r"\$\$(.+)\$\$", re.DOTALL),
    re.compile(r"(?<!\\)\$(.+)(?<!\\)\$", re.DOTALL),
    re.compile(r"\\\((.+)\\\)", re.DOTALL),
    re.compile(r"\\\[(.+)\\\]", re.DOTALL),
    re.compile(r"\*\*(.+)\*\*", re.DOTALL),
    re.compile(r"`(.+)`", re.DOTALL),
]
_LEAD = re.compile(r"(?:the\s+)?(?:final\s+)?answer\s*(?:is\s*:?|:)\s*", re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")


def refusal(text: str) -> str | None:
    """Why a text is not read at all (``unreadable``), or None. Costs linear time at most."""
    if len(text) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH:,} characters"
    if not text.strip():
        return "empty"
    if _CONTROL.search(text):
        return "holds control characters"
    if len(_OPENING.findall(text)) > MAX_DEPTH and depth(text) > MAX_DEPTH:
        return f"brackets nested deeper than {MAX_DEPTH}"
    return None


def depth(text: str) -> int:
    """The deepest nesting of round, square and curly brackets, matched by count only."""
    level = deepest = 0
    for character in text:
        if character in "([{":
            level += 1
            deepest = max(deepest, level)
        elif character in ")]}":
            level = max(level - 1, 0)
    return deepest


def braced(text: str, start: int) -> int:
    """The index of the brace that closes the one at ``start``, or -1."""
    level = 0
    for index in range(start, len(text)):
        if text[index] == "{":
            level += 1
        elif text[index] == "}":
            level -= 1
            if level == 0:
                return index
    return -1


def unwrap(text: str) -> str:
    r"""The answer without what stands around it: ``$..$``, ``\boxed{..}``, a final full stop."""
    for _ in range(8):
        before = text
        text = text.strip()
        if len(text) > 1 and text.endswith(".") and text[-2] not in ".\\":
            text = text[:-1].rstrip()
        for wrapper in _WRAPPERS:
            found = wrapper.fullmatch(text)
            if found:
                text = found.group(1).strip()
        boxes = list(_BOX.finditer(text))
        if boxes:
            end = braced(text, boxes[-1].end() - 1)
            if end > 0:
                text = text[boxes[-1].end() : end].strip()
        if text.startswith("{") and braced(text, 0) == len(text) - 1:
            text = text[1:-1]
        lead = _LEAD.match(text)
        if lead:
            text = text[lead.end() :]
        if text == before:
            break
    return text


@lru_cache(maxsize=65_536)
def clean(text: str) -> str:
    """The unwrapped answer with one spelling per symbol and single spaces."""
    text = unwrap(_INVISIBLE.sub("", text))
    if text.isalnum() and text.isascii():
        return text
    text = text.translate(_UNICODE_TABLE)
    for pattern, replacement in _SAME:
        text = pattern.sub(replacement, text)
    return unwrap(text)
