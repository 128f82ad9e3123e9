r"""The text of an answer: wrappers such as ``\boxed{..}`` removed, symbols unified, tokens.

Nothing here costs more than linear time in the length of the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal

from e2h_cli.data.final_answer import closing_brace, stated_answer

MAX_LENGTH = 2_000  # characters of an answer; the longest gold answer of MATH has 159
MAX_SOLUTION = 100_000  # characters of a text that an answer is taken out of
MAX_DEPTH = 50  # brackets; more would overflow a recursive parser
MAX_TOKENS = 600

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\u00ad]")

_UNICODE = str.maketrans({
    "−": "-", "–": "-", "—": "-", "×": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ", "∗": "*",
    "÷": "/", "∕": "/", "⁄": "/", "π": r"\pi ", "∞": r"\infty ", "√": " sqrt ", "°": r"^\circ ",
    "∪": r"\cup ", "∩": r"\cap ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ",
    "±": r"\pm ", "∓": r"\mp ", "∈": r"\in ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}",
    "⟨": r"\langle ", "⟩": r"\rangle ", "¹": "^1", "²": "^2", "³": "^3", "½": r"\frac{1}{2}",
    "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "％": "%", "“": '"', "”": '"', "’": "'", "£": "", "€": "", "¥": "", "¢": r"\text{ cents}",
})  # fmt: skip
_COMMANDS = {
    "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "lvert": "|", "rvert": "|",
    "leq": r"\le", "leqslant": r"\le", "geq": r"\ge", "geqslant": r"\ge", "neq": r"\ne ",
    "lt": "<", "gt": ">", "lbrace": r"\{", "rbrace": r"\}", "backslash": r"\setminus",
    "smallsetminus": r"\setminus", "quad": " ", "qquad": " ",
} | dict.fromkeys((
    "displaystyle", "textstyle", "limits", "nolimits", "angle", "triangle", "phantom", "mathbf",
    "boldsymbol", "bm", "mathit", "mathcal", "vec", "overrightarrow", "pounds", "euro", "yen",
), "")  # fmt: skip
_SPELLINGS: list[tuple[re.Pattern[str], Any]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\d+(?:\{,\}\d+)+", lambda match: _without_braces(match[0])),  # 10{,}000, 25{,}6
        (r"(?<=\d),\s*\\!\s*(?=\d{3}(?!\d))", ""),  # 10,\!000
        (r"(?<=\d)\\[,;:! ]\s*(?=\d{3}(?!\d))", ""),  # 10\,000
        (r"\\(?:left|right|middle)\s*\.", ""),
        (r"\\(?:left|right|middle|[bB]igg?[lrm]?)(?![a-zA-Z])\s*", ""),
        (r"\\!(?![a-zA-Z])", ""),
        (r"(?<!\\)\\[,;:> ]|~", " "),
        (r"(?<=\d)\s*([apAP])\.\s?[mM]\.?", r" \1m"),
        (r"\\([a-zA-Z]+)", lambda match: _COMMANDS.get(match[1], match[0])),
        (r"\^\s*(?:\{\s*\\(?:circ|degree)\s*\}|\\(?:circ|degree)(?![a-zA-Z]))", r"\\degree "),
        (r"\\degree\s*[CF](?![a-zA-Z])", r"\\degree "),
        (r"!=", r"\\ne "),
        (r"<=", r"\\le "),
        (r">=", r"\\ge "),
        (r"\\mathbb\s*(?:\{\s*R\s*\}|R)", r"\\reals "),
        (r"(?<=[)\]}])\s*U\s*(?=[(\[\\])", r"\\cup "),
        (r"\\?\$", ""),
        (r"\s+", " "),
    )
]
_WRAPPERS = [
    re.compile(rf"(?s){opening}(.+){closing}")
    for opening, closing in (
        (r"\$\$", r"\$\$"), (r"(?<!\\)\$", r"(?<!\\)\$"), (r"\\\(", r"\\\)"),
        (r"\\\[", r"\\\]"), (r"\*\*", r"\*\*"), ("`", "`"),
    )
]  # fmt: skip


def unreadable_reason(text: str, limit: int = MAX_LENGTH) -> str | None:
    """Why an answer is not parsed at all (``unreadable``), or None."""
    if len(text) > limit:
        return f"longer than {limit:,} characters"
    if not text.strip():
        return "empty"
    if _CONTROL.search(text):
        return "holds control characters"
    level = deepest = 0  # of round, square and curly brackets alike
    for bracket in re.findall(r"[(\[{)\]}]", text):
        level = level + 1 if bracket in "([{" else max(level - 1, 0)
        deepest = max(deepest, level)
    return f"brackets nested deeper than {MAX_DEPTH}" if deepest > MAX_DEPTH else None


@lru_cache(maxsize=4_096)
def unwrap(text: str) -> str:
    r"""The answer that a text states, without ``$..$``, a final full stop or a backslash."""
    for _ in range(8 if len(text) <= MAX_SOLUTION else 0):
        before = text
        text = text.strip()
        text = stated_answer(text) or text
        if len(text) > 1 and text.endswith(".") and text[-2] not in ".\\":
            text = text[:-1]
        text = text.rstrip("\\ \n")
        for wrapper in _WRAPPERS:
            if match := wrapper.fullmatch(text):
                text = match[1].strip()
        if text.startswith("{") and closing_brace(text, 0) == len(text) - 1:
            text = text[1:-1]
        if text == before:
            break
    return text


@lru_cache(maxsize=65_536)
def clean(text: str) -> str:
    """The unwrapped answer with one spelling per symbol and single spaces."""
    text = unwrap(_INVISIBLE.sub("", text))
    if text.isalnum() and text.isascii():
        return text
    text = text.translate(_UNICODE)
    for pattern, replacement in _SPELLINGS:
        text = pattern.sub(replacement, text)
    return unwrap(text)


def _without_braces(number: str) -> str:
    """The number without the braces around its commas, which separate thousands or decimals."""
    first, *rest = number.split("{,}")
    if len(first) < 4 and first[0] != "0" and all(len(part) == 3 for part in rest):
        return first + "".join(rest)
    return f"{first}.{rest[0]}" if len(rest) == 1 else number.replace("{,}", ",")


class ParseError(Exception):
    """The answer is in no form that this package parses."""


class TooLargeError(ParseError):
    """The answer parses, but its value is too large to compute."""


@dataclass(slots=True)
class Token:
    """One token of an answer."""

    kind: Literal["number", "symbol", "function", "command", "text", "mark"]
    text: str
    value: Fraction = Fraction(0)  # of a number
    spaced: bool = False  # whether white space stood before the token


_FUNCTION_NAMES = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp sqrt"
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_CONSTANTS = {"pi": "\\pi", "infinity": "\\infty", "infty": "\\infty", "inf": "\\infty"}
_UNIT_NAMES = (  # of up to three letters; longer words are text anyway
    "cm mm km dm ft in yd mi kg mg lb lbs oz ml sec min hr hrs mph kph deg rad sq cu am pm day"
)
_UNITS = frozenset(_UNIT_NAMES.split())
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | \\(?:text(?:bf|it|rm|normal|sf|tt)?|mathrm|mathsf|mbox|hbox|operatorname\*?)\s*
        \{(?P<content>[^{}]*)\}
    | (?P<whole>\d*)\.(?P<lead>\d*)\\overline\s*(?:\{\s*(?P<cycle>\d+)\s*\}|(?P<digit>\d))
    | (?P<command>\\[a-zA-Z]+)
    | (?P<escape>\\.)
    | (?P<thousands>[1-9]\d{0,2}(?:,\d{3})+(?!\d)(?:\.\d+)?)
    | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:(?:(?<=^1)e|(?<=\.\d)e|(?<=\.\d\d)e|E)[+-]?\d{1,3})?)
    | (?P<word>[A-Za-z]+)
    | (?P<stars>\*\*)
    | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_WITHOUT_COMMAS = re.compile(r"(?P<number>\d+(?:\.\d*)?|\.\d+)")


def tokenize(text: str) -> list[Token]:
    """Split a cleaned answer into tokens.

    ``1,000`` is a thousand, but ``(1,000)`` a pair, as all MATH answers that look like this.
    """
    tokens: list[Token] = []
    level = position = 0
    spaced = False
    while match := _TOKEN.match(text, position):
        if match.lastgroup == "thousands" and level > 0:
            match = _WITHOUT_COMMAS.match(text, position) or match
        position = match.end()
        if match.lastgroup == "space":
            spaced = True
            continue
        new = _tokens_of(match, spaced)
        if new:
            new[0].spaced = spaced
            tokens += new
        level += match[0] in ("(", "[", "\\{", "\\langle")
        level -= match[0] in (")", "]", "\\}", "\\rangle")
        spaced = False
        if len(tokens) > MAX_TOKENS:
            raise ParseError("too many tokens")
    return tokens


def _tokens_of(match: re.Match[str], spaced: bool) -> list[Token]:
    piece = match[0]
    match match.lastgroup:
        case "cycle" | "digit":
            return [_repeating_decimal(match)]
        case "number" | "thousands":
            return [_number(piece.replace(",", ""))]
        case "content":
            return _text_command(match["content"].strip())
        case "word":
            return _word(piece, spaced)
        case "command" | "escape" if piece[1:] in FUNCTIONS and piece != "\\sqrt":
            return [Token("function", piece[1:])]
        case "command" | "escape":
            return [Token("command", piece)]
    return [Token("mark", "^" if piece == "**" else piece)]


def _number(digits: str) -> Token:
    mantissa, _, power = digits.replace("E", "e").partition("e")
    value = Fraction(mantissa.removesuffix("."))
    if power:
        value *= Fraction(10) ** int(power)
    return Token("number", digits, value)


def _repeating_decimal(match: re.Match[str]) -> Token:
    lead = match["lead"]
    cycle = match["cycle"] or match["digit"]
    unit = Fraction(1, 10 ** len(lead))
    value = Fraction(int(match["whole"] or 0)) + Fraction(int(lead or 0)) * unit
    value += Fraction(int(cycle), 10 ** len(cycle) - 1) * unit
    return Token("number", match[0], value)


def _text_command(words: str) -> list[Token]:
    bare = words.rstrip(".")
    if bare in FUNCTIONS:
        return [Token("function", bare)]
    if re.fullmatch(r"[A-Za-z]", words):
        return [Token("symbol", words)]
    if words.lower().strip(" ,") in ("and", "or"):
        return [Token("mark", ",")]
    if words in (",", ":"):
        return [Token("mark", words)]
    return [Token("text", words)] if words else []


def _word(word: str, spaced: bool) -> list[Token]:
    lower = word.lower()
    if word in FUNCTIONS:
        return [Token("function", word)]
    if lower in _CONSTANTS and word[1:] == lower[1:]:
        return [Token("command", _CONSTANTS[lower])]
    if lower in ("and", "or"):
        return [Token("mark", ",")]
    if len(word) >= 4 or (lower in _UNITS and spaced):
        return [Token("text", word)]
    return [Token("symbol", letter) for letter in word]
