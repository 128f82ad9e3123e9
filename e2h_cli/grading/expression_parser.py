"""Parses scalar answers into expression trees, by recursive descent.

The tree is data, never code: nothing in this package evaluates the text of a model with ``eval``,
or with sympy's ``sympify`` and ``parse_expr``, which use ``eval``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from e2h_cli.grading.answer_text import ParseError, Token

Node = tuple[Any, ...]
"""``("number", Fraction)``, ``("symbol", name)`` or ``(operation, Node, ...)``."""


@dataclass(slots=True)
class Expression:
    """A parsed scalar."""

    node: Node
    symbols: set[str]  # names of the variables
    two_signs: bool  # whether it has a plus-minus sign
    percent: bool


_MAGNITUDES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_GREEK_NAMES = (
    r"\alpha \beta \gamma \delta \epsilon \varepsilon \zeta \eta \theta \vartheta \kappa \lambda "
    r"\mu \nu \xi \rho \sigma \tau \phi \varphi \chi \psi \omega \Gamma \Delta \Theta \Lambda "
    r"\Xi \Sigma \Phi \Psi \Omega \ell"
)
_GREEK = frozenset(_GREEK_NAMES.split())
_BINOMIALS = ("\\binom", "\\dbinom", "\\tbinom")
_FACTOR_COMMANDS = _GREEK | {"\\frac", "\\sqrt", *_BINOMIALS, "\\pi", "\\overline"}
_SIGNS = ("+", "-", "\\pm", "\\mp")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_DIGITS = r"\d{1,9}"
_PROPER_FRACTION = re.compile(  # over the texts of tokens, joined by spaces
    rf"\\frac (?:(?:\{{ ({_DIGITS}) \}}|(\d)) (?:\{{ ({_DIGITS}) \}}|(\d))|(\d)(\d))(?= |$)(?! \^)"
    rf"|({_DIGITS}) / ({_DIGITS})(?= |$)(?! \^)"
)
_TWO: Node = ("number", Fraction(2))


def parse_expression(tokens: Sequence[Token], constants: bool = True) -> Expression:
    r"""Parse one scalar, or raise ``ParseError``. Units are ignored: ``5\text{ cm}^2`` is 5.

    ``constants``: whether e and i are the constants, not variables.
    """
    parser = _Parser(list(tokens), constants)
    node = parser.sum()
    rest = parser.tokens[parser.position :]
    if rest and not _is_unit(rest):
        raise ParseError("text after the expression")
    unit = rest[0].text.lower().split()[0] if rest else ""
    if unit in _MAGNITUDES:
        node = ("multiply", node, ("number", Fraction(_MAGNITUDES[unit])))
    percent = parser.percent or unit == "percent"
    return Expression(node, parser.symbols, parser.two_signs, percent)


def _is_unit(tokens: Sequence[Token]) -> bool:
    """Whether the tokens are words, perhaps with powers: `` square cm``, ``cm^2``, ``m/s``."""
    return tokens[0].kind == "text" and all(
        token.kind == "text"
        or (token.kind == "mark" and token.text in "^/{}.")
        or (token.kind == "number" and token.text in ("2", "3"))
        for token in tokens
    )


class _Parser:
    """Parses tokens from left to right; one method per rule of the grammar."""

    def __init__(self, tokens: list[Token], constants: bool) -> None:
        self.tokens = tokens
        self.constants = constants
        self.position = 0
        self.open_bars = 0  # of absolute values
        self.symbols: set[str] = set()
        self.two_signs = False
        self.percent = False

    def peek(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def at(self, *texts: str) -> bool:
        """Whether the next token is one of these marks or commands."""
        token = self.peek()
        return token is not None and token.kind in ("mark", "command") and token.text in texts

    def at_number(self) -> bool:
        token = self.peek()
        return token is not None and token.kind == "number"

    def take(self) -> Token:
        token = self.peek()
        if token is None:
            raise ParseError("ends too early")
        self.position += 1
        return token

    def accept(self, *texts: str) -> str:
        """Take the next token if it is one of these marks or commands; its text, or ""."""
        return self.take().text if self.at(*texts) else ""

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise ParseError(f"no {text}")

    def sum(self) -> Node:
        node = self.product()
        while sign := self.accept(*_SIGNS):
            node = ("add", node, self.signed(sign, self.product()))
        return node

    def signed(self, sign: str, node: Node) -> Node:
        if sign == "+":
            return node
        if sign == "-":
            return ("negative", node)
        self.two_signs = True
        return ("sign", node) if sign == "\\pm" else ("negative", ("sign", node))

    def product(self) -> Node:
        node = self.unary()
        while True:
            if self.accept("*", "\\cdot", "\\times"):
                node = ("multiply", node, self.unary())
            elif self.accept("/", "\\div"):
                node = ("divide", node, self.unary())
            elif self.starts_factor():
                node = ("multiply", node, self.power())
            else:
                return node

    def starts_factor(self, functions: bool = True) -> bool:
        """Whether the next token can start a factor without a multiplication sign."""
        token = self.peek()
        if token is None:
            return False
        match token.kind:
            case "number":
                return not self.position or self.tokens[self.position - 1].kind != "number"
            case "function":
                return functions
            case "command":
                return token.text in _FACTOR_COMMANDS
            case "mark":
                return token.text in _CLOSING or (token.text == "|" and not self.open_bars)
        return token.kind == "symbol"

    def unary(self) -> Node:
        sign = self.accept(*_SIGNS)
        return self.signed(sign, self.unary()) if sign else self.power()

    def power(self) -> Node:
        """A base with its exponents, factorials, degree and percent signs."""
        node = self.base()
        while True:
            if self.accept("^"):
                node = ("power", node, self.exponent())
            elif self.accept("!"):
                node = ("factorial", node)
            elif self.accept("\\degree"):
                node = ("degree", node)
            elif self.accept("\\%", "%"):
                self.percent = True
            else:
                return node

    def exponent(self) -> Node:
        if self.at("{"):
            return self.base()
        if sign := self.accept("+", "-"):
            return self.signed(sign, self.exponent())
        base = self.base()
        return ("power", base, self.exponent()) if self.accept("^") else base

    def enclosed(self, closing: str) -> Node:
        """A sum and the bracket that closes it."""
        bars, self.open_bars = self.open_bars, 0
        node = self.sum()
        self.open_bars = bars
        self.expect(closing)
        return node

    def argument(self) -> Node:
        """The argument of a LaTeX command: a group, or one token; of a number, one digit."""
        if self.at("{", "("):
            return self.base()
        token = self.take()
        if token.kind == "number" and token.text.isdigit():
            digit, rest = token.text[0], token.text[1:]
            if rest:
                self.position -= 1
                self.tokens[self.position] = Token("number", rest, Fraction(int(rest)))
            return ("number", Fraction(int(digit)))
        if token.kind in ("symbol", "command"):
            self.position -= 1
            return self.base()
        raise ParseError("no argument")

    def base(self) -> Node:
        """The smallest part: a number, a symbol, a function, or something in brackets."""
        token = self.take()
        match token.kind:
            case "number":
                return self.number(token)
            case "symbol":
                return self.symbol(token.text)
            case "function" if token.text == "sqrt":
                return ("root", self.base(), _TWO)
            case "function":
                return self.function(token.text)
            case "command":
                return self.command(token.text)
            case "mark" if token.text in _CLOSING:
                return self.enclosed(_CLOSING[token.text])
            case "mark" if token.text == "|":
                self.open_bars += 1
                node = self.sum()
                self.open_bars -= 1
                self.expect("|")
                return ("absolute", node)
        raise ParseError(f"unexpected {token.text[:20]}")

    def command(self, name: str) -> Node:
        if name == "\\sqrt":
            return self.root()
        if name == "\\frac" or name in _BINOMIALS:
            kind = "divide" if name == "\\frac" else "binomial"
            return (kind, self.argument(), self.argument())
        if name == "\\pi":
            return ("constant", "pi")
        if name == "\\overline":
            return self.overline()
        if name in _GREEK:
            return self.symbol(name)
        raise ParseError(f"unexpected {name[:20]}")

    def root(self) -> Node:
        degree = _TWO
        if self.accept("["):
            degree = self.sum()
            self.expect("]")
        elif self.at_number() and self.tokens[self.position].spaced:
            return ("root", ("number", self.take().value), degree)
        return ("root", self.argument(), degree)

    def overline(self) -> Node:
        r"""``\overline{AB}`` is the segment AB; ``\overline{z}`` is not z."""
        group = self.tokens[self.position : self.position + 3]
        if [token.text for token in group[::2]] == ["{", "}"] and group[1].kind == "symbol":
            self.position += 3
            return self.symbol("overline " + group[1].text)
        return self.argument()

    def symbol(self, name: str) -> Node:
        """A variable with its subscript, or one of the constants e and i."""
        if self.accept("_"):
            subscript = self.take().text
            if subscript == "{":
                subscript = ""
                while not self.accept("}"):
                    subscript += self.take().text
            name = f"{name}_{subscript}"
        elif self.constants and name in ("e", "i"):
            return ("constant", name)
        self.symbols.add(name)
        return ("symbol", name)

    def number(self, token: Token) -> Node:
        r"""A number with the proper fraction of a mixed number: ``7\frac{3}{4}``, ``7 3/4``."""
        node: Node = ("number", token.value)
        if not token.text.isdigit():
            return node
        ahead = " ".join(token.text for token in self.tokens[self.position : self.position + 8])
        if match := _PROPER_FRACTION.match(ahead):
            above, below = (int(digits) for digits in match.groups() if digits)
            if 0 < above < below:
                self.position += len(match[0].split())
                return ("add", node, ("number", Fraction(above, below)))
        if self.at_number():
            raise ParseError("two numbers side by side")
        return node

    def function(self, name: str) -> Node:
        """A function with its base, its exponent and its argument."""
        base: Node | None = None
        power: Node | None = None
        while mark := self.accept("_", "^"):
            if mark == "^":
                power = self.exponent()
            elif self.at_number():  # log_10 means base 10
                base = ("number", self.take().value)
            else:
                base = self.argument()
        if self.at(*_CLOSING):
            inner = self.base()
        else:
            inner = self.unary()
            while self.starts_factor(functions=False):
                inner = ("multiply", inner, self.power())
        node: Node = (name, inner)
        if name == "log" and base is not None:
            node = ("divide", ("ln", inner), ("ln", base))
        elif base is not None:
            raise ParseError("a subscript on a function")
        if power == ("negative", ("number", Fraction(1))):
            if name not in ("sin", "cos", "tan"):
                raise ParseError("an unknown inverse")
            return ("arc" + name, inner)
        return node if power is None else ("power", node, power)
