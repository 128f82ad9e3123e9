"""Answers inside of whole solutions: taken out and graded by the rule e2h."""

from __future__ import annotations

import pytest

from e2h_cli.data.final_answer import stated_answer
from e2h_cli.grading import RuleGrader

LONG = "We add 3 to both sides, so that $x + 3 = 8$ holds.\n\n" * 60

RIGHT = [  # gold, text
    (r"\{1,2\}", r"The roots are \boxed{1}, \boxed{2}."),
    (r"\{1,2\}", r"So $x = \boxed{2}$ or $x = \boxed{1}$."),
    ("1, 2", r"$\boxed{1}$ and $\boxed{2}$"),
    (r"\{1,2,3\}", r"\boxed{1}, \boxed{2}, and \boxed{3}"),
    ("(1,2), (3,4)", r"The points are $(1,2)$ and $(3,4)$."),
    ("(1,2), (3,4)", r"\boxed{(1,2)} \text{ and } \boxed{(3,4)}"),
    ("(1,2), (3,4)", r"\boxed{(1,2)\text{ and }(3,4)}"),
    ("5", r"First \boxed{4} looks right, but then we find \boxed{5}."),
    ("5", r"\boxed{5}. Since $5 > 4$, this is the largest."),
    ("0.5", "0,5"),
    ("25.6", "25{,}6"),
    ("2, 3", r"x_{1} = 2, x_{2} = 3"),
    (r"\{3,2\}", r"x_{1} = 2, x_{2} = 3"),
    ("2, 3", r"$x_1 = 3$ and $x_2 = 2$"),
    ("1", "|AB| = 1"),
    ("7", r"\overline{AB} = 7"),
    (r"\frac{4}{3}", r"x = 4/3 \approx 1.3"),
    (r"\sqrt{2}", r"\sqrt{2} \approx 1.41"),
    ("9", "Answer $ 9 $"),
    ("9", "Answer: 9."),
    ("9", "**Answer:** 9"),
    ("9", r"The final answer is $9$. I hope it is correct."),
    ("9", "The answer is 9. We checked it twice."),
    ("9", "We are done.\n\n# Answer\n\n9"),
    ("9", "3 * 3 = 9\n#### 9"),
    ("5", "5\\"),
    ("5", "$5$ \\\\"),
    (r"\left(-\infty,\frac{1}{3}\right]", r"(-\infty, 0.333333]"),
    ("5", LONG + "The answer is 5."),
    ("5", LONG + r"Hence $x = 5$."),
    (r"\frac{1}{2}", LONG + r"\[\boxed{\frac12}\]"),
    ("42", "There are 6 rows of 7 seats, so the number of seats is 42."),
    (r"\frac{3}{4}", r"Dividing both sides by four, we find that $x = \frac{3}{4}$."),
    ("12", "Half of the 24 marbles are red.\nSo the number of red marbles equals 12"),
    ("(0,1)", "The function is positive. Its domain is (0,1)."),
    ("15", "Each costs $5 and there are $3 to pay more. The total is $15$."),
    (r"\text{Monday}", r"The meeting takes place on \boxed{\text{Monday}}."),
]
WRONG = [
    ("4", r"First \boxed{4} looks right, but then we find \boxed{5}."),
    ("1", r"The roots are \boxed{1}, \boxed{2}."),
    ("2", r"The roots are \boxed{1}, \boxed{2}."),
    ("5", r"\boxed{5}, \boxed{5}"),
    ("(3,4)", r"The points are $(1,2)$ and $(3,4)$."),
    ("(1,4), (3,2)", r"\boxed{(1,2)} and \boxed{(3,4)}"),
    ("3", r"x_{1} = 2, x_{2} = 3"),
    ("x_1=3, x_2=2", r"x_{1} = 2, x_{2} = 3"),
    ("1", "|x| = 1"),
    ("1.3", r"x = 4/3 \approx 1.3"),
    ("9", "The answer is 8, not 9."),
    ("9", "Answer $ 8 $ since $9$ is odd"),
    ("8", LONG + "The answer is 5."),
    ("6", "There are 6 rows of 7 seats, so the number of seats is 42."),
    ("7", "There are 6 rows of 7 seats, so the number of seats is 42."),
    ("5", "12 apples and 5 pears are not on the table."),
    ("5", "The answer is either 5 or 6."),
    ("5", r"We do not know whether $5$ or $6$ holds."),
    ("6", r"We do not know whether $5$ or $6$ holds."),
    ("(-\\infty,\\frac{1}{3}]", r"(-\infty, 0.33]"),
    ("15", "Each costs $5 and there are $3 to pay more."),
    ("5", LONG),
    ("5", "The answer is not $5$."),
    ("5", "The answer is not 5."),
    ("5", "We see that $x$ is not $5$."),
    ("5", "The answer can't be $5$."),
    ("5", "The value is not 5"),
    ("5", r"The answer is \boxed{6}, not $5$."),
    ("5", "It is 6.\nNote that $5$ would be wrong, so the answer is 6."),
]


@pytest.mark.parametrize(("gold", "text"), RIGHT)
def test_a_right_answer_is_found(e2h: RuleGrader, gold: str, text: str) -> None:
    verdict = e2h.grade([(gold, text)])[0]
    assert verdict.right, (verdict, stated_answer(text))


@pytest.mark.parametrize(("gold", "text"), WRONG)
def test_no_wrong_answer_becomes_right(e2h: RuleGrader, gold: str, text: str) -> None:
    verdict = e2h.grade([(gold, text)])[0]
    assert not verdict.right, (verdict, stated_answer(text))


@pytest.mark.parametrize(
    "text", ["x", r"\frac{1}{2}", "(1,2)", "5 square cm", "east", "f(x) = 2x", "$5$", "", "a and b"]
)
def test_bare_answers_stay_as_they_are(text: str) -> None:
    assert stated_answer(text) is None


@pytest.mark.parametrize(
    "part",
    ["$", "$$", r"\(", r"\boxed{", "answer ", "answer is ", "# answer\n", "is 1 ", "{", "$a "],
)
def test_hostile_solutions_end(e2h: RuleGrader, part: str) -> None:
    """They would take hours if the time grew with a power of the length."""
    assert not e2h.grade([("7", part * (100_000 // len(part)))])[0].right
