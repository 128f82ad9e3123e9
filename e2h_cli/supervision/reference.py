"""Prompt-completion rows from the reference solutions of problems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from e2h_cli import solution
from e2h_cli.problems.problem import Problem
from e2h_cli.supervision.prose import steps_of


def sft_rows(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Rows ``id, prompt, completion``; problems without solution or answer give none."""
    rows = []
    for problem in problems:
        if problem.answer is None or problem.solution is None:
            continue
        steps = steps_of(problem.solution)
        if steps:
            rows.append(
                {
                    "id": problem.id,
                    "prompt": solution.prompt(problem.problem),
                    "completion": solution.completion(steps, problem.answer),
                }
            )
    return rows
