"""Tokens of an answer: numbers, symbols, functions, commands, words and single characters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal


class ReadError(Exception):
    """The text is not in the grammar that is read here."""


class TooLargeError(ReadError):
    """The text is readable, but its value is too large to be computed."""


Kind = Literal["number", "symbol", "function", "command", "text", "mark"]


@dataclass(frozen=True, slots=True)
class Token:
    """One token. ``value`` and ``places`` (decimal places) are set for numbers only."""

    kind: Kind
    text: str
    value: Fraction = Fraction(0)
    places: int = 0
    spaced: bool = False
    """Whether white space stood before the token."""


MAX_TOKENS = 600

_FUNCTION_NAMES = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp sqrt"
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_CONSTANTS = {"pi": "\\pi", "infinity": "\\infty", "infty": "\\infty", "inf": "\\infty"}
_SEPARATORS = frozenset({"and", "or"})
_UNIT_NAMES = (
    "cm mm km dm ft in yd mi kg mg lb lbs oz ml sec min hr hrs mph kph deg rad sq cu "
    "am pm units unit inches inch feet foot miles mile meters meter yards yard days day hours "
    "hour minutes minute seconds second degrees degree dollars dollar cents cent percent "
    "square cubic years year weeks week months month gallons grams pounds liters"
)
UNITS = frozenset(_UNIT_NAMES.split())

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | \\(?:text(?:bf|it|rm|normal|sf|tt)?|mathrm|mathsf|mbox|hbox|operatorname\*?)\s*
        \{(?P<content>[^{}]*)\}
    | (?P<whole>\d*)\.(?P<lead>\d*)\\overline\s*(?:\{\s*(?P<cycle>\d+)\s*\}|(?P<digit>\d))
    | (?P<command>\\[a-zA-Z]+)
    | (?P<escape>\\.)
    | (?P<thousands>\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?)
    | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:(?:(?<=^1)e|(?<=\.\d)e|(?<=\.\d\d)e|E)[+-]?\d{1,3})?)
    | (?P<word>[A-Za-z]+)
    | (?P<stars>\*\*)
    | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN = re.compile(r"\d+(?:\.\d*)?|\.\d+")
_OPEN = frozenset({"(", "[", "\\{", "\\langle"})
_CLOSE = frozenset({")", "]", "\\}", "\\rangle"})


def tokenise(text: str) -> list[Token]:
    """Split a cleaned answer into tokens.

    A comma between digits separates thousands outside of brackets (``1,000``) and entries inside
    of them (``(1,000)`` is a pair, as are all MATH answers of that look).

    Raises:
        ReadError: for what is in no answer that this package reads, or too many tokens.
    """
    tokens: list[Token] = []
    level = position = 0
    spaced = False
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise ReadError("unknown character")
        kind = found.lastgroup
        if kind == "thousands" and level > 0:
            found = _PLAIN.match(text, position)
            assert found is not None
            kind = "number"
        piece = found.group()
        position = found.end()
        if kind == "space":
            spaced = True
            continue
        if kind in ("cycle", "digit"):
            tokens.append(_repeating(found, spaced))
        elif kind in ("number", "thousands"):
            tokens.append(_number(piece.replace(",", ""), spaced))
        elif kind == "content":
            tokens.extend(_text(found.group("content"), spaced))
        elif kind == "word":
            tokens.extend(_word(piece, spaced))
        elif kind == "stars":
            tokens.append(Token("mark", "^", spaced=spaced))
        elif kind in ("command", "escape"):
            name = piece[1:]
            if name in FUNCTIONS and name != "sqrt":
                tokens.append(Token("function", name, spaced=spaced))
            else:
                tokens.append(Token("command", piece, spaced=spaced))
        else:
            tokens.append(Token("mark", piece, spaced=spaced))
        if piece in _OPEN:
            level += 1
        elif piece in _CLOSE:
            level -= 1
        spaced = False
        if len(tokens) > MAX_TOKENS:
            raise ReadError("too many tokens")
    return tokens


def _number(digits: str, spaced: bool) -> Token:
    mantissa, _, power = digits.replace("E", "e").partition("e")
    places = len(mantissa.partition(".")[2])
    value = Fraction(mantissa) if mantissa[-1] != "." else Fraction(int(mantissa[:-1]))
    if power:
        value *= Fraction(10) ** int(power)
    return Token("number", digits, value, places, spaced)


def _repeating(found: re.Match[str], spaced: bool) -> Token:
    lead = found.group("lead")
    cycle = found.group("cycle") or found.group("digit")
    unit = Fraction(1, 10 ** len(lead))
    value = Fraction(int(found.group("whole") or 0)) + Fraction(int(lead or 0)) * unit
    value += Fraction(int(cycle), 10 ** len(cycle) - 1) * unit
    return Token("number", found.group(), value, 0, spaced)


def _text(content: str, spaced: bool) -> list[Token]:
    words = content.strip()
    bare = words.rstrip(".")
    if bare in FUNCTIONS:
        return [Token("function", bare, spaced=spaced)]
    if re.fullmatch(r"[A-Za-z]", words):
        return [Token("symbol", words, spaced=spaced)]
    if words.lower().strip(" ,") in _SEPARATORS:
        return [Token("mark", ",", spaced=spaced)]
    if words in (",", ":"):
        return [Token("mark", words, spaced=spaced)]
    return [Token("text", words, spaced=spaced)] if words else []


def _word(word: str, spaced: bool) -> list[Token]:
    lower = word.lower()
    if word in FUNCTIONS:
        return [Token("function", word, spaced=spaced)]
    if lower in _CONSTANTS and word[1:] == lower[1:]:
        return [Token("command", _CONSTANTS[lower], spaced=spaced)]
    if lower in _SEPARATORS:
        return [Token("mark", ",", spaced=spaced)]
    if len(word) >= 4 or (lower in UNITS and spaced):
        return [Token("text", word, spaced=spaced)]
    return [
        Token("symbol", letter, spaced=spaced and index == 0) for index, letter in enumerate(word)
    ]
