"""The work of ``e2h rl``: the algorithm of the settings."""

from __future__ import annotations

from typing import Any

from e2h_cli.grading import get_grader
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.rl import RLSettings


def run(context: StageContext[RLSettings]) -> dict[str, Any]:
    """Train a generator by reinforcement learning; the stage's folder is the model."""
    settings = context.settings
    with get_grader(settings.grader, cache=context.verdict_cache) as grader:
        if settings.algo in ("ppo", "grpo"):
            from e2h_cli.rl import on_policy

            return on_policy.run(context, grader)
        from e2h_cli.rl import iterated

        return iterated.run(context, grader)
