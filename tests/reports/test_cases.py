"""Case studies: which problems are chosen, what is counted, and that texts come out literally."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pyarrow as pa
import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from e2h_cli.common.errors import InputError
from e2h_cli.common.parquet_store import SAMPLE_SCHEMA, SCORE_SCHEMA
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.sample_groups import SampleGroup
from e2h_cli.evaluation.voting import NO_ANSWER
from e2h_cli.reports.case_pages import (
    case_markdown,
    case_renderable,
    study_markdown,
    study_renderable,
)
from e2h_cli.reports.cases import (
    AnswerVotes,
    Case,
    GradedSamples,
    ShownSolution,
    first_wrong_cases,
    style_cases,
    vote_cases,
)

HOSTILE = "[red]x[/red] ``` | <script>alert(1)</script> **b** :smile: $a$ \x1b[2J ````"
# Steps, answer, step scores, outcome score; of problems by id and level.
Sample = tuple[list[str], str | None, list[float], float]
Samples = dict[tuple[str, int], list[Sample]]


def problem(name: str, level: int) -> Problem:
    return Problem(name, f"Question {name}?", level, "Algebra", "own", answer="10")


def graded(name: str, samples: Samples, scored: bool = True) -> GradedSamples:
    """Samples and groups of problems whose right answer is 10."""
    rows, scores, groups = [], [], []
    for (key, level), solutions in samples.items():
        answers = [answer for _, answer, _, _ in solutions]
        distinct = [a for a in dict.fromkeys(answers) if a is not None]
        classes = [NO_ANSWER if a is None else distinct.index(a) for a in answers]
        right = np.array([a == "10" for a in answers], dtype=bool)
        numbers = tuple(range(len(answers)))
        given = problem(key, level)
        groups.append(SampleGroup(given, numbers, tuple(answers), np.array(classes), right))
        for number, (steps, answer, step_scores, outcome) in enumerate(solutions):
            same = {"id": key, "sample": number}
            text = template.completion(steps, answer or "")
            rows.append({**same, "text": text, "answer": answer, "tokens": 10 * len(steps)})
            scores.append({**same, "step_scores": step_scores, "outcome_score": outcome})
    samples_table = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
    score_table = pa.Table.from_pylist(scores, schema=SCORE_SCHEMA) if scored else None
    return GradedSamples(name, groups, samples_table, score_table)


def vote(answer: str | None, score: float, first: float = 1.0) -> Sample:
    """Two steps; the product of the scores is ``first * score``."""
    return ["one", "two"], answer, [first, 1.0], score


# Majority 36, weights 10: margins 0.75 - 0.25 and 0.75 - 0.5.
TURNED = {
    ("b", 5): [
        *(vote("36", 0.125), vote("36", 0.25, 0.5), vote("36", 0)),
        *(vote("10", 0.25), vote("10", 0.5)),
    ],
    ("a", 4): [vote("36", 0.25), vote("36", 0.25), vote("10", 0.75), vote(None, 1), vote(None, 1)],
}
OTHERS = {
    ("easy", 1): [vote("36", 0), vote("36", 0), vote("10", 1), vote("7", 0), vote("8", 0)],
    ("back", 4): [vote("10", 0), vote("10", 0), vote("36", 1), vote("7", 0), vote("8", 0)],
    ("none", 4): [vote(None, 1)] * 5,
    ("good", 4): [vote("10", 1)] * 5,
}


def test_the_vote_with_the_largest_margin_of_weights() -> None:
    study = vote_cases(graded("sft", {**OTHERS, **TURNED}), "prod", max_level=3, count=1)
    assert study.outcomes == (
        ("majority wrong, weighted right", 2),
        ("majority right, weighted wrong", 1),
        ("majority right, weighted right", 1),
        ("majority wrong, weighted wrong", 1),
    )
    (case,) = study.cases
    assert case.problem.id == "b"
    # The first of two solutions of the same weight.
    assert (case.left.name, case.left.answer, case.left.right) == ("majority", "36", False)
    assert case.left.votes == AnswerVotes(3, 0.25, 0.125)
    assert case.left.step_scores == (1.0, 1.0)
    assert (case.right.name, case.right.answer, case.right.right) == ("weighted", "10", True)
    assert case.right.votes == AnswerVotes(2, 0.75, 0.5)
    assert "Of 5 hard problems (above level 3)" in study.rule
    both = vote_cases(graded("sft", TURNED), "prod", max_level=3, count=5)
    assert [c.problem.id for c in both.cases] == ["b", "a"]


def test_without_hard_problems_all_are_considered() -> None:
    study = vote_cases(graded("sft", OTHERS), "prod", max_level=5, count=3)
    assert [case.problem.id for case in study.cases] == ["easy"]
    assert "Of 4 problems (none is hard)" in study.rule
    assert "majority wrong, weighted right: 1; majority right, weighted wrong: 1" in study_markdown(
        study
    )


def greedy(answer: str, *steps: str, scores: tuple[float, ...] = ()) -> list[Sample]:
    return [([*steps], answer, [*scores], 0.5)]


BEFORE = {
    ("z", 2): greedy("1", "z"),
    ("c", 4): greedy("2", "one", "two", "three", scores=(0.5, 0.4, 0.3)),
    ("b", 4): greedy("3", "b"),
    ("d", 5): greedy("10", "d"),
    ("e", 5): greedy("4", "e"),
}
AFTER = {
    ("e", 5): greedy("5", "e"),
    ("d", 5): greedy("6", "d", "d", "d"),
    ("b", 4): greedy("10", "bb", "bb", "bb"),
    ("c", 4): greedy("10", "c", "c"),
    ("z", 2): greedy("10", "z"),
}


def test_first_wrong_then_right_at_the_highest_level() -> None:
    study = first_wrong_cases(graded("sft", BEFORE), graded("ppo", AFTER, scored=False), count=2)
    assert study.outcomes == (
        ("sft wrong, ppo right", 3),
        ("sft right, ppo wrong", 1),
        ("sft right, ppo right", 0),
        ("sft wrong, ppo wrong", 1),
    )
    assert [case.problem.id for case in study.cases] == ["b", "c"]
    case = study.cases[1]
    assert (case.left.name, case.left.answer, case.right.answer) == ("sft", "2", "10")
    # A score of 0.5 is right; the first one below it is that of the second step.
    assert case.left.first_low == 1
    assert (case.right.step_scores, case.right.outcome_score) == ((), None)
    text = case_markdown(case)
    assert "     2  0.40 !  two\n     3  0.30    three\nanswer  0.50    2\n" in text
    assert "     1  c\n     2  c\nanswer  10\n" in text
    assert "! marks the first step" in text


def test_samples_of_other_problems_are_refused() -> None:
    some = {key: BEFORE[key] for key in list(BEFORE)[1:]}
    with pytest.raises(InputError, match="sft and ppo have sampled different problems"):
        style_cases(graded("sft", some), graded("ppo", AFTER), count=1)


def test_style_of_the_median_problem() -> None:
    """Steps change by 0, -1, 2, 2 and 0: the median is 0, of equal texts none is shown."""
    study = style_cases(graded("sft", BEFORE), graded("ppo", AFTER), count=1)
    assert "median change (+0)" in study.rule
    assert study.outcomes == (("different", 5), ("the same", 0))
    # Problems e and z have the same steps and other answers.
    assert [case.problem.id for case in study.cases] == ["e"]
    assert study.style is not None
    sft, ppo = study.style
    # 7 steps of 1 + 3 + 3 + 5 + 1 + 1 + 1 characters in 5 solutions.
    assert (sft.steps, sft.characters_per_step, sft.tokens) == (7 / 5, 15 / 7, 14.0)
    assert (ppo.steps, ppo.characters_per_step, ppo.tokens) == (10 / 5, 13 / 10, 20.0)
    assert (sft.share_right, ppo.share_right) == (1 / 5, 3 / 5)
    assert "| characters per step | 2.1 | 1.3 |\n" in study_markdown(study)
    assert "characters per step" in on_terminal(study_renderable(study))
    same = style_cases(graded("sft", BEFORE), graded("again", BEFORE), count=1)
    assert (same.outcomes, same.cases) == ((("different", 0), ("the same", 5)), ())


def on_terminal(renderable: object, width: int = 300) -> str:
    text = io.StringIO()
    Console(file=text, width=width, force_terminal=False).print(renderable)
    return text.getvalue()


def hostile_case() -> Case:
    bad = ShownSolution(HOSTILE, (HOSTILE, "a\nb"), HOSTILE, False, (0.25, 0.9), 0.5)
    return Case(Problem(HOSTILE, HOSTILE, 5, HOSTILE, "own", HOSTILE), bad, bad)


def test_texts_are_no_markdown() -> None:
    page = case_markdown(hostile_case())
    html = MarkdownIt("commonmark").enable("table").render(page)
    assert set(re.findall(r"<(/?\w+)", html)) == {
        "h3", "/h3", "pre", "/pre", "code", "/code", "p", "/p", "strong", "/strong",
    }  # fmt: skip
    shown = HOSTILE.replace("\x1b", r"\x1b")
    # Title twice (id and subject), question, gold answer, and of each solution name, step, answer.
    assert unescape(re.sub(r"<[^>]*>", "", html)).count(shown) == 4 + 2 * 3
    assert "     2  0.90    a\n                b\n" in page


def test_a_question_cannot_end_its_code_block() -> None:
    question = "What is this?\n````\n# A heading\n"
    case = replace(hostile_case(), problem=Problem("a", question, 5, "Algebra", "own", "10"))
    assert f"{question}\n" in unescape(MarkdownIt("commonmark").render(case_markdown(case)))


def test_texts_are_no_markup_on_the_terminal() -> None:
    text = on_terminal(case_renderable(hostile_case()), width=600)
    assert text.count(HOSTILE.replace("\x1b", r"\x1b")) == 4 + 2 * 3
    assert "0.25 !" in text
    narrow = on_terminal(case_renderable(hostile_case()), width=60)
    assert max(map(len, narrow.splitlines())) <= 60
