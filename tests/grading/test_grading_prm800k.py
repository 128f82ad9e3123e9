"""The paper's grader, and its released code, on typical answers."""

from __future__ import annotations

import pytest

from e2h_cli.grading import RuleGrader

OFFICIAL_EQUAL = [
    ("0.5", r"\frac{1}{2}"),
    ("1/2", r"\frac{1}{2}"),
    ("1,000", "1000"),
    ("10{,}000", "10000"),
    ("x=5", "5"),
    ("5 cm", "5"),
    (r"\$5", "5"),
    (r"10\%", "10"),
    ("5.0", "5"),
    ("(1, 2)", "(1,2)"),
    (r"\dfrac12", r"\frac12"),
    ("North", "NORTH"),
    (r"\frac{π}{2}", r"\frac{\pi}{2}"),
    (r"\sqrt[3]{5}", r"\sqrt{5}"),  # the degree of a root is lost
    ("1011_2", "10112"),
    ("Mon", "Monday"),
    ("dia", "diameter"),
]
OFFICIAL_UNEQUAL = [
    ("x+1", "1+x"),
    ("0.25", r"\frac{1}{4}"),
    (r"3\sqrt2", r"\sqrt{18}"),
    ("7 3/4", r"\frac{31}{4}"),
    ("2/4", "1/2"),
    (r"\frac{1}{3}", r"\frac{1}{3}."),
]
RIGHT = [
    *OFFICIAL_EQUAL,
    *OFFICIAL_UNEQUAL[:4],
    (r"7\frac{3}{4}", "7.75"),
    (r"\frac{1+\sqrt{5}}{2}", r"1+\sqrt{5}/2"),  # the brackets of the fraction are lost
    (r"(1, \frac{1}{4})", "(1,0.25)"),
    (r"[0, \frac{\pi}{2})", r"[0,\pi/2)"),
    (r"\text{Monday}", "monday"),
    ("5 centimeters", "5"),
    (r"10,\!000", "10000"),
    (r"\boxed{5}", "$5$"),
    (r"\sqrt{3} i", r"i\sqrt{3}"),
    (r"2\pi\sqrt{3}", r"\sqrt{12}\pi"),
    ("x^2+2x+1", "(x+1)^2"),
]
WRONG = [
    *OFFICIAL_UNEQUAL[4:],
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
    ("i^2+x", "x-1"),
    (r"(1+\sqrt{2}, 3)", r"(\sqrt{2}+1, 3)"),  # no tuple, for its brackets
    ("25{,}6", "256"),
    ("25{,}60", "2560"),
    ("0{,}5", "5"),
]


@pytest.mark.parametrize(("gold", "answer"), OFFICIAL_EQUAL)
def test_official_calls_equal(official: RuleGrader, gold: str, answer: str) -> None:
    assert all(v.right for v in official.grade([(gold, answer), (answer, gold)]))


@pytest.mark.parametrize(("gold", "answer"), OFFICIAL_UNEQUAL + WRONG)
def test_official_calls_unequal(official: RuleGrader, gold: str, answer: str) -> None:
    verdicts = official.grade([(gold, answer), (answer, gold)])
    assert [v.verdict for v in verdicts] == ["wrong", "wrong"]


@pytest.mark.parametrize(("gold", "answer"), RIGHT)
def test_right_in_both_orders(prm800k: RuleGrader, gold: str, answer: str) -> None:
    for verdict in prm800k.grade([(gold, answer), (answer, gold)]):
        assert verdict.right, verdict


@pytest.mark.parametrize(("gold", "answer"), WRONG)
def test_wrong_in_both_orders(prm800k: RuleGrader, gold: str, answer: str) -> None:
    for verdict in prm800k.grade([(gold, answer), (answer, gold)]):
        assert verdict.verdict == "wrong", verdict


@pytest.mark.parametrize("rule", ["prm800k", "official"])
def test_a_comma_in_braces_only_separates_thousands(
    rule: str, request: pytest.FixtureRequest
) -> None:
    grader: RuleGrader = request.getfixturevalue(rule)
    for n in range(10, 3_000, 7):
        digits = str(n)
        for at in range(1, len(digits)):
            pair = (digits, f"{digits[:at]}{{,}}{digits[at:]}")
            verdict = grader.grade([pair])[0]
            assert verdict.right is (len(digits) - at == 3), pair


def test_sympy_confirms_irrational_values(prm800k: RuleGrader) -> None:
    verdict = prm800k.grade([(r"3\sqrt{2}", r"\sqrt{18}")])[0]
    assert verdict.reason == "sympy: difference is zero"
