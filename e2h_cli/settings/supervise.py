"""Settings of ``e2h supervise``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from e2h_cli.settings.base import (
    GRADER_HELP,
    EngineSettings,
    GraderName,
    Levels,
    ProgramSettings,
    ShardableSettings,
)


class SuperviseSettings(EngineSettings, ShardableSettings, ProgramSettings):
    """Settings of ``e2h supervise``. Those of decoding, engines and shards are of the rollouts."""

    source: Literal["samples", "rollouts", "prm800k", "metamath", "math-shepherd"] = Field(
        "samples",
        description="Where rows come from: own samples, own samples with step labels by rollouts, "
        "or a published data set.",
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
        3,
        ge=1,
        description="Solutions per question: of MetaMath, with rollouts, and right ones of own "
        "samples to fine-tune on (paper p.19: 3).",
    )
    rollouts_per_step: int = Field(
        8, ge=1, description="Rollouts: completions of each step (Math-Shepherd: 8)."
    )
    estimation: Literal["hard", "soft"] = Field(
        "hard",
        description="Rollouts: a step is right if any completion is, or as the share that is.",
    )
    until_first_mistake: bool = Field(
        False,
        description="Rollouts: no label, and no completions, after the first step that no "
        "completion gets right; Math-Shepherd labels every step.",
    )
    gsm8k: Literal["keep", "drop"] = Field(
        "drop", description="Records of GSM8K, which have no level; the paper keeps MetaMath's."
    )
    match: Literal["exact", "official"] = Field(
        "exact",
        description="Math-Shepherd: match whole questions, or prefixes as the paper's code.",
    )
    ratio: float | None = Field(
        3,
        ge=1,
        description="Own samples: at most ratio:1 right to wrong or reverse (paper p.19: 3).",
    )
    grader: GraderName = Field("e2h", description=GRADER_HELP)
    official: bool = Field(
        False, description="Also write the rows in the format of the paper's code."
    )
