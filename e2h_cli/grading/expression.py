"""Scalar answers as expression trees, with the units and percent signs around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from e2h_cli.grading.answer_tokens import ReadError, Token
from e2h_cli.grading.parser import Node, Parser

_MAGNITUDES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


@dataclass(slots=True)
class Expression:
    """A parsed scalar: its tree, its variables, and what was written around its value."""

    node: Node
    symbols: frozenset[str]
    signs: bool
    r"""Whether ``\pm`` or ``\mp`` stands in it."""
    percent: bool
    places: int
    """Decimal places when the whole expression is one decimal number, else 0."""


def parse(tokens: Sequence[Token]) -> Expression:
    r"""Parse one scalar. Units after it are read over: ``5\text{ cm}^2`` is 5 (paper's grader).

    Raises:
        ReadError: if the tokens are not one scalar expression.
    """
    parser = Parser(list(tokens))
    node = parser.sum()
    rest = parser.tokens[parser.position :]
    if not _all_units(rest):
        raise ReadError("text after the expression")
    unit = rest[0].text.lower().split()[0] if rest else ""
    if unit in _MAGNITUDES:
        node = ("multiply", node, ("number", Fraction(_MAGNITUDES[unit])))
    parser.percent |= unit == "percent"
    plain = node[1] if node[0] == "negative" else node
    places = max((token.places for token in tokens if token.kind == "number"), default=0)
    return Expression(
        node,
        frozenset(parser.symbols),
        parser.signs,
        parser.percent,
        places if plain[0] == "number" else 0,
    )


def _all_units(tokens: Sequence[Token]) -> bool:
    """Whether only words stand here, perhaps with powers: `` square cm``, ``cm^2``, ``m/s``."""
    if not tokens:
        return True
    if tokens[0].kind != "text":
        return False
    return all(
        token.kind == "text"
        or (token.kind == "mark" and token.text in "^/{}.")
        or (token.kind == "number" and token.text in ("2", "3"))
        for token in tokens
    )
