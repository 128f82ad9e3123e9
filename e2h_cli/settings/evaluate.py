"""Settings of ``e2h eval``."""

from __future__ import annotations

from pydantic import Field

from e2h_cli.settings.base import GRADER_HELP, GraderName, Settings


class EvalSettings(Settings):
    """Settings of ``e2h eval``."""

    reward_metrics: bool = Field(
        False,
        description="Also measure the reward models by themselves: accuracy, ROC, calibration, "
        "first errors, length (paper p.38).",
    )
    draws: int = Field(
        400, ge=1, description="Random subsets that the accuracy of majority voting averages over."
    )
    tables: bool = Field(
        True,
        description="Print and write tables of all results; off in the recipes of the paper's "
        "tables and figures, which have a report of their own.",
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of the intervals.")
    grader: GraderName = Field("e2h", description=GRADER_HELP)
