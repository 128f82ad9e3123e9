"""Settings of ``e2h supervise``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from e2h_cli.settings.base import GRADER_HELP, GraderName, Levels, Settings


class SuperviseSettings(Settings):
    """Settings of ``e2h supervise``."""

    source: Literal["samples", "prm800k", "metamath", "math-shepherd"] = Field(
        "samples", description="What the rows are made of: samples of our own, or published data."
    )
    levels: Levels = Field(
        "easy", description="Which training problems may be trained on; hard and all read answers."
    )
    unknown_levels: Literal["drop", "keep"] = Field(
        "drop", description="Questions that are in no part of the split; the official code keeps."
    )
    neutral: Literal["positive", "unlabelled", "negative"] = Field(
        "positive", description="PRM800K: what rating 0 is for a reward model (paper p.30)."
    )
    max_solutions: int = Field(
        3, ge=1, description="MetaMath: solutions per question (paper p.19: 3)."
    )
    gsm8k: Literal["keep", "drop"] = Field(
        "drop", description="Rows of GSM8K, which have no level; the paper's MetaMath keeps them."
    )
    match: Literal["exact", "official"] = Field(
        "exact", description="Math-Shepherd: whole questions, or the official rule of beginnings."
    )
    ratio: float | None = Field(
        3, ge=1, description="Samples: right to wrong ones per question, at most (paper p.19: 3)."
    )
    grader: GraderName = Field("math-verify", description=GRADER_HELP)
    official: bool = Field(False, description="Also write the rows in the official code's format.")
