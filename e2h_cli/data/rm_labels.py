"""Labelled solutions for reward models: from own samples, and from files.

A row is ``id, prompt, completions, labels``: the steps and, as the last of them, the answer block;
a label is true, false, null (not trained on) or, in the user's own files, a probability.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_jsonl
from e2h_cli.data import chain_arithmetic, template
from e2h_cli.data.problem import Problem
from e2h_cli.data.training_rows import labelled_row

Row = dict[str, Any]
# question, steps -> whether each step is right
StepChecker = Callable[[str, list[str]], list[bool]]
# pairs of gold answer and answer -> whether each answer is right
Grade = Callable[[Sequence[tuple[str, str]]], Sequence[bool]]


def step_checker(problems: Iterable[Problem]) -> StepChecker | None:
    """The oracle of single steps, which only chain-arithmetic problems have; else None."""
    return chain_arithmetic.check_steps if {p.source for p in problems} == {"chains"} else None


def label_samples(
    samples: Iterable[tuple[str, str]],
    problems: Mapping[str, Problem],
    grade: Grade,
    checker: StepChecker | None,
) -> tuple[list[Row], list[Row], dict[str, int]]:
    """Label samples for a reward model.

    Step labels (for a PRM): a step by the oracle, nothing after the first wrong step, the answer
    block by the grader. Outcome labels (for an ORM): every step and the answer block carry the
    verdict on the final answer (paper p.6, p.30).

    Args:
        samples: (problem id, text of a finished solution).
        problems: with gold answers, by id.
        grade: decides whether final answers are right.
        checker: the step oracle; without it there are no step labels.

    Returns:
        Rows of step labels, rows of outcome labels, and counts of labelled and dropped samples.
    """
    parsed = []
    dropped = {"samples without answer": 0, "repeated samples": 0}
    seen: set[tuple[str, str]] = set()
    for key, text in samples:
        solution = template.parse(text)
        if solution.answer is None or not solution.steps:
            dropped["samples without answer"] += 1
        elif (key, text) in seen:
            dropped["repeated samples"] += 1
        else:
            seen.add((key, text))
            steps = [step.text for step in solution.steps]
            parsed.append((problems[key], steps, solution.answer))
    verdicts = grade([(problem.answer or "", answer) for problem, _, answer in parsed])
    step_rows, outcome_rows = [], []
    for (problem, steps, answer), right in zip(parsed, verdicts, strict=True):
        blocks = [*steps, template.answer_block(answer)]
        outcomes = [right] * len(blocks)
        outcome_rows.append(labelled_row(problem.id, problem.problem, blocks, outcomes))
        if checker is not None:
            labels = [*until_first_mistake(checker(problem.problem, steps)), right]
            step_rows.append(labelled_row(problem.id, problem.problem, blocks, labels))
    return step_rows, outcome_rows, {"samples labelled": len(parsed), **dropped}


def balance_outcomes(rows: Sequence[Row], ratio: float | None, rng: random.Random) -> list[Row]:
    """Drop outcome rows so that each question has between 1:ratio and ratio:1 right and wrong ones.

    Rows to keep of the more frequent kind are drawn; a question with one kind only keeps none
    (paper p.19: 1:3 to 3:1). The order is kept. Without a ratio all rows are kept.
    """
    if ratio is None:
        return list(rows)
    by_question: dict[str, tuple[list[int], list[int]]] = {}
    for number, row in enumerate(rows):
        by_question.setdefault(row["id"], ([], []))[bool(row["labels"][-1])].append(number)
    kept: list[int] = []
    for wrong, right in by_question.values():
        limit = int(ratio * min(len(wrong), len(right)))
        for numbers in (wrong, right):
            kept += numbers if len(numbers) <= limit else rng.sample(numbers, limit)
    return [rows[number] for number in sorted(kept)]


def until_first_mistake(right: Sequence[bool]) -> list[bool | None]:
    """Labels up to and including the first wrong step; None after it."""
    labels: list[bool | None] = []
    for value in right:
        labels.append(None if False in labels else value)
    return labels


def read_rows(file: Path) -> Iterator[Row]:
    """Yield the labelled rows of a file, in the fields of TRL's stepwise supervision.

    A prompt without the template's headers is taken as a bare question. Labels are true, false,
    null, or a probability.

    Raises:
        InputError: a malformed row, with its line.
    """
    number = 0
    for number, row in read_jsonl(file):
        _check_row(row, f"{file}:{number}")
        prompt = row["prompt"]
        yield {
            "id": str(row.get("id", f"{file.stem}/{number}")),
            "prompt": prompt if "# Solution" in prompt else template.prompt(prompt),
            "completions": [_block(step) for step in row["completions"]],
            "labels": row["labels"],
        }
    if not number:
        raise InputError("no rows", where=file)


def _check_row(row: Row, where: str) -> None:
    steps, labels = row.get("completions"), row.get("labels")
    if not isinstance(row.get("prompt"), str):
        raise InputError("no text under 'prompt'", where=where)
    texts = isinstance(steps, list) and all(isinstance(s, str) and s.strip() for s in steps)
    if not texts or not steps:
        raise InputError("'completions' is not a list of texts", where=where)
    if not isinstance(labels, list) or len(labels) != len(steps):
        raise InputError("'labels' is not a list as long as 'completions'", where=where)
    for label in labels:
        if label is not None and not (isinstance(label, (bool, int, float)) and 0 <= label <= 1):
            raise InputError(
                f"label {label!r} is not true, false, null or a probability", where=where
            )


def _block(step: str) -> str:
    header, _, answer = step.strip().partition("\n")
    if header.strip() == template.ANSWER_HEADER and answer.strip():
        return template.answer_block(answer)
    return template.one_line(step)
