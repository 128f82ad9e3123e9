"""What a worker process computes: a pair judged by math-verify, or by PRM800K's sympy step."""

from __future__ import annotations

import logging
import re
from typing import Any

import sympy
from math_verify import LatexExtractionConfig, parse, verify
from sympy.parsing import sympy_parser

from e2h_cli.grading.normalise import unwrap
from e2h_cli.grading.prm800k_rule import compare
from e2h_cli.grading.symbolic import difference_is_zero
from e2h_cli.grading.verdict import VerdictKind

# The LaTeX reader only: the library's reader of plain expressions ends in Python's eval.
_READERS = [LatexExtractionConfig()]
logging.getLogger("math_verify").setLevel(logging.ERROR)
logging.getLogger("latex2sympy2_extended").setLevel(logging.ERROR)


def parse_number(text: str, *_: Any, **__: Any) -> Any:
    """What replaces sympy's ``parse_expr`` in a worker, which would end in Python's ``eval``.

    math-verify needs it for the digits of numbers only.

    Raises:
        ValueError: for any other text.
    """
    if re.fullmatch(r"[+-]?\d+", text):
        return sympy.Integer(text)
    if re.fullmatch(r"[+-]?(?:\d+\.\d*|\.\d+)", text):
        return sympy.Float(text)
    raise ValueError("not a number")


def judge(task: str, gold: str, answer: str) -> tuple[VerdictKind, str]:
    """The verdict on one pair and its reason. Anything that goes wrong makes it unreadable."""
    try:
        if task == "sympy":
            verdict = compare(gold, answer, difference_is_zero)
            return verdict.verdict, f"sympy: {verdict.reason}"
        return _verified(gold, answer)
    except MemoryError:
        return "unreadable", "too much memory"
    except RecursionError:
        return "unreadable", "nested too deep"
    except Exception as error:  # a library of this size may raise anything on such input
        return "unreadable", f"{type(error).__name__} in {task}"


def _verified(gold: str, answer: str) -> tuple[VerdictKind, str]:
    expected, given = _parsed(gold), _parsed(answer)
    # The timeouts of the library need signals and a main thread; the pool kills instead.
    if verify(expected, given, timeout_seconds=None):
        return "right", "math-verify: equal"
    if all(isinstance(item, str) for item in given):
        return "unreadable", "math-verify cannot read it"
    return "wrong", "math-verify: not equal"


def _parsed(text: str) -> list[Any]:
    text = unwrap(text)
    if "$" not in text.replace("\\$", ""):
        text = f"${text}$"
    return list(parse(text, extraction_config=_READERS, parsing_timeout=None))


def prepare() -> None:
    """Load what the libraries load on first use, and put an end to their evaluation of text."""
    for gold, answer in (
        ("x^2+2x+1=0", "(x+1)^2=0"),
        ("\\{1,2\\}", "1,2"),
        ("(1,2)\\cup(3,4)", "x<3"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(1,2)"),
        ("\\int_0^1 x dx", "\\frac{1}{2}"),
        ("\\sqrt{2}\\sin x", "\\log_2 8"),
        ("2x<3y", "y>\\frac{2x}{3}"),
        ("\\text{east}", "west"),
    ):
        judge("library", gold, answer)
    judge("sympy", "3\\sqrt{2}", "\\sqrt{18}")
    sympy_parser.parse_expr = parse_number
    judge("sympy", "\\sin(x)", "2\\sin(x/2)\\cos(x/2)")
