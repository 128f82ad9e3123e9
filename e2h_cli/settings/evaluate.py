"""Settings of ``e2h eval``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from e2h_cli.settings.base import GRADER_HELP, GraderName, Settings


class EvalSettings(Settings):
    """Settings of ``e2h eval``."""

    reward_metrics: bool = Field(
        False,
        description="Also measure the reward models by themselves: accuracy, ROC, calibration, "
        "first errors, length (paper p.38).",
    )
    table: Literal["table5"] | None = Field(
        None, description="A table of the paper to print beside ours; table5 holds its Table 2."
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of the intervals.")
    grader: GraderName = Field("e2h", description=GRADER_HELP)
