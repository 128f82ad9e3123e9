"""Parses a whole answer: lists, tuples, intervals, sets, matrices, ratios, relations, words."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import chain

from e2h_cli.grading.answer_text import FUNCTIONS, ParseError, Token, clean, tokenize
from e2h_cli.grading.expression_value import Key, key_value, number_key
from e2h_cli.grading.parsed_answer import (
    EMPTY_SET,
    REALS,
    RELATIONS,
    ParsedAnswer,
    bound,
    equation,
    inequality,
    interval,
    name_of,
    number,
    reals_without,
    scalar,
    set_key,
    text_of,
    union,
)

_INTEGER = re.compile(r"[+-]?\d{1,300}|-?\d{1,3}(?: \d{3})+")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,[1-9]\d\d)+")  # which may also be a list
_DECIMAL_COMMA = re.compile(r"(-?\d+),(\d+)")
_PROSE = re.compile(r"[A-Za-z0-9 ,.'\"\-:;/()?!&]+")
_LONG_WORD = re.compile(r"[A-Za-z]{3,}")
_TEXT_COMMAND = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|mathrm|mbox)\s*\{([^{}]*)\}")
_MATH_WORDS = FUNCTIONS | {"infinity", "infty", "inf", "pi", "and", "or"}
_OPENING = {"(": "(", "[": "[", "\\{": "{", "\\langle": "("}
_CLOSING = {")": ")", "]": "]", "\\}": "}", "\\rangle": ")"}
_MATRICES = frozenset({"pmatrix", "bmatrix", "matrix", "Bmatrix", "array", "smallmatrix"})
_IN_BASE = re.compile(r"(-?)([0-9A-Z]+(?:\.[0-9A-Z]+)?)_(?:\{(\w+)\}|(\w+))")
_BASE_NAMES = "two three four five six seven eight nine ten eleven twelve"
_BASES = {name: base for base, name in enumerate(_BASE_NAMES.split(), start=2)}


@lru_cache(maxsize=65_536)
def parse_answer(text: str) -> ParsedAnswer | ParseError:
    """Parse one answer. The error is returned, not raised, so that it is cached as well."""
    try:
        return _parse(clean(text))
    except RecursionError:
        return ParseError("nested too deep")
    except ParseError as error:
        return error


def _parse(text: str) -> ParsedAnswer:
    if _INTEGER.fullmatch(text):
        return number(Fraction(int(text.replace(" ", ""))))
    plain = _TEXT_COMMAND.sub(r"\1", text).strip(" .,;:!")
    prose = bool(_PROSE.fullmatch(plain) and _LONG_WORD.search(plain))
    if prose and plain.replace(" ", "").isalpha() and not _MATH_WORDS & set(plain.lower().split()):
        return _prose(text, plain)
    try:
        parsed = parse_tokens(tokenize(text))
    except ParseError:
        if prose:
            return _words(plain)
        raise
    if _THOUSANDS.fullmatch(text):
        members = frozenset(number_key(Fraction(int(part))) for part in text.split(","))
        return replace(parsed, loose=(("set", members),))
    if (match := _DECIMAL_COMMA.fullmatch(text)) and parsed.kind == "list":
        decimal = number(Fraction(f"{match[1]}.{match[2]}"))
        return replace(parsed, loose=(*parsed.loose, decimal.key))
    return parsed


def _prose(text: str, plain: str) -> ParsedAnswer:
    """A text answer. Three bare letters may be a word or a product, so they get both keys."""
    if plain.lower() in ("all real numbers", "all reals", "real numbers"):
        return ParsedAnswer("interval", (REALS,))
    keys = _words(plain).keys
    if len(plain) == 3 and "\\" not in text:
        with suppress(ParseError):
            keys = (*keys, *parse_tokens(tokenize(text)).keys)
    return ParsedAnswer("text", keys)


def _words(content: str) -> ParsedAnswer:
    """A text answer, compared without case and with single spaces."""
    return ParsedAnswer("text", (("text", " ".join(content.casefold().split())),))


def parse_tokens(tokens: list[Token]) -> ParsedAnswer:
    """Parse the tokens of a whole answer; raises ``ParseError``."""
    if tokens and all(token.kind == "text" for token in tokens):
        if len(tokens) == 1:
            return _text_command(tokens[0].text)
        return _words(" ".join(token.text for token in tokens))
    for index, token in enumerate(tokens[:4]):
        if token.text in _OPENING:
            break
        if token.text == "\\in" and name_of(tokens[:index]):
            tokens = tokens[index + 1 :]
            break
    parts = [part for part in _split(tokens, {",", ";"}) if part]
    if not parts:
        raise ParseError("empty")
    return _list([_item(part) for part in parts])


def _text_command(content: str) -> ParsedAnswer:
    r"""The content of one ``\text{..}``: choices such as (A) and A, D are symbols, else words."""
    if content[:1].isdigit() or not _LONG_WORD.search(content):
        with suppress(ParseError):
            return parse_tokens(tokenize(content))
    return _words(content)


def _split(tokens: Sequence[Token], separators: Collection[str]) -> list[list[Token]]:
    """Split at separators outside of all brackets."""
    parts: list[list[Token]] = [[]]
    level = 0
    for token in tokens:
        if token.kind in ("mark", "command"):
            if level == 0 and token.text in separators:
                parts.append([])
                continue
            if token.text in _OPENING or token.text in ("{", "\\begin"):
                level += 1
            elif token.text in _CLOSING or token.text in ("}", "\\end"):
                level -= 1
        parts[-1].append(token)
    return parts


def _list(parts: Sequence[ParsedAnswer]) -> ParsedAnswer:
    """A list without brackets: an unordered set, as MATH's "find all" answers are.

    Loosely it is also the tuple of its entries, for models that forget the brackets.
    """
    if len(parts) == 1:
        return parts[0]
    variables = [part.variable for part in parts]
    if all(variables) and all(part.kind in ("interval", "union") for part in parts):
        return union(parts, variables[0])
    keys = tuple(part.key for part in parts)
    loose: tuple[Key, ...] = (("sequence", "(", ")", keys),)
    if all(variables) and len(set(variables)) == len(variables):
        values = dict(zip(variables, keys, strict=True))
        key: Key = ("assignments", tuple((name, values[name]) for name in sorted(values)))
        if len({name.partition("_")[0] for name in variables}) == 1:  # x_1 = 2, x_2 = 3
            loose = (*loose, set_key(parts, repeated=True))
        return ParsedAnswer("assignments", (key,), loose)
    return ParsedAnswer("list", (set_key(parts, repeated=True),), loose)


def _item(tokens: list[Token]) -> ParsedAnswer:
    """One entry of a list."""
    if not tokens:
        raise ParseError("empty")
    if all(token.kind == "text" for token in tokens):
        return parse_tokens(tokens)
    if any(token.text == "_" for token in tokens) and (parsed := _number_in_base(tokens)):
        return parsed
    first, last = tokens[0].text, tokens[-1].text
    if first == "\\begin":
        return _matrix(tokens)
    if parsed := _relation(tokens):
        return parsed
    parts = _split(tokens, {"\\cup"})
    if len(parts) > 1:
        return union([_item(part) for part in parts])
    if first == "\\reals":
        return _reals(tokens[1:])
    if first in ("\\emptyset", "\\varnothing") and len(tokens) == 1:
        return ParsedAnswer("set", (EMPTY_SET,))
    if first in _OPENING and last in _CLOSING and len(_split(tokens[1:-1], {last})) == 1:
        parsed = _bracketed(_OPENING[first], _CLOSING[last], tokens[1:-1])
        if parsed is not None:
            return parsed
    parts = _split(tokens, {":"})
    if len(parts) > 1:
        return _ratio([scalar(part) for part in parts])
    if last == "\\infty" and len(tokens) <= 2:
        return bound(tokens)
    return scalar(tokens)


def _number_in_base(tokens: Sequence[Token]) -> ParsedAnswer | None:
    r"""``1011_2``, ``4210_{7}``, ``0.11_{\text{two}}``. Only base 10 may be left out."""
    match = _IN_BASE.fullmatch(text_of(tokens))
    if not match or not any(character.isdigit() for character in match[2]):
        return None
    sign, digits, name = match[1], match[2], match[3] or match[4]
    base = int(name) if name.isdecimal() and len(name) < 3 else _BASES.get(name, 0)
    if not 2 <= base <= 36 or any(int(digit, 36) >= base for digit in digits.replace(".", "")):
        return None
    if base == 10:
        return number(Fraction(sign + digits))
    return ParsedAnswer("number in a base", (("base", sign + digits.lstrip("0"), base),))


def _relation(tokens: list[Token]) -> ParsedAnswer | None:
    sides = _split(tokens, RELATIONS)
    if len(sides) == 1:
        return None
    signs = []
    position = 0
    for side in sides[:-1]:
        position += len(side)
        signs.append(RELATIONS[tokens[position].text])
        position += 1
    if len(sides) > 2 and tokens[-len(sides[-1]) - 1].text == "\\approx":
        return _relation(tokens[: -len(sides[-1]) - 1])  # x = 4/3 \\approx 1.33
    if any(sign != "=" for sign in signs):
        return inequality(sides, signs)
    left, right = sides[0], sides[-1]
    if not name_of(left) and name_of(right):
        left, right = right, left
    name = name_of(left)
    if not name:
        if len(sides) > 2:
            raise ParseError("a chain of equations")
        return equation(left, right)
    value = _item(right)
    keys = value.keys
    if value.kind in ("number", "expression"):
        with suppress(ParseError):
            keys = (*keys, *equation(left, right).keys)
    return replace(value, keys=keys, variable=name)


def _reals(rest: list[Token]) -> ParsedAnswer:
    if not rest:
        return ParsedAnswer("interval", (REALS,))
    if rest[0].text not in ("\\setminus", "-") or len(rest) < 4 or rest[1].text != "\\{":
        raise ParseError("an unknown set")
    return reals_without([scalar(part) for part in _split(rest[2:-1], {","})])


def _bracketed(opening: str, closing: str, inner: list[Token]) -> ParsedAnswer | None:
    """What is between brackets; None if they are only the parentheses of an expression."""
    if opening == "{":
        return _set(inner)
    parts = _split(inner, {",", ";"})
    if len(parts) == 1:
        return _item(inner) if inner and inner[0].text == "\\begin" else None
    keys = tuple(_item(part).key for part in parts)
    if len(keys) == 2:
        kind = "tuple" if (opening, closing) == ("(", ")") else "interval"
        return ParsedAnswer(kind, interval(keys[0], keys[1], opening, closing).keys)
    return ParsedAnswer("tuple", (("sequence", opening, closing, keys),))


def _set(inner: list[Token]) -> ParsedAnswer:
    if not inner:
        return ParsedAnswer("set", (EMPTY_SET,))
    builder = _split(inner, {"|", "\\mid", ":"})
    if len(builder) == 2 and builder[0] and builder[0][0].kind == "symbol":
        return parse_tokens(builder[1])
    return ParsedAnswer("set", (set_key([_item(part) for part in _split(inner, {",", ";"})]),))


def _matrix(tokens: list[Token]) -> ParsedAnswer:
    """A matrix; the shape of its brackets does not count. Loosely, a vector is a tuple."""
    name = tokens[2].text if len(tokens) > 7 else ""
    if name not in _MATRICES or tokens[-4].text != "\\end" or tokens[-2].text != name:
        raise ParseError("an unknown environment")
    body = tokens[4:-4]
    if name == "array" and body and body[0].text == "{":
        body = body[[token.text for token in body].index("}") + 1 :]
    lines = [line for line in _split(body, {"\\\\"}) if line]
    rows = [tuple(_item(cell).key for cell in _split(line, {"&"})) for line in lines]
    if not rows or len({len(row) for row in rows}) != 1:
        raise ParseError("a ragged matrix")
    loose: tuple[Key, ...] = ()
    if len(rows) == 1 < len(rows[0]) or len(rows[0]) == 1 < len(rows):
        loose = (("sequence", "(", ")", tuple(chain(*rows))),)
    return ParsedAnswer("matrix", (("matrix", tuple(rows)),), loose)


def _ratio(parts: Sequence[ParsedAnswer]) -> ParsedAnswer:
    """A ratio, which is not reduced; loosely, a:b is also the fraction a/b."""
    if any(part.kind not in ("number", "expression") for part in parts):
        raise ParseError("a ratio of something else than numbers")
    loose: tuple[Key, ...] = ()
    first, second = key_value(parts[0].key), key_value(parts[1].key)
    if len(parts) == 2 and first is not None and second:
        loose = number(first / second).keys
    return ParsedAnswer("ratio", (("ratio", *(part.key for part in parts)),), loose)
