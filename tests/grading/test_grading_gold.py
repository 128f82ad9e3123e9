"""Every gold answer of MATH equals itself, alone and among others, under every rule."""

from __future__ import annotations

import pytest

from e2h_cli.grading import RULES, RuleGrader, get_grader
from e2h_cli.grading.answer_parser import parse_answer
from e2h_cli.grading.parsed_answer import ParsedAnswer
from e2h_cli.grading.prm800k_rule import compare


@pytest.mark.parametrize(
    "rule",
    [*sorted(set(RULES) - {"math-verify"}), pytest.param("math-verify", marks=pytest.mark.slow)],
)
def test_gold_answers_equal_themselves(rule: str, gold_answers: list[str]) -> None:
    with get_grader(rule, workers=1) as grader:
        verdicts = grader.grade([(answer, answer) for answer in gold_answers])
    assert [a for a, v in zip(gold_answers, verdicts, strict=True) if not v.right] == []


def test_gold_answers_in_other_wrappers(e2h: RuleGrader, gold_answers: list[str]) -> None:
    answers = sorted(set(gold_answers))
    spaced = [f"$ {answer.strip()} $" for answer in answers]
    boxed = [rf"\boxed{{{answer}}}" for answer in answers]
    for written in (spaced, boxed):
        verdicts = e2h.grade(list(zip(answers, written, strict=True)))
        assert [a for a, v in zip(answers, verdicts, strict=True) if not v.right] == []


def test_nearly_all_gold_answers_are_parsed(gold_answers: list[str]) -> None:
    parsed = {answer: parse_answer(answer) for answer in gold_answers}
    unparsed = {a for a, result in parsed.items() if not isinstance(result, ParsedAnswer)}
    assert unparsed == {"f(2) < f(1) < f(4)"}


def test_classes_and_verdicts_agree_on_gold_answers(
    e2h: RuleGrader, gold_answers: list[str]
) -> None:
    answers = sorted(set(gold_answers))
    labels = e2h.classes(answers)
    first: dict[int, str] = {}
    for answer, label in zip(answers, labels, strict=True):
        first.setdefault(label, answer)
    pairs = [(first[label], answer) for answer, label in zip(answers, labels, strict=True)]
    verdicts = e2h.grade(pairs + [(answer, gold) for gold, answer in pairs])
    assert all(verdict.right for verdict in verdicts)


def test_prm800k_asks_for_no_more_than_strings_on_equal_gold(gold_answers: list[str]) -> None:
    def never(a: str, b: str) -> bool:
        raise AssertionError((a, b))

    assert all(compare(answer, answer, never).right for answer in set(gold_answers))
