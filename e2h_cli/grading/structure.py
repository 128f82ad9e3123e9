"""The shape of an answer: lists, tuples, intervals, sets, unions, matrices, ratios, relations."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import suppress

from e2h_cli.grading.answer_tokens import ReadError, Token, tokenise
from e2h_cli.grading.based import read_based
from e2h_cli.grading.keys import Key
from e2h_cli.grading.reading import (
    EMPTY,
    REALS,
    Reading,
    interval,
    number,
    scalar,
    set_key,
    union,
    without,
)
from e2h_cli.grading.relation import RELATIONS, bound, equation, inequality, name_of

LONG_WORD = re.compile(r"[A-Za-z]{3,}")
_OPENING = {"(": "(", "[": "[", "\\{": "{", "\\langle": "("}
_CLOSING = {")": ")", "]": "]", "\\}": "}", "\\rangle": ")"}
_MATRICES = frozenset({"pmatrix", "bmatrix", "matrix", "Bmatrix", "array", "smallmatrix"})


def words(content: str) -> Reading:
    """A text answer, compared without case and with single spaces."""
    return Reading("text", (("text", " ".join(content.casefold().split())),))


def read_tokens(tokens: list[Token]) -> Reading:
    """Read a whole answer.

    Raises:
        ReadError: if the answer is in no known form.
    """
    if tokens and all(token.kind == "text" for token in tokens):
        if len(tokens) == 1:
            return _inside_text(tokens[0].text)
        return words(" ".join(token.text for token in tokens))
    for index, token in enumerate(tokens[:4]):
        if token.text in _OPENING:
            break
        if token.text == "\\in":
            tokens = tokens[index + 1 :]
            break
    parts = [part for part in _split(tokens, {",", ";"}) if part]
    if not parts:
        raise ReadError("empty")
    return _listed([_item(part) for part in parts])


def _inside_text(content: str) -> Reading:
    r"""The content of one ``\text{..}``: choices such as (A) and A, D are symbols, else words."""
    if content[:1].isdigit() or not LONG_WORD.search(content):
        try:
            return read_tokens(tokenise(content))
        except ReadError:
            pass
    return words(content)


def _split(tokens: Sequence[Token], separators: Collection[str]) -> list[list[Token]]:
    """Split at separators that stand outside of all brackets."""
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


def _listed(readings: Sequence[Reading]) -> Reading:
    """A list without brackets: an unordered set, as MATH's "find all" answers are.

    Read loosely it is also the tuple of its entries, for models that forget the brackets.
    """
    if len(readings) == 1:
        return readings[0]
    exact = all(reading.exact for reading in readings)
    variables = [reading.variable for reading in readings]
    if all(variables) and all(reading.kind in ("interval", "union") for reading in readings):
        return union(readings, variables[0])
    ordered: Key = ("sequence", "(", ")", tuple(reading.key for reading in readings))
    if all(variables) and len(set(variables)) == len(variables):
        pairs = sorted(
            zip(variables, (reading.key for reading in readings), strict=True),
            key=lambda pair: pair[0],
        )
        return Reading("assignments", (("assignments", tuple(pairs)),), (ordered,), exact)
    return Reading("list", (set_key(readings),), (ordered,), exact)


def _item(tokens: list[Token]) -> Reading:
    if not tokens:
        raise ReadError("empty")
    if all(token.kind == "text" for token in tokens):
        return read_tokens(tokens)
    if any(token.text == "_" for token in tokens):
        based = read_based(tokens)
        if based is not None:
            return based
    first, last = tokens[0].text, tokens[-1].text
    if first == "\\begin":
        return _matrix(tokens)
    relation = _relation(tokens)
    if relation is not None:
        return relation
    parts = _split(tokens, {"\\cup"})
    if len(parts) > 1:
        return union([_item(part) for part in parts])
    if first == "\\reals":
        return _reals(tokens[1:])
    if first in ("\\emptyset", "\\varnothing") and len(tokens) == 1:
        return Reading("set", (EMPTY,))
    if first in _OPENING and last in _CLOSING and len(_split(tokens[1:-1], {last})) == 1:
        reading = _bracketed(_OPENING[first], _CLOSING[last], tokens[1:-1])
        if reading is not None:
            return reading
    parts = _split(tokens, {":"})
    if len(parts) > 1:
        return _ratio([scalar(part) for part in parts])
    if last == "\\infty" and len(tokens) <= 2:
        return bound(tokens)
    return scalar(tokens)


def _relation(tokens: list[Token]) -> Reading | None:
    sides = _split(tokens, RELATIONS)
    if len(sides) == 1:
        return None
    signs = []
    position = 0
    for side in sides[:-1]:
        position += len(side)
        signs.append(RELATIONS[tokens[position].text])
        position += 1
    if any(sign != "=" for sign in signs):
        return inequality(sides, signs)
    left, right = sides[0], sides[-1]
    if not name_of(left) and name_of(right):
        left, right = right, left
    name = name_of(left)
    if not name:
        if len(sides) > 2:
            raise ReadError("a chain of equations")
        return equation(left, right)
    value = _item(right)
    keys = value.keys
    if value.kind in ("number", "expression"):
        with suppress(ReadError):
            keys = (*keys, *equation(left, right).keys)
    return Reading(value.kind, keys, value.loose, value.exact, value.value, value.places, name)


def _reals(rest: list[Token]) -> Reading:
    if not rest:
        return Reading("interval", (REALS,))
    if rest[0].text not in ("\\setminus", "-") or len(rest) < 4 or rest[1].text != "\\{":
        raise ReadError("an unknown set")
    return without([scalar(part) for part in _split(rest[2:-1], {","})])


def _bracketed(opening: str, closing: str, inner: list[Token]) -> Reading | None:
    """What stands between brackets; None if they are only the parentheses of an expression."""
    if opening == "{":
        return _set(inner)
    parts = _split(inner, {",", ";"})
    if len(parts) == 1:
        return _item(inner) if inner and inner[0].text == "\\begin" else None
    entries = [_item(part) for part in parts]
    exact = all(entry.exact for entry in entries)
    if len(entries) == 2:
        key = interval(entries[0].key, entries[1].key, opening, closing).key
        kind = "tuple" if (opening, closing) == ("(", ")") else "interval"
        return Reading(kind, (key,), exact=exact)
    key = ("sequence", opening, closing, tuple(entry.key for entry in entries))
    return Reading("tuple", (key,), exact=exact)


def _set(inner: list[Token]) -> Reading:
    if not inner:
        return Reading("set", (EMPTY,))
    builder = _split(inner, {"|", "\\mid", ":"})
    if len(builder) == 2 and builder[0] and builder[0][0].kind == "symbol":
        return read_tokens(builder[1])
    entries = [_item(part) for part in _split(inner, {",", ";"})]
    return Reading("set", (set_key(entries),), exact=all(entry.exact for entry in entries))


def _matrix(tokens: list[Token]) -> Reading:
    r"""A matrix; the shape of its brackets does not count. Loosely, a vector is a tuple."""
    name = tokens[2].text if len(tokens) > 7 else ""
    if name not in _MATRICES or tokens[-4].text != "\\end" or tokens[-2].text != name:
        raise ReadError("an unknown environment")
    body = tokens[4:-4]
    if name == "array" and body and body[0].text == "{":
        body = body[[token.text for token in body].index("}") + 1 :]
    lines = [line for line in _split(body, {"\\\\"}) if line]
    rows = [[_item(cell) for cell in _split(line, {"&"})] for line in lines]
    if not rows or len({len(row) for row in rows}) != 1:
        raise ReadError("a ragged matrix")
    key: Key = ("matrix", tuple(tuple(cell.key for cell in row) for row in rows))
    cells = [cell for row in rows for cell in row]
    loose: tuple[Key, ...] = ()
    if len(cells) > 1 and (len(rows) == 1 or len(rows[0]) == 1):
        loose = (("sequence", "(", ")", tuple(cell.key for cell in cells)),)
    return Reading("matrix", (key,), loose, all(cell.exact for cell in cells))


def _ratio(parts: Sequence[Reading]) -> Reading:
    """A ratio, which is not reduced; loosely, a:b is also the fraction a/b."""
    if any(part.kind not in ("number", "expression") for part in parts):
        raise ReadError("a ratio of something else than numbers")
    loose: tuple[Key, ...] = ()
    first, second = parts[0].value, parts[1].value
    if len(parts) == 2 and first is not None and second:
        loose = number(first / second).keys
    exact = all(part.exact for part in parts)
    return Reading("ratio", (("ratio", *(part.key for part in parts)),), loose, exact)
