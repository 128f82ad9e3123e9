"""Rows of labelled solutions from our own samples: step labels by an oracle, outcome labels.

A row is ``id, prompt, completions, labels``: the steps and, as the last of them, the answer block;
a label is true, false or null, and null is not trained on.
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
from e2h_cli.grading.verdict import Grader

Row = dict[str, Any]
# question, steps -> whether each step is right
StepChecker = Callable[[str, list[str]], list[bool]]


def step_checker(problems: Iterable[Problem]) -> StepChecker | None:
    """The oracle of single steps, where the problems come from a world that has one."""
    return chain_arithmetic.check_steps if {p.source for p in problems} == {"chains"} else None


def labelled(
    samples: Iterable[tuple[str, str]],
    problems: Mapping[str, Problem],
    grader: Grader,
    checker: StepChecker | None,
) -> tuple[list[Row], list[Row], dict[str, int]]:
    """Label samples for a reward model.

    Step labels (for a PRM): a step by the oracle, nothing after the first wrong step, the answer
    block by the grader. Outcome labels (for an ORM): every step and the answer block carry the
    verdict on the final answer (paper p.6, p.30).

    Args:
        samples: (problem id, text of a finished solution).
        problems: with gold answers.
        grader: judges final answers.
        checker: the step oracle; without it there are no step labels.

    Returns:
        Rows of step labels, rows of outcome labels, and counts of what was used and dropped.
    """
    parsed = []
    dropped = {"samples without answer": 0, "repeated samples": 0}
    seen: set[tuple[str, str]] = set()
    for key, text in samples:
        done = template.parse(text)
        if done.answer is None or not done.steps:
            dropped["samples without answer"] += 1
        elif (key, text) in seen:
            dropped["repeated samples"] += 1
        else:
            seen.add((key, text))
            parsed.append((problems[key], done))
    verdicts = grader.grade([(p.answer or "", done.answer or "") for p, done in parsed])
    of_steps, of_outcomes = [], []
    for (problem, done), verdict in zip(parsed, verdicts, strict=True):
        steps = [step.text for step in done.steps]
        row = {
            "id": problem.id,
            "prompt": template.prompt(problem.problem),
            "completions": [*steps, template.answer_block(done.answer or "")],
        }
        if checker is not None:
            right = until_first_mistake(checker(problem.problem, steps))
            of_steps.append({**row, "labels": [*right, verdict.right]})
        of_outcomes.append({**row, "labels": [verdict.right] * (len(steps) + 1)})
    return of_steps, of_outcomes, {"samples labelled": len(parsed), **dropped}


def balanced(rows: Sequence[Row], ratio: float | None, rng: random.Random) -> list[Row]:
    """Outcome rows of which each question has between 1:ratio and ratio:1 right and wrong ones.

    Of the more frequent kind some are drawn; a question with one kind only has none left (paper
    p.19: 1:3 to 3:1). Rows stay in their order; without a ratio all stay.
    """
    if ratio is None:
        return list(rows)
    groups: dict[str, tuple[list[int], list[int]]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row["id"], ([], []))[bool(row["labels"][-1])].append(number)
    kept: list[int] = []
    for wrong, right in groups.values():
        limit = int(ratio * min(len(wrong), len(right)))
        for numbers in (wrong, right):
            kept += numbers if len(numbers) <= limit else rng.sample(numbers, limit)
    return [rows[number] for number in sorted(kept)]


def until_first_mistake(right: Sequence[bool]) -> list[bool | None]:
    """Labels up to and including the first wrong step; null after it."""
    labels: list[bool | None] = []
    for value in right:
        labels.append(None if False in labels else value)
    return labels


def read_rows(path: Path) -> Iterator[Row]:
    """Read labelled rows from a file one by one, in TRL's stepwise-supervision fields.

    A prompt without the template's headers is taken for a bare question. Labels are true, false,
    null, or a probability.

    Raises:
        InputError: a row that is not of this form, with its line.
    """
    number = 0
    for number, row in read_jsonl(path):
        where = f"{path}:{number}"
        prompt, steps, labels = (row.get(key) for key in ("prompt", "completions", "labels"))
        if not isinstance(prompt, str):
            raise InputError("no text under 'prompt'", where=where)
        texts = isinstance(steps, list) and all(isinstance(s, str) and s.strip() for s in steps)
        if not texts or not steps:
            raise InputError("'completions' is not a list of texts", where=where)
        if not isinstance(labels, list) or len(labels) != len(steps):
            raise InputError("'labels' is not a list as long as 'completions'", where=where)
        for label in labels:
            if label is not None and not (
                isinstance(label, (bool, int, float)) and 0 <= label <= 1
            ):
                raise InputError(
                    f"label {label!r} is not true, false, null or a probability", where=where
                )
        if "# Solution" not in prompt:
            prompt = template.prompt(prompt)
        yield {
            "id": str(row.get("id", f"{path.stem}/{number}")),
            "prompt": prompt,
            "completions": [_block(step) for step in steps],
            "labels": labels,
        }
    if not number:
        raise InputError("no rows", where=path)


def _block(step: str) -> str:
    header, _, answer = step.strip().partition("\n")
    if header.strip() == template.ANSWER_HEADER and answer.strip():
        return template.answer_block(answer)
    return template.one_line(step)
