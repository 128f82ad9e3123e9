"""The paper's grader, and what its released code does."""

from __future__ import annotations

import pytest

from e2h_cli.grading import RuleGrader

OFFICIAL_EQUAL = [
    ("0.5", r"\frac{1}{2}"),
    ("1/2", r"\frac{1}{2}"),
    ("1,000", "1000"),
    ("x=5", "5"),
    ("5 cm", "5"),
    (r"\$5", "5"),
    (r"10\%", "10"),
    ("5.0", "5"),
    ("(1, 2)", "(1,2)"),
    (r"\dfrac12", r"\frac12"),
    ("North", "NORTH"),
]
OFFICIAL_FALSELY_UNEQUAL = [
    ("x+1", "1+x"),
    ("0.25", r"\frac{1}{4}"),
    (r"3\sqrt2", r"\sqrt{18}"),
    ("7 3/4", r"\frac{31}{4}"),
]
OFFICIAL_FALSELY_EQUAL = [("Mon", "Monday"), ("dia", "diameter")]

RIGHT = [
    *OFFICIAL_EQUAL,
    *OFFICIAL_FALSELY_UNEQUAL,
    (r"7\frac{3}{4}", "7.75"),
    (r"-7\frac{3}{4}", r"-\frac{31}{4}"),
    (r"\frac{1+\sqrt{5}}{2}", r"\frac{\sqrt{5}+1}{2}"),
    (r"(1, \frac{1}{4})", "(1,0.25)"),
    (r"(1+\sqrt{2}, 3)", r"(\sqrt{2}+1, 3)"),
    (r"[0, \frac{\pi}{2})", r"[0,\pi/2)"),
    (r"\text{Monday}", "monday"),
    (r"90^\circ", "90"),
    (r"5\text{ cm}", "5"),
    ("5 centimeters", "5"),
    (r"10,\!000", "10000"),
    ("10{,}000", "10000"),
    (r"\boxed{5}", "$5$"),
    (r"\sqrt{3} i", r"i\sqrt{3}"),
    (r"2\pi\sqrt{3}", r"\sqrt{12}\pi"),
    ("x^2+2x+1", "(x+1)^2"),
    ("x^{2}+1", "1+x^{2}"),
]
WRONG = [
    *OFFICIAL_FALSELY_EQUAL,
    ("2/4", "1/2"),
    (r"\frac{6}{4}", r"\frac{3}{2}"),
    ("4", r"\sqrt{16}"),
    ("4", "2+2"),
    ("[1,2)", "(1,2]"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "(1,2,3)"),
    ("(1, 2/4)", "(1, 1/2)"),
    ("a+b+c", "c+b+a"),
    ("x^{10}+1", "1+x^{10}"),
    ("2^11", "2^10*2"),
    ("5", "6"),
    ("2^{1/2}", "2^1/2"),
    ("2^{n+1}", "1+2^n"),
    ("1011_2", "10112"),
    ("12", r"12\text{ and }13"),
]


@pytest.mark.parametrize(("gold", "answer"), OFFICIAL_EQUAL + OFFICIAL_FALSELY_EQUAL)
def test_official_calls_equal(official: RuleGrader, gold: str, answer: str) -> None:
    assert all(v.right for v in official.grade([(gold, answer), (answer, gold)]))


@pytest.mark.parametrize(("gold", "answer"), [*OFFICIAL_FALSELY_UNEQUAL, ("2/4", "1/2")])
def test_official_calls_unequal(official: RuleGrader, gold: str, answer: str) -> None:
    verdicts = official.grade([(gold, answer), (answer, gold)])
    assert [v.verdict for v in verdicts] == ["wrong", "wrong"]


UNIT_WORDS = "degree cm centimeter meter mile second minute hour day week month year foot feet"


@pytest.mark.parametrize("unit", [*UNIT_WORDS.split(), "inch", "yard"])
def test_unit_words_inside_words(official: RuleGrader, prm800k: RuleGrader, unit: str) -> None:
    pair = [("xq", f"xq{unit}"), ("5", f"5 {unit}s")]
    assert [v.right for v in official.grade(pair)] == [True, True]
    assert [v.right for v in prm800k.grade(pair)] == [False, True]


@pytest.mark.parametrize(("gold", "answer"), RIGHT)
def test_right_in_both_orders(prm800k: RuleGrader, gold: str, answer: str) -> None:
    for verdict in prm800k.grade([(gold, answer), (answer, gold)]):
        assert verdict.right, verdict


@pytest.mark.parametrize(("gold", "answer"), WRONG)
def test_wrong_in_both_orders(prm800k: RuleGrader, gold: str, answer: str) -> None:
    for verdict in prm800k.grade([(gold, answer), (answer, gold)]):
        assert verdict.verdict == "wrong", verdict


def test_sympy_confirms_irrational_values(prm800k: RuleGrader) -> None:
    verdict = prm800k.grade([(r"3\sqrt{2}", r"\sqrt{18}")])[0]
    assert verdict.reason == "sympy: difference is zero"


def test_unreduced_fractions_separate_the_rules(
    math_verify: RuleGrader, prm800k: RuleGrader
) -> None:
    pair = [(r"\frac{1}{2}", r"\frac{2}{4}")]
    assert math_verify.grade(pair)[0].right
    assert not prm800k.grade(pair)[0].right
