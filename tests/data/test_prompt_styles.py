"""The wordings of prompts: exact texts, and steps and answers of solutions that follow them."""

from __future__ import annotations

import pytest

from e2h_cli.data import prompt_styles, template
from e2h_cli.data.prompt_styles import STYLES

E2H, MINERVA = STYLES["e2h"], STYLES["minerva"]
ENDING = "I hope it is correct."


def test_minerva_prompts_are_those_of_the_paper() -> None:
    example = ("How much is $1+1$?", ["We add.", "So $1+1=2$."], "2")
    assert MINERVA.prompt(" And $2+2$? ", [example]) == (
        "Problem:\nHow much is $1+1$?\n\n"
        "Solution:\nWe add.\nSo $1+1=2$.\n"
        "Final Answer: The final answer is $2$. I hope it is correct.\n\n"
        "Problem:\nAnd $2+2$?\n\n"
        "Solution:"
    )


def test_e2h_examples_are_solutions_in_the_template() -> None:
    assert E2H.prompt("q", [("q", ["a", "b"], "2")]) == (
        "# Question\n\nq\n\n# Solution\n\na\n\nb\n\n# Answer\n\n2\n\n" + template.prompt("q")
    )
    assert E2H.prompt("q") == template.prompt("q")
    text = "a\n\n# Answer\n\n2"
    assert prompt_styles.parse(E2H, text) == template.parse(text)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("2", f"Final Answer: The final answer is $2$. {ENDING}"),
        (r"\frac{1}{2}", rf"Final Answer: The final answer is $\frac{{1}}{{2}}$. {ENDING}"),
        (r"\$18.90", rf"Final Answer: The final answer is $\$18.90$. {ENDING}"),
        ("1,000", f"The final answer is $1,000$. {ENDING}"),
        ("2", "Final Answer: The final answer is 2."),
        ("2", r"Final Answer: The final answer is $\boxed{2}$"),
        (None, "The answer is $2$."),
        (None, f"Final Answer: The final answer is $ $. {ENDING}"),
        (None, "Final Answer:"),
    ],
)
def test_the_answer_is_that_of_the_final_sentence(answer: str | None, sentence: str) -> None:
    solution = prompt_styles.parse(MINERVA, f"\nWe add $7$.\nSo $1+1=2$.\n{sentence}\n\n")
    assert solution.answer == answer
    assert [step.text for step in solution.steps][:2] == ["We add $7$.", "So $1+1=2$."]


def test_lines_are_steps_in_the_template() -> None:
    text = f"\nWe  add.\n\n  # Answer\nSo 2.\nFinal Answer: The final answer is $2$. {ENDING}\n\n"
    assert MINERVA.in_template(text) == "We add.\n\nSo 2.\n\n# Answer\n\n2"
    assert MINERVA.in_template("\nWe add.\nSo") == "We add.\n\nSo"
    cut = prompt_styles.parse(MINERVA, "\nWe add.\nSo 2.", finished=False)
    assert (len(cut.steps), cut.outcome) == (2, "truncated")
    for hostile in ("", "\n", "$" * 9999, "The final answer is" * 999):
        prompt_styles.parse(MINERVA, hostile)
