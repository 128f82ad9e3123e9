"""The grammar of scalar answers, as a recursive-descent parser: an expression tree of tuples.

The tree is data, never code: nothing in this package evaluates model text with ``eval`` or with
sympy's ``sympify``/``parse_expr`` (which use ``eval``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from e2h_cli.grading.answer_tokens import ReadError, Token

Node = tuple[Any, ...]
"""``("number", Fraction)``, ``("symbol", name)`` or ``(operation, Node, ...)``."""

_GREEK_NAMES = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi rho "
    "sigma tau phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell"
)
_GREEK = frozenset(_GREEK_NAMES.split())
_ROUND = {"(": ")", "[": "]"}
_DIGITS = r"\d{1,9}"
_PROPER = re.compile(  # over the texts of tokens, joined by spaces
    rf"\\frac (?:(?:\{{ ({_DIGITS}) \}}|(\d)) (?:\{{ ({_DIGITS}) \}}|(\d))|(\d)(\d))(?= |$)(?! \^)"
    rf"|({_DIGITS}) / ({_DIGITS})(?= |$)(?! \^)"
)
_STARTS = frozenset({"\\frac", "\\sqrt", "\\binom", "\\dbinom", "\\tbinom", "\\pi", "\\overline"})


def square_root(node: Node) -> Node:
    """The square root of a node."""
    return ("root", node, ("number", Fraction(2)))


@dataclass(slots=True)
class Parser:
    """Reads tokens from left to right; every method takes one part of the grammar."""

    tokens: list[Token]
    position: int = 0
    bars: int = 0
    symbols: set[str] = field(default_factory=set)
    signs: bool = False
    percent: bool = False

    def peek(self, ahead: int = 0) -> Token | None:
        """The token so many places ahead, or None."""
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else None

    def at(self, *texts: str) -> bool:
        """Whether the next token is one of these marks or commands."""
        token = self.peek()
        return token is not None and token.kind in ("mark", "command") and token.text in texts

    def take(self) -> Token:
        """The next token, which is then behind."""
        token = self.peek()
        if token is None:
            raise ReadError("ends too early")
        self.position += 1
        return token

    def expect(self, text: str) -> None:
        """Take this mark, which has to come."""
        if not self.at(text):
            raise ReadError(f"no {text}")
        self.position += 1

    def sum(self) -> Node:
        """Terms, joined by signs."""
        node = self.product()
        while self.at("+", "-", "\\pm", "\\mp"):
            sign = self.take().text
            node = ("add", node, self.signed(sign, self.product()))
        return node

    def signed(self, sign: str, node: Node) -> Node:
        """A node behind its sign."""
        if sign == "+":
            return node
        if sign == "-":
            return ("negative", node)
        self.signs = True
        return ("sign", node) if sign == "\\pm" else ("negative", ("sign", node))

    def product(self) -> Node:
        """Factors, side by side or joined by multiplication and division."""
        node = self.unary()
        while True:
            if self.at("*", "\\cdot", "\\times"):
                self.take()
                node = ("multiply", node, self.unary())
            elif self.at("/", "\\div"):
                self.take()
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
        if token.kind == "number":
            previous = self.tokens[self.position - 1] if self.position else None
            return previous is None or previous.kind != "number"
        if token.kind == "function":
            return functions
        if token.kind == "command":
            return token.text in _STARTS or token.text[1:] in _GREEK
        if token.kind == "mark":
            return token.text in ("(", "[", "{") or (token.text == "|" and self.bars == 0)
        return token.kind == "symbol"

    def unary(self) -> Node:
        """A power behind any number of signs."""
        if self.at("+", "-", "\\pm", "\\mp"):
            sign = self.take().text
            return self.signed(sign, self.unary())
        return self.power()

    def power(self) -> Node:
        """A base with its exponents, factorials, degree and percent signs."""
        node = self.base()
        while True:
            if self.at("^"):
                self.take()
                node = ("power", node, self.exponent())
            elif self.at("!"):
                self.take()
                node = ("factorial", node)
            elif self.at("\\degree"):
                self.take()
                node = ("degree", node)
            elif self.at("\\%", "%"):
                self.take()
                self.percent = True
            else:
                return node

    def exponent(self) -> Node:
        """What stands behind ``^``."""
        if self.at("{"):
            return self.group()
        if self.at("+", "-"):
            return self.signed(self.take().text, self.exponent())
        base = self.base()
        if self.at("^"):
            self.take()
            return ("power", base, self.exponent())
        return base

    def group(self) -> Node:
        """A sum in curly brackets."""
        self.expect("{")
        bars, self.bars = self.bars, 0
        node = self.sum()
        self.bars = bars
        self.expect("}")
        return node

    def argument(self) -> Node:
        r"""What a LaTeX command takes: a group, or one token, which for digits is one digit."""
        if self.at("{"):
            return self.group()
        if self.at("("):
            return self.base()
        token = self.take()
        if token.kind == "number" and token.text.isdigit():
            if len(token.text) > 1:
                self.position -= 1
                rest = token.text[1:]
                self.tokens[self.position] = Token("number", rest, Fraction(int(rest)))
            return ("number", Fraction(int(token.text[0])))
        if token.kind in ("symbol", "command"):
            self.position -= 1
            return self.base()
        raise ReadError("no argument")

    def base(self) -> Node:
        """The smallest piece: a number, a symbol, a function, or something in brackets."""
        token = self.take()
        if token.kind == "number":
            return self.mixed(token)
        if token.kind == "symbol":
            return self.symbol(token.text)
        if token.kind == "function":
            return square_root(self.base()) if token.text == "sqrt" else self.function(token.text)
        if token.kind == "mark":
            if token.text in _ROUND:
                bars, self.bars = self.bars, 0
                node = self.sum()
                self.bars = bars
                self.expect(_ROUND[token.text])
                return node
            if token.text == "{":
                self.position -= 1
                return self.group()
            if token.text == "|":
                self.bars += 1
                node = self.sum()
                self.bars -= 1
                self.expect("|")
                return ("absolute", node)
        elif token.kind == "command":
            return self.command(token.text)
        raise ReadError(f"unexpected {token.text[:20]}")

    def command(self, name: str) -> Node:
        """What a LaTeX command starts."""
        if name == "\\frac":
            return ("divide", self.argument(), self.argument())
        if name == "\\sqrt":
            if self.at("["):
                self.take()
                degree = self.sum()
                self.expect("]")
                return ("root", self.argument(), degree)
            number = self.peek()
            if number is not None and number.kind == "number" and number.spaced:
                return square_root(("number", self.take().value))
            return square_root(self.argument())
        if name in ("\\binom", "\\dbinom", "\\tbinom"):
            return ("binomial", self.argument(), self.argument())
        if name == "\\pi":
            return ("constant", "pi")
        if name == "\\overline":
            return self.overline()
        if name[1:] in _GREEK:
            return self.symbol(name)
        raise ReadError(f"unexpected {name[:20]}")

    def overline(self) -> Node:
        r"""``\overline{AB}`` is the segment AB; ``\overline{z}`` is not z."""
        group = self.tokens[self.position : self.position + 3]
        if [token.text for token in group[::2]] == ["{", "}"] and group[1].kind == "symbol":
            self.position += 3
            return self.symbol("overline " + group[1].text)
        return self.argument()

    def symbol(self, name: str) -> Node:
        """A variable with its subscript, or one of the constants e and i."""
        if self.at("_"):
            self.take()
            if self.at("{"):
                self.take()
                inner = []
                while not self.at("}"):
                    inner.append(self.take().text)
                self.take()
                name = f"{name}_{''.join(inner)}"
            else:
                name = f"{name}_{self.take().text}"
        elif name == "e" or name == "i":
            return ("constant", name)
        self.symbols.add(name)
        return ("symbol", name)

    def mixed(self, token: Token) -> Node:
        r"""A number, with the proper fraction of a mixed number: ``7\frac{3}{4}``, ``7 3/4``."""
        node: Node = ("number", token.value)
        if token.places or not token.text.isdigit():
            return node
        fraction = self.proper_fraction()
        if fraction is not None:
            return ("add", node, ("number", fraction))
        following = self.peek()
        if following is not None and following.kind == "number":
            raise ReadError("two numbers side by side")
        return node

    def proper_fraction(self) -> Fraction | None:
        r"""Take ``\frac{3}{4}``, ``\frac34`` or ``3/4``, if it comes next, without parsing it."""
        ahead = " ".join(token.text for token in self.tokens[self.position : self.position + 8])
        found = _PROPER.match(ahead)
        if found is None:
            return None
        above, below = (int(digits) for digits in found.groups() if digits)
        if not 0 < above < below:
            return None
        self.position += len(found.group().split())
        return Fraction(above, below)

    def subscript(self) -> Node:
        """The base of a logarithm, where ``log_10`` is meant as a whole."""
        token = self.peek()
        if token is not None and token.kind == "number":
            return ("number", self.take().value)
        return self.argument()

    def function(self, name: str) -> Node:
        """A function with its base, its exponent and its argument."""
        base: Node | None = None
        power: Node | None = None
        while self.at("_", "^"):
            if self.take().text == "_":
                base = self.subscript()
            else:
                power = self.exponent()
        if self.at("(", "{", "["):
            inner = self.base()
        else:
            inner = self.unary()
            while self.starts_factor(functions=False):
                inner = ("multiply", inner, self.power())
        node: Node = (name, inner)
        if name == "log" and base is not None:
            node = ("divide", ("ln", inner), ("ln", base))
        elif base is not None:
            raise ReadError("a subscript on a function")
        if power == ("negative", ("number", Fraction(1))):
            if name not in ("sin", "cos", "tan"):
                raise ReadError("an unknown inverse")
            return ("arc" + name, inner)
        return node if power is None else ("power", node, power)
