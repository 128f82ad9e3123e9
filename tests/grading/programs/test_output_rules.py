"""Rules of comparison on hand-made outputs."""

from __future__ import annotations

import json
import math
import random
import time

import numpy as np
import pytest

from e2h_cli.data.program_tests import ProgramTests
from e2h_cli.grading.programs import COMPARISONS, same_output
from e2h_cli.grading.programs.output_rules import accepted_outputs, normal_form

# Expected and actual text, and what apps, strict and tolerant say.
TEXTS = [
    ("3\n", "3\n", "yes yes yes"),
    ("3\n", "3", "yes yes yes"),
    ("1 2\n3\n", "1 2  \n3\n\n\n", "yes yes yes"),
    ("1 2\r\n3\r\n", "1 2\n3", "yes yes yes"),
    # apps, first stage: both texts stripped; then the actual lines stripped.
    ("  x\ny", "x\ny", "yes no yes"),
    ("x\ny", "  x\n\ty ", "yes no yes"),
    # Second and third stage: empty lines.
    ("x\n\n\ny", "x\ny", "yes no yes"),
    (" x\n\n  y", "x\n\ny", "yes no yes"),
    # One number a line, close by numpy's allclose: 1e-5 relative, 1e-8 absolute.
    ("100000\n2", "100000.9\n2", "yes no no"),
    ("100000\n2", "100001.1\n2", "no no no"),
    ("0\n2", "0.000000001\n2", "yes no yes"),
    ("inf\n2", "Infinity\n2.0", "yes no no"),
    ("0.5\n1", "0.5000001\n1", "yes no yes"),
    # Sets of the sets of tokens: no order of lines or tokens, no repetitions.
    ("1 2\n3 4\n", "4 3\n2 1\n", "yes no no"),
    ("YES\nNO\nYES\n", "YES\nNO\n", "yes no no"),
    ("1 1 2\n", "2 1\n", "yes no no"),
    ("1\n2\n", "1 2\n", "no no yes"),
    ("a b\n", "b c\n", "no no no"),
    # An expected line of white space alone stays as an empty one, and the sets differ.
    ("1 2\n \n3", "2 1\n3", "no no no"),
    # Tokens rounded to three decimals, if all are numbers.
    ("1.0001 2\n", "2.0 1\n", "yes no no"),
    ("0.0004 5\n", "0 5\n", "yes no no"),
    ("0.0006 5\n", "0 5\n", "no no no"),
    ("x 1.0001\n", "x 1.0\n", "no no no"),
    # tolerant: integers by their digits, floats within 1e-6, relative or absolute.
    ("2", "2.0", "yes no yes"),
    ("2", "2e0", "yes no yes"),
    ("x 2", "x 02", "no no no"),
    ("x 1234567", "x 1234567.9", "no no yes"),
    ("x 1234567", "x 1234568", "no no no"),
    ("x 0.0000001", "x 0", "no no yes"),
    ("x 1.00001", "x 1.0", "no no no"),
    ("x 1e999", "x 2e999", "no no no"),
    ("x nan", "x NaN", "no no no"),
    ("Yes", "YES", "no no no"),
    ("ü ✓", "ü  ✓", "yes no yes"),
    ("", "\n \n", "yes yes yes"),
    ("", "0", "no no no"),
    ("0", "", "no no no"),
]

VALUES = [
    ("[1, 2]", "[1,2]", "yes yes yes"),
    ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', "yes yes yes"),
    ("1", "1.0", "yes no yes"),
    ("1", "true", "yes no no"),
    ("0", "false", "yes no no"),
    ("null", "0", "no no no"),
    ('"1"', "1", "no no no"),
    ("[5]", "5", "yes no no"),
    ("[5, 6]", "5", "yes no no"),
    ("5", "[5]", "no no no"),
    ("[[1, 2]]", "[1, 2]", "yes no no"),
    ("[]", "null", "no no no"),
    ("0.3", "0.30000000000000004", "no no yes"),
    ("[0.3, [1]]", "[0.30000000000000004, [1.0]]", "no no yes"),
    ('{"a": 0.1}', '{"a": 0.1000000001}', "no no yes"),
    ('{"a": 0.1}', '{"b": 0.1}', "no no no"),
    ("1000000", "1000001", "no no no"),
    ("1.0", "1.001", "no no no"),
    ("[1, 2]", "[2, 1]", "no no no"),
    ("[1]", "[1, 1]", "no no no"),
    ('"x "', '"x"', "no no no"),
    ("[Infinity]", "[Infinity, 1]", "no no no"),
    ("-0.0", "0.0", "yes no yes"),
    ('"é"', '"\\u00e9"', "yes yes yes"),
    ("1", "nonsense", "no no no"),
]


def _said(function: bool, expected: str, actual: str) -> str:
    return " ".join(
        "yes" if same_output(rule, function, expected, actual) else "no" for rule in COMPARISONS
    )


@pytest.mark.parametrize(("expected", "actual", "said"), TEXTS)
def test_texts(expected: str, actual: str, said: str) -> None:
    assert _said(False, expected, actual) == said
    for rule in COMPARISONS:  # nothing is changed on the way, as the harness of APPS does
        assert same_output(rule, False, expected, expected)
        assert same_output(rule, False, actual, actual)


