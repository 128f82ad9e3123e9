"""Labelled solutions for reward models: from own samples, and from files.

A row is ``id, prompt, completions, labels``: the steps and, as the last of them, the answer block;
a label is true, false, null (not trained on) or a probability. A row with ``verbatim`` has one
text, a program, which is kept as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class ParsedSample:
    """A finished solution with an answer; of a program, which has no steps, it is the program."""

    problem: Problem
    steps: tuple[str, ...]
    answer: str

    def row(self, labels: Sequence[float | None], right: bool) -> Row:
        """A row with labels of the steps, and the verdict as the label of the answer block."""
        blocks = [*self.steps, template.answer_block(self.answer)]
        return labelled_row(self.problem.id, self.problem.problem, blocks, [*labels, right])

    def outcome_row(self, right: bool) -> Row:
        """A row in which all steps carry the verdict on the final answer (paper p.6, p.30).

        Of a program: a row with its text as it is (``verbatim``), and the verdict.
        """
        if self.problem.is_program:
            question = self.problem.problem
            row = labelled_row(self.problem.id, question, [self.answer], [right])
            return row | {"verbatim": True}
        return self.row([right] * len(self.steps), right)

    def sft_row(self) -> Row:
        """A row to fine-tune a generator on, as of published solutions."""
        prompt = template.prompt(self.problem.problem)
        row = {"id": self.problem.id, "prompt": prompt, "completion": self.completion}
        return row | ({"verbatim": True} if self.problem.is_program else {})

    @property
    def completion(self) -> str:
        """Steps and answer in the template; of a program its text."""
        if self.problem.is_program:
            return self.answer
        return template.completion(self.steps, self.answer)


def parse_samples(
    samples: Iterable[tuple[str, str]], problems: Mapping[str, Problem]
) -> tuple[list[ParsedSample], dict[str, int]]:
    """Distinct solutions with steps and an answer, and counts of dropped samples.

    ``samples``: (problem id, text of a finished solution).
    """
    parsed: dict[tuple[str, str], ParsedSample] = {}
    dropped = {"samples without answer": 0, "repeated samples": 0}
    for key, text in samples:
        if (key, text) in parsed:
            dropped["repeated samples"] += 1
            continue
        if problems[key].is_program:
            if text.strip():
                parsed[key, text] = ParsedSample(problems[key], (), text)
            else:
                dropped["samples without answer"] += 1
            continue
        solution = template.parse(text)
        if solution.answer is None or not solution.steps:
            dropped["samples without answer"] += 1
        else:
            steps = tuple(step.text for step in solution.steps)
            parsed[key, text] = ParsedSample(problems[key], steps, solution.answer)
    return list(parsed.values()), dropped


def grade_samples(samples: Sequence[ParsedSample], grade: Grade) -> Sequence[bool]:
    """Whether the answer of each sample is right."""
    return grade([(sample.problem.answer or "", sample.answer) for sample in samples])


def label_samples(
    samples: Iterable[ParsedSample], verdicts: Iterable[bool], checker: StepChecker | None
) -> tuple[list[Row], list[Row]]:
    """Label samples with verdicts on their answers for a reward model.

    Returns rows of step labels and rows of outcome labels. Step labels (for a PRM): a step by the
    oracle ``checker``, nothing after the first wrong step, the answer block by the grader. Outcome
    labels (for an ORM): the grader's verdict.
    """
    step_rows, outcome_rows = [], []
    for sample, right in zip(samples, verdicts, strict=True):
        outcome_rows.append(sample.outcome_row(right))
        if checker is not None:
            steps = checker(sample.problem.problem, [*sample.steps])
            step_rows.append(sample.row(until_first_mistake(steps), right))
    return step_rows, outcome_rows


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
    for kinds in by_question.values():
        limit = int(ratio * min(map(len, kinds)))
        for numbers in kinds:
            kept += numbers if len(numbers) <= limit else rng.sample(numbers, limit)
    return [rows[number] for number in sorted(kept)]


def until_first_mistake(right: Sequence[bool]) -> list[bool | None]:
    """Labels up to and including the first wrong step; None after it."""
    return [None if False in right[:i] else value for i, value in enumerate(right)]


def read_rows(file: Path) -> Iterator[Row]:
    """Yield the labelled rows of a file, in the fields of TRL's stepwise supervision.

    A prompt without the template's headers is taken as a bare question. Raises InputError, with the
    line, for a malformed row.
    """
    number = 0
    for number, row in read_jsonl(file):
        if error := _row_error(row):
            raise InputError(error, where=f"{file}:{number}")
        prompt, verbatim = row["prompt"], row.get("verbatim") is True
        yield {
            "id": str(row.get("id", f"{file.stem}/{number}")),
            "prompt": prompt if "# Solution" in prompt else template.prompt(prompt),
            "completions": (
                row["completions"] if verbatim else [_block(step) for step in row["completions"]]
            ),
            "labels": row["labels"],
            **({"verbatim": True} if verbatim else {}),
        }
    if not number:
        raise InputError("no rows", where=file)


def _row_error(row: Row) -> str | None:
    """What is wrong with a row; None if nothing is."""
    steps, labels = row.get("completions"), row.get("labels")
    if not isinstance(row.get("prompt"), str):
        return "no text under 'prompt'"
    texts = isinstance(steps, list) and all(isinstance(s, str) and s.strip() for s in steps)
    if not texts or not steps:
        return "'completions' is not a list of texts"
    if not isinstance(labels, list) or len(labels) != len(steps):
        return "'labels' is not a list as long as 'completions'"
    if row.get("verbatim") is True and len(steps) != 1:
        return "a 'verbatim' row has one completion"
    for label in labels:
        if label is not None and not (isinstance(label, (int, float)) and 0 <= label <= 1):
            return f"label {label!r} is not true, false, null or a probability"
    return None


def _block(step: str) -> str:
    header, _, answer = step.strip().partition("\n")
    if header.strip() == template.ANSWER_HEADER and answer.strip():
        return template.answer_block(answer)
    return template.one_line(step)
