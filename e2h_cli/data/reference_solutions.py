"""Reference solutions: their prose split into steps, and fine-tuning rows of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from e2h_cli.data import template
from e2h_cli.data.problem import Problem

# A full stop after one of these does not end a sentence.
TITLES = ("Mr.", "Mrs.", "Ms.", "Dr.", "St.", "Prof.")
# Inside of these a full stop or a newline does not end a step.
_FORMULA = re.compile(
    r"\[asy\].*?\[/asy\]|\\begin\{(\w+\*?)\}.*?\\end\{\1\}|\\\[.*?\\\]|\$\$.*?\$\$|\$[^$]*\$",
    re.DOTALL,
)
_NOT_TITLE = "".join(f"(?<!{re.escape(title)})" for title in TITLES)
_SENTENCE_END = re.compile(rf"(?<=[.!?]){_NOT_TITLE}\s+(?=[A-Z$\\])|\n+")


def sft_rows(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Rows ``id, prompt, completion``; problems without solution or answer give none.

    A program is kept as it is, and its row says so (``verbatim``).
    """
    rows = []
    for problem in problems:
        if problem.answer is None:
            continue
        if problem.is_program:
            completion = (problem.solution or "").rstrip()
        else:
            steps = steps_of(problem.solution or "")
            completion = template.completion(steps, problem.answer) if steps else ""
        if completion:
            prompt = template.prompt(problem.problem)
            row = {"id": problem.id, "prompt": prompt, "completion": completion}
            rows.append(row | ({"verbatim": True} if problem.is_program else {}))
    return rows


def steps_of(text: str) -> list[str]:
    """Split a solution into one-line steps: at newlines and ends of sentences outside formulas."""
    formulas: list[str] = []

    def protect(match: re.Match[str]) -> str:
        formulas.append(match[0])
        # A formula that closes a sentence carries its full stop inside: "$x = 1.$ Then".
        return f"\x00{len(formulas) - 1}\x01{'.' if _ends_sentence(match[0]) else ''}"

    def restore(match: re.Match[str]) -> str:
        formula = formulas[int(match[1])]
        return formula + ("" if _ends_sentence(formula) else match[2])

    text = _FORMULA.sub(protect, text.replace("\x00", "").replace("\x01", ""))
    pieces = (re.sub(r"\x00(\d+)\x01(\.?)", restore, p) for p in _SENTENCE_END.split(text))
    return [step for piece in pieces if (step := template.one_line(piece))]


def _ends_sentence(formula: str) -> bool:
    return formula.rstrip("$\\]").endswith(".")
