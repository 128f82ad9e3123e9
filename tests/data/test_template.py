"""Template and parsing: text to steps, answers and positions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2h_cli.data.template import Solution, completion, parse, prompt, token_of_character


def texts(solution: Solution) -> list[str]:
    return [step.text for step in solution.steps]


def test_a_written_solution_reads_back() -> None:
    text = completion(["b=3+4=7", "c=7*2=4"], "4")
    assert text == "b=3+4=7\n\nc=7*2=4\n\n# Answer\n\n4"
    solution = parse(text)
    assert texts(solution) == ["b=3+4=7", "c=7*2=4"]
    assert solution.answer == "4"
    assert solution.outcome == "complete"


def test_prompt_is_the_paper_s_template() -> None:
    assert prompt("1+1?") == "# Question\n\n1+1?\n\n# Solution\n\n"


@pytest.mark.parametrize("newlines", [1, 2, 3, 4])
def test_any_number_of_newlines_separates(newlines: int) -> None:
    gap = "\n" * newlines
    solution = parse(f"one{gap}two{gap}# Answer{gap}5")
    assert texts(solution) == ["one", "two"]
    assert solution.answer == "5"


@pytest.mark.parametrize(
    ("text", "finished", "outcome", "steps", "answer"),
    [
        ("# Answer\n\n5", True, "no steps", 0, "5"),
        ("a\n\nb", True, "no answer", 2, None),
        ("a\n\n# Answer\n\n", True, "no answer", 1, None),
        ("a\n\n# Answer\n\n12", False, "truncated", 1, None),
        ("a\n\nb", False, "truncated", 2, None),
        ("", True, "no answer", 0, None),
        ("\n\n\n", True, "no answer", 0, None),
        ("a\n\n# Answer\n\n5\n\nmore", True, "complete", 1, "5"),
    ],
)
def test_outcomes(text: str, finished: bool, outcome: str, steps: int, answer: str | None) -> None:
    solution = parse(text, finished=finished)
    assert (solution.outcome, len(solution.steps), solution.answer) == (outcome, steps, answer)


def test_a_single_newline_is_inside_a_step_where_there_are_blank_lines() -> None:
    r"""As in the released code: \\[ ... \\] on lines of its own is no step, and gets no score."""
    text = "So\n\\[x = 1\\]\nholds.\n\nNow y.\n# Answer\n\n1"
    solution = parse(text)
    assert texts(solution) == ["So\n\\[x = 1\\]\nholds.", "Now y."]
    header = text.index("# Answer")
    assert [step.separator_end for step in solution.steps] == [text.index("Now"), header]
    # Without blank lines every line is a step.
    assert texts(parse("a\nb\n# Answer\n1\nmore")) == ["a", "b"]
    assert parse("a\nb\n# Answer\n1\nmore").answer == "1"


def test_an_answer_of_several_lines_is_kept_whole() -> None:
    text = "a\n\n# Answer\n\n\\begin{pmatrix}\n1 \\\\\n2\n\\end{pmatrix}\n\nand more"
    assert parse(text).answer == "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"


def test_spans_point_at_the_text_and_its_separator() -> None:
    text = "one\n\ntwo \n\n# Answer\n\n5"
    solution = parse(text)
    for step in solution.steps:
        assert text[step.start : step.end] == step.text
    assert [step.separator_end for step in solution.steps] == [5, 11]


def test_the_last_piece_of_an_unfinished_solution_is_open() -> None:
    assert [step.separator_end for step in parse("a\n\nb", finished=False).steps] == [3, None]


def test_an_answer_header_inside_a_line_is_text() -> None:
    assert texts(parse("see # Answer here\n\n# Answer\n\n1")) == ["see # Answer here"]


@given(
    st.lists(
        st.text(alphabet="ab #=.\t\u00e9\u4e2d", min_size=1).filter(lambda s: s.strip()), max_size=5
    ),
    st.text(alphabet="12x", min_size=1),
)
def test_round_trip(steps: list[str], answer: str) -> None:
    steps = [s for s in steps if s.split() and " ".join(s.split()).replace(" ", "") != "#Answer"]
    solution = parse(completion(steps, answer))
    assert texts(solution) == [" ".join(step.split()) for step in steps]
    assert solution.answer == answer


@given(st.text(alphabet="a#\n \tAnswer1", max_size=60), st.booleans())
def test_parsing_never_fails_and_steps_are_never_empty(text: str, finished: bool) -> None:
    solution = parse(text, finished=finished)
    assert all(step.text.strip() for step in solution.steps)
    for before, after in zip(solution.steps, solution.steps[1:], strict=False):
        assert before.separator_end == after.start


def test_token_of_character() -> None:
    offsets = [(0, 0), (0, 2), (2, 3), (2, 3), (3, 6)]  # a special token, a character of two tokens
    assert [token_of_character(offsets, c) for c in range(6)] == [1, 1, 3, 4, 4, 4]
    with pytest.raises(ValueError, match="no token"):
        token_of_character(offsets, 6)
