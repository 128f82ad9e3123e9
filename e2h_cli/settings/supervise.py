"""Settings of ``e2h supervise``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from e2h_cli.settings.base import GRADER_HELP, GraderName, Levels, Settings


class SuperviseSettings(Settings):
    """Settings of ``e2h supervise``."""

    source: Literal["samples", "prm800k", "metamath", "math-shepherd"] = Field(
        "samples", description="Where rows come from: own samples, or a published data set."
    )
    levels: Levels = Field(
        "easy", description="Levels to train on; hard and all read the hidden answers."
    )
    unknown_levels: Literal["drop", "keep"] = Field(
        "drop", description="Questions that are not in the split; the paper's code keeps them."
    )
    neutral: Literal["positive", "unlabelled", "negative"] = Field(
        "positive", description="PRM800K: the reward model's label of rating 0 (paper p.30)."
    )
    max_solutions: int = Field(
        3, ge=1, description="MetaMath: solutions per question (paper p.19: 3)."
    )
    gsm8k: Literal["keep", "drop"] = Field(
        "drop", description="Records of GSM8K, which have no level; the paper keeps MetaMath's."
    )
    match: Literal["exact", "official"] = Field(
        "exact",
        description="Math-Shepherd: match whole questions, or prefixes as the paper's code.",
    )
    ratio: float | None = Field(
        3, ge=1, description="Samples: at most ratio:1 right to wrong or reverse (paper p.19: 3)."
    )
    grader: GraderName = Field("e2h", description=GRADER_HELP)
    official: bool = Field(
        False, description="Also write the rows in the format of the paper's code."
    )
