"""Settings of ``e2h rerank``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from e2h_cli.settings.base import (
    ENGINE_ARG_HELP,
    GRADER_HELP,
    Aggregations,
    Family,
    GraderName,
    Pairs,
    ProgramSettings,
    ScoringEngineName,
    ShardableSettings,
    ShowTokensSettings,
    Sizes,
    TrackedSettings,
    WorkerSettings,
)
from e2h_cli.settings.prompt import PromptName, StepSettings


class RerankSettings(
    StepSettings,
    ShowTokensSettings,
    ShardableSettings,
    WorkerSettings,
    ProgramSettings,
    TrackedSettings,
):
    """Settings of ``e2h rerank``. Shards and workers share the scoring."""

    method: Literal["all", "majority", "weighted-voting", "best-of-n"] = Field(
        "all",
        description="How one answer is chosen from N; majority is always reported, too.",
    )
    aggregate: Aggregations | None = Field(
        None,
        description="How step scores become one score, as min,prod,last or all; if not given, prod "
        "for votes and min for best-of-n (paper p.8).",
    )
    family: Family = Field(
        "auto", description="How the reward model is read; auto is by its config and name."
    )
    transform: Literal["none", "sigmoid"] = Field(
        "none", description="How scores of another project become probabilities."
    )
    import_format: Literal["qwen", "search-and-learn", "rlhflow", "official"] | None = Field(
        None, description="The project that wrote the file under --import."
    )
    prompt: PromptName = Field(
        "e2h",
        description="Wording of the samples under --import, by which their steps and answers are "
        "read; with e2h they are taken as the file has them.",
    )
    ks: Sizes | None = Field(
        None, description="Values of N to report, as 1,4,16; powers of two if not given."
    )
    draws: int = Field(
        400,
        ge=1,
        description="Random subsets that each voting accuracy averages over.",
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of the intervals.")
    grader: GraderName = Field("e2h", description=GRADER_HELP)
    engine: ScoringEngineName = Field(
        "transformers", exclude=True, description="What computes the scores."
    )
    engine_arg: Pairs = Field({}, description=ENGINE_ARG_HELP)
    batch_tokens: int | None = Field(
        None,
        ge=1,
        exclude=True,
        description="Tokens per forward pass of the transformers engine; 16384 on a GPU and 2048 "
        "elsewhere if not given.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Precision of the reward model: bf16 on a GPU, fp32 elsewhere."
    )
