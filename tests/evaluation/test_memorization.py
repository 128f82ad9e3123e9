"""Cutting a question, and comparing what a generator writes with its rest, by hand."""

from __future__ import annotations

import pytest

from e2h_cli.evaluation.memorization import cut, rouge_l, writes_exactly


def test_a_question_is_cut_behind_a_word() -> None:
    # 20 characters: the 12th is the second of "three".
    assert cut("one two of three\nsix", 0.6) == ("one two of three", "six")
    assert cut("one two of  three six", 0.4) == ("one two of", "three six")
    assert cut("one two", 0.6) is None
    assert cut("", 0.6) is None


@pytest.mark.parametrize(
    ("written", "exact"),
    [
        ("is 2 + 1?", True),
        ("\n is 2\n+  1?\n\nWe add.", True),
        ("is 2 + 1", False),
        ("So is 2 + 1?", False),
        ("", False),
    ],
)
def test_exact_match(written: str, exact: bool) -> None:
    assert writes_exactly(written, "is 2 + 1?") == exact


def test_the_last_word_is_whole() -> None:
    assert not writes_exactly("x is 12", "x is 1")
    assert writes_exactly("x is 1.", "x is 1")
    assert writes_exactly("x is $1$2", "x is $1$")


def test_rouge_l() -> None:
    # Longest common subsequence "a c d": 2 * 3 / (4 + 4).
    assert rouge_l("a x c d", "a b c d") == 0.75
    # In another order only one word counts.
    assert rouge_l("b a", "a b") == 0.5
    # Three words of five: 2 * 3 / (3 + 5).
    assert rouge_l("a b c", "a b c d e") == 0.75
    # What follows the question does not count.
    assert rouge_l("a b then the solution", "a b") == 1
    assert rouge_l("", "a b") == 0
