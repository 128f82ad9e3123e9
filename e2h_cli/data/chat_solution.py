r"""Solutions of chat models: where they begin after a ``<think>`` block, and their steps."""

from __future__ import annotations

import re

from e2h_cli.data import template
from e2h_cli.data.template import Step

THINK, END_THINK = "<think>", "</think>"

# Where a new step begins; any other separator is a text that stands between steps.
_SEPARATORS = {
    "blank-line": re.compile(r"\n[^\S\n]*\n"),
    "newline": re.compile(r"\n"),
    # "Step 2:", "## Step 2:", "**Step 2**": the header belongs to its step.
    "step-headers": re.compile(
        r"^(?=[^\S\n]*(?:#+[^\S\n]*)?(?:\*\*)?Step[^\S\n]+\d+(?:[^\S\n]*(?:[:.)-]|\*\*)|$))",
        re.MULTILINE | re.IGNORECASE,
    ),
}


_CODE = re.compile(r"^[^\S\n]*```[^\n`]*\n(.*?)^[^\S\n]*```[^\S\n]*$", re.MULTILINE | re.DOTALL)


def solution_start(text: str, *, in_think_block: bool = False) -> int | None:
    """Index of the first character after the last ``<think>`` block; None if it is not closed.

    ``in_think_block``: whether the prompt has opened a block, as some chat templates do.
    """
    closed = text.rfind(END_THINK)
    start = closed + len(END_THINK) if closed >= 0 else 0
    opened = THINK in text[start:] or (in_think_block and closed < 0)
    return None if opened else start


def split_steps(text: str, separator: str, start: int = 0) -> tuple[Step, ...]:
    """The steps of ``text[start:]`` without the white space around them, by their characters.

    ``separator``: blank-line, newline, step-headers, or the text that stands between steps. A step
    ends where the next one begins. A line that is the template's answer header is no step.
    """
    pattern = _SEPARATORS.get(separator) or re.compile(re.escape(separator))
    cuts = [match.span() for match in pattern.finditer(text, start)]
    begins, ends = [start, *(end for _, end in cuts)], [*(begin for begin, _ in cuts), len(text)]
    spans = []
    for begin, end in zip(begins, ends, strict=True):
        piece = text[begin:end].strip()
        if piece and not template.answer_header(template.one_line(piece)):
            first = text.index(piece, begin)
            spans.append((first, first + len(piece)))
    following = [*(first for first, _ in spans[1:]), None]
    return tuple(
        Step(text[first:last], first, last, after)
        for (first, last), after in zip(spans, following, strict=False)
    )


def last_code_block(text: str) -> str:
    """The last fenced block of code; empty without one. A block that is not closed is none."""
    blocks = _CODE.findall(text)
    return blocks[-1].rstrip() if blocks else ""
