"""Math-Shepherd: solutions with step labels from the share of rollouts that reach the answer."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from e2h_cli.data import template
from e2h_cli.data.external_rows import text_of

STEP_MARK = "ки"
_FIRST_STEP = re.compile(r"\s*Step 1:")
_STEP_NUMBER = re.compile(r"^\s*Step \d+:\s*")


class LabelledSolution(NamedTuple):
    """A question, its steps and answer block, and a label for each of them."""

    question: str
    steps: list[str]
    labels: list[bool]


def parse_record(row: dict[str, Any], where: str) -> LabelledSolution | None:
    """Parse a record; None where it is malformed.

    ``input`` has a mark after each step; ``label`` is the same text with + or - for each mark. The
    last step says "The answer is:"; its label is also that of the answer block.
    """
    marked, labelled = text_of(row, "input", where), text_of(row, "label", where)
    *pieces, rest = marked.split(STEP_MARK)
    first = _FIRST_STEP.search(marked)
    if rest.strip() or not pieces or first is None:
        return None
    labels = []
    for piece in pieces:
        # The two texts may differ in the space before a mark, and in nothing else.
        text = piece.rstrip()
        after = labelled.removeprefix(text).lstrip()
        if not labelled.startswith(text) or after[:1] not in ("+", "-"):
            return None
        labels.append(after[0] == "+")
        labelled = after[1:]
    question = marked[: first.start()].strip()
    pieces[0] = pieces[0][first.start() :]
    steps = [template.one_line(_STEP_NUMBER.sub("", piece)) for piece in pieces]
    body, found, answer = steps[-1].rpartition("The answer is:")
    if found and answer.strip():
        blocks = [body.strip()] if body.strip() else []
        steps[-1:] = [*blocks, template.answer_block(answer)]
        labels += labels[-1:] * len(blocks)
    return LabelledSolution(question, steps, labels) if question and all(steps) else None
