"""The settings of every stage: types, bounds, defaults and one sentence each.

Recipes and command-line options are both checked against these, so each is described once. A
setting that is a choice of the paper names its page.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _comma_separated(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _all_or_some(value: object) -> object:
    return list(AGGREGATIONS) if value == "all" else _comma_separated(value)


Counts = Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_comma_separated)]
Sizes = Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(_comma_separated)]

Levels = Literal["easy", "hard", "all"]
Part = Literal["easy", "hard", "validation", "test"]
Aggregation = Literal["min", "max", "prod", "mean", "last", "mean_logit", "mean_odd"]
AGGREGATIONS = get_args(Aggregation)
Aggregations = Annotated[list[Aggregation], BeforeValidator(_all_or_some)]


GraderName = Literal["math-verify", "prm800k", "official", "exact"]
_GRADER = "The rule that compares answers; prm800k is the paper's (p.5)."


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, values cannot change after checking."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    seed: int = Field(0, ge=0, description="Seed of everything random in this stage.")


class SplitSettings(Settings):
    """Settings of ``e2h split``."""

    source: Literal["chains", "math"] = Field(
        "chains", description="Where problems come from: the chain-arithmetic world, or MATH."
    )
    max_level: int = Field(3, ge=1, description="Levels up to this one are easy (paper p.4: 3).")
    validation: int | None = Field(
        None, ge=0, description="Size of the validation set; as many as the test set if not given."
    )
    train_counts: Counts = Field(
        [500, 700, 800, 400, 400], description="Chains only: training problems of level 1, 2, ..."
    )
    test_counts: Counts = Field(
        [40, 40, 40, 100, 100], description="Chains only: test problems of level 1, 2, ..."
    )


class TrainingSettings(Settings):
    """What all trainings share."""

    learning_rate: float = Field(2e-5, gt=0, description="Peak learning rate.")
    steps: int | None = Field(None, ge=1, description="Optimiser steps; overrides epochs.")
    epochs: float = Field(3, gt=0, description="Passes over the data.")
    batch_size: int = Field(128, ge=1, description="Rows per optimiser step.")
    micro_batch: int | None = Field(
        None, ge=1, description="Rows per forward pass and device; the whole batch if not given."
    )
    max_length: int = Field(
        768, ge=8, description="Longest row in tokens; longer ones are dropped."
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of the steps that warm up.")
    final_rate: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Learning rate at the end of the cosine, as a share of the peak.",
    )
    adam_beta2: float = Field(
        0.999, gt=0, lt=1, description="Decay of Adam's second moment; lower reacts faster."
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="Precision of the computation.")
    freeze: bool = Field(
        False, description="Keep token embeddings, LM head and norms as they are (paper p.7)."
    )
    checkpoint_seconds: float = Field(
        60, gt=0, description="Seconds between checkpoints: what a killed training may lose."
    )


class PretrainSettings(TrainingSettings):
    """Settings of ``e2h pretrain``."""

    hidden: int = Field(128, ge=8, description="Width of the model.")
    layers: int = Field(4, ge=1, description="Number of layers.")
    heads: int = Field(4, ge=1, description="Number of attention heads.")
    documents: int = Field(20000, ge=1, description="Solutions in the pre-training corpus.")


class SftSettings(TrainingSettings):
    """Settings of ``e2h sft``."""

    levels: Levels = Field("easy", description="Whose reference solutions are trained on.")


class TrainRMSettings(TrainingSettings):
    """Settings of ``e2h train-rm``."""

    kind: Literal["prm", "orm", "oprm"] = Field(
        "prm", description="Step labels, outcome labels, or both in one model (paper p.6)."
    )
    loss_on: Literal["every-token", "last-three", "separator"] = Field(
        "every-token", description="Which tokens of a labelled step carry loss."
    )
    grader: GraderName = Field("math-verify", description=_GRADER)
    # Excluded settings change what is printed, not what is made.
    show_tokens: bool = Field(
        False, exclude=True, description="Print the tokens of some rows with the labels they carry."
    )


class DecodingSettings(Settings):
    """How tokens are chosen."""

    temperature: float = Field(0.7, ge=0, description="0 is greedy (paper p.19: 0.7).")
    top_k: int = Field(
        20, ge=0, description="Choose among the k likeliest; 0 is off (paper p.19: 20)."
    )
    top_p: float = Field(
        1.0, gt=0, le=1, description="Choose among the likeliest that sum to this."
    )
    min_p: float = Field(
        0.0, ge=0, le=1, description="Drop tokens below this share of the likeliest."
    )
    max_tokens: int = Field(512, ge=1, description="Longest solution in tokens.")


class SampleSettings(DecodingSettings):
    """Settings of ``e2h sample``."""

    n: int = Field(64, ge=1, description="Samples per problem.")
    part: Part = Field("test", description="Which problems of the split are sampled.")
    limit: int | None = Field(None, ge=1, description="Only the first so many problems.")
    rows: int = Field(1024, ge=1, description="Samples that are written at the same time.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Precision of the model: bf16 on a GPU, fp32 elsewhere."
    )


class RerankSettings(Settings):
    """Settings of ``e2h rerank``."""

    method: Literal["all", "majority", "weighted-voting", "best-of-n"] = Field(
        "all", description="How one answer is chosen from N; majority is always shown beside it."
    )
    aggregate: Aggregations | None = Field(
        None,
        description="Step scores to one score, as min,prod,last or all; if not given, prod for "
        "votes and min for best-of-n (paper p.8).",
    )
    transform: Literal["none", "sigmoid"] = Field(
        "none", description="What makes scores of another project probabilities."
    )
    import_format: Literal["qwen", "search-and-learn", "rlhflow", "official"] | None = Field(
        None, description="What wrote the file under --import."
    )
    ks: Sizes | None = Field(
        None, description="Pool sizes to report, as 1,4,16; powers of two up to N if not given."
    )
    draws: int = Field(400, ge=1, description="Random subsets behind each voting accuracy.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of the intervals.")
    grader: GraderName = Field("math-verify", description=_GRADER)
    batch_tokens: int = Field(16384, ge=1, description="Tokens per forward pass while scoring.")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Precision of the reward model: bf16 on a GPU, fp32 elsewhere."
    )
    # Excluded settings change what is printed, not what is made.
    show_tokens: bool = Field(
        False,
        exclude=True,
        description="Print a scored solution with the positions that were read.",
    )


class EvalSettings(Settings):
    """Settings of ``e2h eval``."""

    reward: bool = Field(
        False,
        description="Also measure the reward models by themselves: accuracy, ROC, calibration, "
        "first errors, length (paper p.38).",
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of the intervals.")
    grader: GraderName = Field("math-verify", description=_GRADER)
