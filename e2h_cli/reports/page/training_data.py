"""Logs of trainings, and rollouts of reinforcement learning, as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

# Steps whose rollouts the page holds, and solutions of each.
STEPS, ROLLOUTS = 12, 32
# Points of a curve, but for these columns.
_POINTS = 600
_VALIDATED = {"easy", "vote", "paper", "eval_loss"}

Json = dict[str, Any]


def log_json(lines: Sequence[Mapping[str, Any]]) -> Json:
    """Columns of numbers by step or line, and the warning of reward hacking, if there is one.

    Of more than 600 lines every second, third, ... is taken, and all with a validation.
    """
    x_name = next((name for name in ("step", "iteration") if any(name in o for o in lines)), "")
    every, last = max(1, -(-len(lines) // _POINTS)), len(lines) - 1
    rows = [
        o
        for i, o in enumerate(lines)
        if i % every == 0 or i == last or not _VALIDATED.isdisjoint(o)
    ]
    names = dict.fromkeys(
        name
        for o in rows
        for name, v in o.items()
        if isinstance(v, (int, float)) and name != x_name
    )
    columns = {name: [_number(o.get(name)) for o in rows] for name in names}
    x = [_number(o.get(x_name)) if x_name else i for i, o in enumerate(rows)]
    warning = next((str(o["warning"]) for o in lines if "warning" in o), "")
    return {"x_name": x_name or "line", "x": x, "columns": columns, "warning": warning}


def shown_steps(steps: Iterable[int], wanted: Iterable[int]) -> list[int]:
    """Steps whose rollouts are shown: of at most ``STEPS`` all, else evenly spaced ones.

    The ``wanted`` ones, where they are there, are among them.
    """
    there = sorted(steps)
    if len(there) <= STEPS:
        return there
    spaced = np.linspace(0, len(there) - 1, STEPS).round().astype(int)
    return sorted({there[i] for i in spaced} | set(there).intersection(wanted))


def rollouts_json(table: pa.Table) -> list[Json]:
    """The first rollouts of a step: text, answer, verdict, scores and rewards."""
    keys = {
        "id": "id", "sample": "s", "text": "text", "finish_reason": "end", "answer": "answer",
        "right": "right", "step_scores": "scores", "outcome_score": "out",
        "step_rewards": "rewards", "last_reward": "last",
    }  # fmt: skip
    rows = table.select([*keys]).slice(0, ROLLOUTS).to_pylist()
    return [{short: _rounded(row[name]) for name, short in keys.items()} for row in rows]


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return _number(value) if isinstance(value, float) else value


def _number(value: Any) -> float | int | None:
    """A number with six significant digits; None for one that JSON does not have."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.6g}")
