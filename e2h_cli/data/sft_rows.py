"""Fine-tuning rows from the reference solutions of problems."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.data.step_splitting import steps_of


def sft_rows(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """Rows ``id, prompt, completion``; problems without solution or answer give none."""
    return [
        {
            "id": problem.id,
            "prompt": template.prompt(problem.problem),
            "completion": template.completion(steps, problem.answer),
        }
        for problem in problems
        if problem.answer is not None and (steps := steps_of(problem.solution or ""))
    ]
