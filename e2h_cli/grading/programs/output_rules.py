"""Rules of comparison: whether what a program printed or returned is what a test expects.

A test holds one expected output. Where a problem has several valid answers, no rule knows the
others. ``apps`` accepts some of them, and wrong outputs with them, since it ignores the order of
lines and of tokens in a line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, get_args

from e2h_cli.data.program_tests import ProgramTests
from e2h_cli.settings.base import ComparisonName

COMPARISONS: tuple[ComparisonName, ...] = get_args(ComparisonName)

# Relative or absolute difference of two numbers that are equal under ``tolerant``.
TOLERANCE = 1e-6

# Digits that Python turns into an integer; more take it too long.
_LONGEST_INTEGER = 4_000

# A digit run cannot match in two ways, so that a token of a megabyte takes linear time.
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


def same_output(rule: ComparisonName, function: bool, expected: str, actual: str) -> bool:
    """Whether an output counts as the expected one. Equal texts do under every rule.

    ``apps``: what the harness of the data set accepts (testing_util.py of hendrycks/apps), as
    ``_apps_text`` and ``_apps_value`` describe. Finds wrong outputs right: order and repetitions of
    lines, and of tokens in a line, do not count.

    ``strict``: equal texts but for white space at the ends of lines and of the text. Results of
    functions are equal as JSON: 1 is not 1.0, and the order of keys does not count.

    ``tolerant``: equal tokens between white space. A number that is written as a float on one side
    at least may differ by 1e-6, relative or absolute; integers are compared by their digits.
    Results of functions have equal shape, keys and texts, and such numbers.

    Args:
        rule: the name of the rule.
        function: the outputs are JSON of a function's results, not texts of standard output.
        expected: the output of the test.
        actual: the output of the program.
    """
    if expected == actual:
        return True
    if not function:
        return _TEXTS[rule](expected, actual)
    try:
        return _VALUES[rule](_value(expected), _value(actual))
    except (ValueError, RecursionError, OverflowError):
        # No JSON, nested too deep, or an integer that is too large for a float.
        return False


def normal_form(function: bool, output: str) -> str:
    """A text that is the same for all outputs that are equal under ``strict``."""
    if not function:
        return "\n".join(line.rstrip() for line in output.split("\n")).rstrip()
    try:
        return json.dumps(_value(output), sort_keys=True)
    except (ValueError, RecursionError):
        return output


def accepted_outputs(rule: ComparisonName, tests: ProgramTests) -> list[tuple[str, ...]]:
    """The outputs that each test accepts: the expected one, and what it may stand for.

    APPS has the results of many functions in lists of one element, and nothing says of which.
    Where all results of a problem are such lists, ``strict`` and ``tolerant`` accept the element
    as well as the list; ``apps`` has a rule of its own.
    """
    alone: list[tuple[str, ...]] = [(output,) for output in tests.outputs]
    if tests.function is None or rule == "apps":
        return alone
    results = [_value(output) for output in tests.outputs]
    if not all(isinstance(result, list) and len(result) == 1 for result in results):
        return alone
    return [(*one, json.dumps(inner)) for one, [inner] in zip(alone, results, strict=True)]


def _value(text: str) -> Any:
    # Constants are made anew, since Python finds a NaN in a list equal to itself.
    return json.loads(text, parse_constant=float, parse_int=_integer)


def _integer(digits: str) -> int | str:
    """An integer, or its digits where Python refuses so many."""
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits


def _apps_text(expected: str, actual: str) -> bool:
    """The cascade of the APPS harness; the first stage that finds the outputs equal decides.

    Stages: the whole texts, stripped; the same with the actual lines stripped; the lines against
    the expected lines that are not empty, stripped; both without empty lines; one number in each
    line, close by numpy's allclose; the sets of the lines' sets of tokens; these sets with all
    tokens rounded to three decimals. The expected output is read anew for every program: the
    harness changes it on the way.
    """
    lines = actual.splitlines()
    whole = expected.strip()
    if whole in ("\n".join(lines).strip(), "\n".join(line.strip() for line in lines).strip()):
        return True
    # The harness drops lines that are empty and strips the others after that: of white space
    # alone, an expected line stays as an empty one.
    wanted = [line.strip() for line in expected.split("\n") if line]
    found = [line for line in lines if line]
    if wanted in (lines, found) or _all_close(found, wanted):
        return True
    tokens = [split for line in set(found) if (split := line.split())]
    wanted_tokens = [line.split() for line in set(wanted)]
    if {frozenset(t) for t in tokens} == {frozenset(t) for t in wanted_tokens}:
        return True
    try:
        return _rounded(tokens) == _rounded(wanted_tokens)
    except ValueError:
        return False


def _rounded(lines: Sequence[Sequence[str]]) -> set[frozenset[float]]:
    return {frozenset(round(float(token), 3) for token in line) for line in lines}


def _all_close(found: Sequence[str], wanted: Sequence[str]) -> bool:
    """``numpy.allclose`` of lines that are one number each."""
    if len(found) != len(wanted):
        return False
    try:
        pairs = [(float(a), float(b)) for a, b in zip(found, wanted, strict=True)]
    except ValueError:
        return False
    return all(
        a == b or (math.isfinite(b) and abs(a - b) <= 1e-8 + 1e-5 * abs(b)) for a, b in pairs
    )


def _apps_value(expected: Any, actual: Any) -> bool:
    """Python's equality, to the result or to its first element: APPS has results in lists.

    Tuples are lists at every depth, and keys are texts, where the harness reads numbers.
    """
    first = isinstance(expected, list) and expected and actual == expected[0]
    return bool(actual == expected or first)


def _strict_text(expected: str, actual: str) -> bool:
    return normal_form(False, expected) == normal_form(False, actual)


def _strict_value(expected: Any, actual: Any) -> bool:
    return json.dumps(expected, sort_keys=True) == json.dumps(actual, sort_keys=True)


def _tolerant_text(expected: str, actual: str) -> bool:
    wanted, found = expected.split(), actual.split()
    return len(wanted) == len(found) and all(map(_same_token, wanted, found))


def _same_token(expected: str, actual: str) -> bool:
    if expected == actual:
        return True
    if not (_NUMBER.fullmatch(expected) and _NUMBER.fullmatch(actual)):
        return False
    if _INTEGER.fullmatch(expected) and _INTEGER.fullmatch(actual):
        return False
    return _close(float(expected), float(actual))


def _tolerant_value(expected: Any, actual: Any) -> bool:
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(_tolerant_value, expected, actual))
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(
            _tolerant_value(value, actual[key]) for key, value in expected.items()
        )
    if isinstance(expected, float) or isinstance(actual, float):
        numbers = {type(expected), type(actual)} <= {int, float}
        return numbers and (expected == actual or _close(expected, actual))
    return type(expected) is type(actual) and bool(expected == actual)


def _close(a: float, b: float) -> bool:
    # Texts like 1e999 are infinite as numbers, and equal only as texts.
    finite = math.isfinite(a) and math.isfinite(b)
    return finite and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


_TEXTS: dict[ComparisonName, Callable[[str, str], bool]] = {
    "apps": _apps_text,
    "strict": _strict_text,
    "tolerant": _tolerant_text,
}
_VALUES: dict[ComparisonName, Callable[[Any, Any], bool]] = {
    "apps": _apps_value,
    "strict": _strict_value,
    "tolerant": _tolerant_value,
}