@pytest.mark.parametrize(("expected", "actual", "said"), VALUES)
def test_results_of_functions(expected: str, actual: str, said: str) -> None:
    assert _said(True, expected, actual) == said


def test_several_valid_answers() -> None:
    """No rule knows another answer than the given one; apps takes one in another order."""
    paths = ("1 2 4\n", "1 3 4\n")
    assert _said(False, *paths) == "no no no"
    pairs = ("1 5\n2 4\n", "2 4\n5 1\n")
    assert _said(False, *pairs) == "yes no no"
    assert _said(True, "[[1, 5], [2, 4]]", "[[2, 4], [1, 5]]") == "no no no"


def test_close_lines_are_those_of_numpy() -> None:
    rng = random.Random(0)
    numbers = [0.0, 1e-9, 1e-8, 2e-8, 1.0, 1.00001, 1.000011, 1e5, 1e308, math.inf, -math.inf]
    seen = set()
    for _ in range(2_000):
        wanted = [rng.choice(numbers) for _ in range(2)]
        found = [w if rng.random() < 0.4 else w * (1 + rng.choice((8e-6, 2e-5))) for w in wanted]
        # A third line of text would end the stages of numbers; equal first lines the last ones.
        expected, actual = ("\n".join(f"{x!r}" for x in side) for side in (wanted, found))
        close = bool(np.allclose(found, wanted))
        same_sets = {round(x, 3) for x in wanted} == {round(x, 3) for x in found}
        assert same_output("apps", False, expected, actual) == (close or same_sets)
        seen.add((close, same_sets))
    assert seen == {(True, True), (True, False), (False, True), (False, False)}


@pytest.mark.parametrize("function", [False, True])
def test_strict_is_an_equivalence_with_a_normal_form(function: bool) -> None:
    cases = VALUES if function else TEXTS
    for expected, actual, said in cases:
        equal = normal_form(function, expected) == normal_form(function, actual)
        assert equal == (said.split()[1] == "yes"), (expected, actual)


@pytest.mark.parametrize(
    ("outputs", "accepted"),
    [
        (("[5]", "[7]"), [("[5]", "5"), ("[7]", "7")]),
        (("[[1, 2]]",), [("[[1, 2]]", "[1, 2]")]),
        (("[5]", "[7, 8]"), [("[5]",), ("[7, 8]",)]),
        (("[5]", "[]"), [("[5]",), ("[]",)]),
        (("5",), [("5",)]),
    ],
)
def test_results_in_lists_of_one(outputs: tuple[str, ...], accepted: list[object]) -> None:
    """Accepted without the list where all results of the problem have one."""
    tests = ProgramTests(("[]",) * len(outputs), outputs, "f")
    assert accepted_outputs("strict", tests) == accepted_outputs("tolerant", tests) == accepted
    assert accepted_outputs("apps", tests) == [(output,) for output in outputs]


# Long or odd outputs, and what the rules say of them as texts.
HOSTILE = {
    "digits": ("1" * 2**20, "1" * 2**20 + "x", "no no no"),
    "near digits": ("1." + "3" * 2**20, "1." + "3" * 2**20 + "4", "yes no yes"),
    "exponent": ("1e" + "9" * 2**20, "2e" + "9" * 2**20, "yes no no"),
    "lines": ("1\n" * 2**19, "1\n" * (2**19 - 1) + "2\n", "no no no"),
    "numbers": (
        "".join(f"{i}\n" for i in range(150_000)),
        "".join(f"{i}.0001\n" for i in range(120_000)),
        "no no no",
    ),
    "spaces": (" " * 2**20 + "x", " " * 2**20 + "y", "no no no"),
    "blank lines": ("\n" * 2**20 + "x", "\n " * 2**19 + "y", "no no no"),
    "tokens": ("a b " * 2**18, "b a " * 2**18, "yes no no"),
    "deep": ("[" * 2**19 + "]" * 2**19, "[" * 2**19 + "1" + "]" * 2**19, "no no no"),
    "long integers": ("[" + "7" * 10_000 + "]", "[" + "7" * 9_999 + "8]", "no no no"),
    "long integer and float": ("1" + "0" * 3_000, "1e9", "no no no"),
    "surrogates": ("\ud800", "\ud801", "no no no"),
    "nulls": ("\0", "\0\0", "no no no"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_outputs_take_bounded_time(name: str) -> None:
    expected, actual, said = HOSTILE[name]
    start = time.perf_counter()
    assert _said(False, expected, actual) == said
    _said(True, expected, actual)
    normal_form(False, actual)
    normal_form(True, actual)
    assert time.perf_counter() - start < 30


def test_hostile_results_of_functions() -> None:
    for name in ("deep", "long integers", "long integer and float", "digits", "surrogates"):
        assert _said(True, *HOSTILE[name][:2]) == "no no no"


def test_nan_equals_itself_only_as_a_text() -> None:
    assert _said(True, "[NaN]", "[NaN]") == "yes yes yes"
    assert _said(True, "[NaN]", "[ NaN]") == "no yes no"
    assert json.loads(normal_form(True, "[1e400]")) == [math.inf]
