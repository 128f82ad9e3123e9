"""The template of a solution, and the parser of steps, answer and character spans.

    # Question

    {question}

    # Solution

    {step}

    {step}

    # Answer

    {answer}<end of text>

Steps are found by character offsets, not by token ids, so that any tokenizer works (the paper's
released code looks for the token pair 13, 13, which most tokenizers do not have).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

TEMPLATE_NAME = "e2h-1"
SEPARATOR = "\n\n"
QUESTION_HEADER = "# Question"
ANSWER_HEADER = "# Answer"

Outcome = Literal["complete", "no steps", "no answer", "truncated"]

# Blank lines separate steps. Models that write none separate them by single newlines. Either takes
# all the white space around it, so that there is never an empty step.
# The patterns begin at the newline, and not at the white space before it, which is stripped
# afterwards: ``re`` finds a literal first character ten times as fast.
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_NEWLINE = re.compile(r"\n\s*")
_ANSWER_HEADER = re.compile(r"#[^\S\n]*Answer[^\S\n]*(?=\n|\Z)")


def prompt(question: str) -> str:
    """The prompt of a question: everything up to the first step."""
    return f"{QUESTION_HEADER}{SEPARATOR}{question.strip()}{SEPARATOR}# Solution{SEPARATOR}"


def completion(steps: Sequence[str], answer: str) -> str:
    """The completion of steps and answer, without the end-of-text token."""
    return SEPARATOR.join([*(one_line(step) for step in steps), answer_block(answer)])


def answer_block(answer: str) -> str:
    """The last block of a solution: header and answer. In labelled rows it is the last step."""
    return f"{ANSWER_HEADER}{SEPARATOR}{one_line(answer)}"


def one_line(text: str) -> str:
    """Fold white space: a newline inside a step would end it."""
    return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a solution."""

    text: str  # without the newlines after it; it may hold single ones
    start: int  # index of its first character in the parsed text
    end: int  # index after its last character
    separator_end: int | None  # index after the newlines that follow it, if any do


@dataclass(frozen=True, slots=True)
class Solution:
    """A parsed solution. ``answer`` is None unless ``outcome`` is "complete" or "no steps"."""

    steps: tuple[Step, ...]
    answer: str | None
    outcome: Outcome


def parse(text: str, *, finished: bool = True) -> Solution:
    """Split a completion, without prompt and end-of-text token, into steps and answer.

    Steps are separated by blank lines, as in the paper's released code; by newlines where no blank
    line stands before the answer header. The answer is the text after the header up to a blank
    line, on one line; its first line in a text without blank lines.

    Not ``finished`` is a text that reached the token limit: its answer may be cut, so it counts as
    missing. Never raises.
    """
    body_end, answer_start = answer_header(text) or (len(text), len(text))
    steps = _steps(text, body_end)
    if not finished:
        return Solution(steps, None, "truncated")
    block = _separator(text).split(text[answer_start:].strip(), maxsplit=1)[0]
    answer = " ".join(line.rstrip() for line in _NEWLINE.split(block))
    if not answer:
        return Solution(steps, None, "no answer")
    return Solution(steps, answer, "complete" if steps else "no steps")


def answer_header(text: str) -> tuple[int, int] | None:
    """Character span of the line of the answer header; None without one."""
    for header in _ANSWER_HEADER.finditer(text):
        start = text.rfind("\n", 0, header.start()) + 1
        if not text[start : header.start()].strip():
            return start, header.end()
    return None


def _separator(text: str) -> re.Pattern[str]:
    """What separates the blocks of a text."""
    return _BLANK_LINE if _BLANK_LINE.search(text.lstrip()) else _NEWLINE


def _steps(text: str, body_end: int) -> tuple[Step, ...]:
    steps = []
    between = _separator(text[:body_end])
    position = len(text) - len(text.lstrip()) if text[:body_end].strip() else body_end
    while position < body_end:
        separator = between.search(text, position)
        if separator is None or separator.start() >= body_end:
            last = text[position:body_end].rstrip()
            # A single newline before the answer header closes the last step, too.
            closed = body_end if body_end < len(text) else None
            steps.append(Step(last, position, position + len(last), closed))
            break
        # The answer header may be indented: its own white space is not part of the separator.
        end = min(separator.end(), body_end)
        step = text[position : separator.start()].rstrip()
        steps.append(Step(step, position, position + len(step), end))
        position = end
    return tuple(steps)


def token_of_character(offsets: Sequence[tuple[int, int]], character: int) -> int:
    """Index of the last token that covers a character; ValueError if none does.

    ``offsets`` are (start, end) of every token in characters, in order, as a fast tokenizer returns
    them; special tokens have (0, 0) and cover nothing. A character may be cut off, or dropped by
    the tokenizer.
    """
    starts = [start for start, _ in offsets]
    # The tokens of one character's bytes share a start: take the last of them.
    index = bisect_right(starts, character) - 1
    while index >= 0 and offsets[index][1] <= offsets[index][0]:
        index -= 1
    if index < 0 or not offsets[index][0] <= character < offsets[index][1]:
        raise ValueError(f"no token covers character {character}")
    return index
