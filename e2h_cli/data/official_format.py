"""Our rows in the official code's format: one row per step, with everything before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from e2h_cli.data import template


def sft(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """``input, output_prefix, output, is_eos`` of a prompt-completion row, a row per step."""
    question, before = _split(row["prompt"])
    blocks = _blocks(row["completion"])
    for step in blocks:
        yield {
            "input": question,
            "output_prefix": before,
            "output": (template.SEPARATOR if before else "") + step,
            "is_eos": template.ANSWER_HEADER in step,
        }
        before += (template.SEPARATOR if before else "") + step


def reward(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """``input, output_prefix, output, label`` of a row of labelled steps, a row per label."""
    question, _ = _split(row["prompt"])
    texts, labels = list(row["completions"]), list(row["labels"])
    if len(texts) > 1 and texts[-1].startswith(template.ANSWER_HEADER):
        texts[-2:] = [template.SEPARATOR.join(texts[-2:])]
        labels[-2:] = [labels[-1] if labels[-2] is None else labels[-2]]
    before = ""
    for text, label in zip(texts, labels, strict=True):
        ends = template.ANSWER_HEADER in text
        if label is not None:
            yield {
                "input": question,
                "output_prefix": before,
                "output": text if ends else text + template.SEPARATOR,
                "label": int(label),
            }
        before += text + template.SEPARATOR


def _split(prompt: str) -> tuple[str, str]:
    """Question, and the steps that stand behind it already."""
    empty = template.prompt("")
    head, tail = empty.split(template.SEPARATOR * 2)
    question, _, before = prompt.removeprefix(head).strip().partition(tail.rstrip())
    return question.strip(), before.strip()


def _blocks(completion: str) -> list[str]:
    done = template.parse(completion)
    blocks = [step.text for step in done.steps]
    if done.answer is not None:
        answer = template.answer_block(done.answer)
        blocks[-1:] = [template.SEPARATOR.join([*blocks[-1:], answer])]
    return blocks
