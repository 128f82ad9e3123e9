"""Expression trees as sympy expressions, built node by node: no text is evaluated."""

from __future__ import annotations

from typing import Any

import sympy

from e2h_cli.grading.answer_tokens import ReadError
from e2h_cli.grading.expression import parse
from e2h_cli.grading.parser import Node
from e2h_cli.grading.prm800k_rule import entry_tokens

_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}
_FUNCTIONS = {
    "ln": sympy.log,
    "exp": sympy.exp,
    "arcsin": sympy.asin,
    "arccos": sympy.acos,
    "arctan": sympy.atan,
    "absolute": sympy.Abs,
    "factorial": sympy.factorial,
    "sin": sympy.sin,
    "cos": sympy.cos,
    "tan": sympy.tan,
    "cot": sympy.cot,
    "sec": sympy.sec,
    "csc": sympy.csc,
    "sinh": sympy.sinh,
    "cosh": sympy.cosh,
    "tanh": sympy.tanh,
}


def to_sympy(node: Node) -> Any:
    """The sympy expression of a tree.

    Raises:
        ReadError: for an operation that sympy is not asked about.
    """
    kind = node[0]
    if kind == "number":
        return sympy.Rational(node[1].numerator, node[1].denominator)
    if kind == "symbol":
        return sympy.Symbol(node[1])
    if kind == "constant":
        return _CONSTANTS[node[1]]
    if kind == "sign":
        raise ReadError("two values")
    inner = [to_sympy(child) for child in node[1:]]
    if kind == "add":
        return inner[0] + inner[1]
    if kind == "multiply":
        return inner[0] * inner[1]
    if kind == "divide":
        return inner[0] / inner[1]
    if kind == "negative":
        return -inner[0]
    if kind == "power":
        return inner[0] ** inner[1]
    if kind == "root":
        return inner[0] ** (1 / inner[1])
    if kind == "binomial":
        return sympy.binomial(*inner)
    if kind == "degree":
        return inner[0]
    if kind == "log":
        return sympy.log(inner[0], 10)
    if kind not in _FUNCTIONS:
        raise ReadError(f"unknown {kind}")
    return _FUNCTIONS[kind](inner[0])


def difference_is_zero(a: str, b: str) -> bool:
    """Whether sympy simplifies the difference of two normalised entries to zero."""
    try:
        first, second = (to_sympy(parse(entry_tokens(text)).node) for text in (a, b))
    except ReadError:
        return False
    return bool(sympy.simplify(first - second) == 0)
