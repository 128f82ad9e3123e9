"""Math-Shepherd: solutions whose steps were labelled by how often they lead to the right answer."""

from __future__ import annotations

import re
from typing import Any

from e2h_cli.data import template
from e2h_cli.data.external_rows import text_of

MARK = "ки"
_FIRST = re.compile(r"\s*Step 1:")
_NUMBER = re.compile(r"^\s*Step \d+:\s*")
_ANSWER = "The answer is:"


def parse(row: dict[str, Any], where: str) -> tuple[str, list[str], list[bool]] | None:
    """Question, steps and answer block, and a label for each; None where the row is malformed.

    ``input`` has a mark after each step; ``label`` is the same text with + or - in its place. The
    last step says "The answer is:"; its label is also that of the answer block.
    """
    marked, labelled = text_of(row, "input", where), text_of(row, "label", where)
    *pieces, rest = marked.split(MARK)
    first = _FIRST.search(marked)
    if rest.strip() or not pieces or first is None:
        return None
    labels, at = [], 0
    for piece in pieces:
        # The two texts may differ in the space before a mark, and in nothing else.
        text = piece.rstrip()
        if not labelled.startswith(text, at):
            return None
        at += len(text)
        mark = labelled[at:].lstrip()[:1]
        if mark not in ("+", "-"):
            return None
        labels.append(mark == "+")
        at = labelled.index(mark, at) + 1
    question = marked[: first.start()]
    pieces[0] = pieces[0][first.start() :]
    steps = [template.one_line(_NUMBER.sub("", piece)) for piece in pieces]
    body, found, answer = steps[-1].rpartition(_ANSWER)
    if found and answer.strip():
        steps[-1:] = [body.strip()] if body.strip() else []
        steps.append(template.answer_block(answer))
        if body.strip():
            labels.append(labels[-1])
    if not question.strip() or not all(steps):
        return None
    return question.strip(), steps, labels
