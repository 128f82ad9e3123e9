"""Training rows in the format of the paper's released code: one row per step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from e2h_cli.data import template


def sft(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """``input, output_prefix, output, is_eos`` for each step of an sft row."""
    question, before = _question_and_steps(row["prompt"])
    solution = template.parse(row["completion"])
    steps = [step.text for step in solution.steps]
    if solution.answer is not None:
        answer = template.answer_block(solution.answer)
        steps[-1:] = [template.SEPARATOR.join([*steps[-1:], answer])]
    for step in steps:
        output = (template.SEPARATOR if before else "") + step
        is_eos = template.ANSWER_HEADER in step
        yield {"input": question, "output_prefix": before, "output": output, "is_eos": is_eos}
        before += output


def reward(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """``input, output_prefix, output, label`` for each labelled step of a prm or orm row."""
    question, _ = _question_and_steps(row["prompt"])
    texts, labels = list(row["completions"]), list(row["labels"])
    if len(texts) > 1 and texts[-1].startswith(template.ANSWER_HEADER):
        texts[-2:] = [template.SEPARATOR.join(texts[-2:])]
        labels[-2:] = [labels[-1] if labels[-2] is None else labels[-2]]
    before = ""
    for text, label in zip(texts, labels, strict=True):
        closed = text + template.SEPARATOR
        if label is not None:
            output = text if template.ANSWER_HEADER in text else closed
            yield {
                "input": question,
                "output_prefix": before,
                "output": output,
                "label": int(label),
            }
        before += closed


def _question_and_steps(prompt: str) -> tuple[str, str]:
    """The question of a prompt, and the steps that follow it."""
    head, tail = template.prompt("").split(template.SEPARATOR * 2)
    question, _, before = prompt.removeprefix(head).strip().partition(tail.rstrip())
    return question.strip(), before.strip()
