"""The settings of every stage: types, bounds, defaults and one sentence each.

Recipes and command-line options are both checked against these, so each is described once. A
setting that is a choice of the paper names its page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _comma_separated(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _all_or_some(value: object) -> object:
    return list(AGGREGATIONS) if value == "all" else _comma_separated(value)


def _with_newlines(value: object) -> object:
    r"""Texts of a command line, where a newline is written \n."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(t, str) and t for t in texts):
        raise ValueError("not a list of texts")
    return [text.replace("\\n", "\n") for text in texts]


def _pairs(value: object) -> object:
    """``key=value`` of a command line as a mapping; values are read as YAML."""
    if not isinstance(value, (list, tuple)):
        return value
    found = {}
    for pair in value:
        key, equals, text = str(pair).partition("=")
        if not equals or not key.strip():
            raise ValueError(f"{pair!r} is not key=value")
        found[key.strip().removeprefix("--").replace("-", "_")] = yaml.safe_load(text)
    return found


def _shard(value: object) -> object:
    if not isinstance(value, str):
        return value
    index, _, count = value.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise ValueError("not of the form i/n with i from 1 to n")
    return (int(index), int(count))


Texts = Annotated[list[str], BeforeValidator(_with_newlines)]
Pairs = Annotated[dict[str, Any], BeforeValidator(_pairs)]
Shard = Annotated[tuple[int, int], BeforeValidator(_shard)]
Counts = Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_comma_separated)]
Sizes = Annotated[list[Annotated[int, Field(ge=1)]], BeforeValidator(_comma_separated)]

Levels = Literal["easy", "hard", "all"]
Part = Literal["easy", "hard", "validation", "test"]
Aggregation = Literal["min", "max", "prod", "mean", "last", "mean_logit", "mean_odd"]
AGGREGATIONS = get_args(Aggregation)
Aggregations = Annotated[list[Aggregation], BeforeValidator(_all_or_some)]


Family = Literal[
    "auto", "e2h", "llemma", "math-shepherd", "rlhflow", "token-classification",
    "sequence-classification",
]  # fmt: skip
EngineName = Literal["auto", "vllm", "transformers"]
GraderName = Literal["math-verify", "prm800k", "official", "exact"]
GRADER_HELP = "The rule that compares answers; prm800k is the paper's (p.5)."


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, values cannot change after checking."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    seed: int = Field(0, ge=0, description="Seed of everything random in this stage.")

    @property
    def share(self) -> str:
        """The name of the share of the work that is asked for; empty for all of it."""
        return ""

    @classmethod
    def expanded(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values with everything in them that one of them stands for."""
        return dict(values)


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
    lora: int = Field(
        0, ge=0, description="Train low-rank updates of this rank; 0 trains the weights themselves."
    )
    gradient_checkpointing: bool = Field(
        False, exclude=True, description="Compute activations twice to need less memory."
    )
    checkpoint_seconds: float = Field(
        60,
        gt=0,
        exclude=True,
        description="Seconds between checkpoints: what a killed training may lose.",
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


class TrainRMSettings(TrainingSettings):
    """Settings of ``e2h train-rm``."""

    kind: Literal["prm", "orm", "oprm"] = Field(
        "prm", description="Step labels, outcome labels, or both in one model (paper p.6)."
    )
    loss_on: Literal["every-token", "last-three", "separator"] = Field(
        "every-token", description="Which tokens of a labelled step carry loss."
    )
    loss: Literal["pointwise", "pairwise"] = Field(
        "pointwise",
        description="Labels of tokens, or Bradley-Terry on rows of prompt, chosen, rejected.",
    )
    patience: int = Field(
        0, ge=0, description="Stop after so many validations without a new best AUC; 0 is never."
    )
    eval_steps: int = Field(50, ge=1, description="Optimiser steps between validations.")
    validation_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the training problems held out for validation, beside the rows of "
        "validation problems.",
    )
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
    stop: Texts = Field(
        [], description="Texts that end a solution besides the end-of-text token; \\n is a newline."
    )


# What the paper samples with, by what the samples are for.
PRESETS: dict[str, dict[str, Any]] = {
    "greedy": {"n": 1, "temperature": 0, "top_k": 0},
    "re-ranking": {"temperature": 0.7, "top_k": 20},  # p.19
    "outcome-labels": {"n": 32, "temperature": 0.7, "top_k": 20},  # p.19
    "rest-em": {"n": 32, "temperature": 1.0, "top_k": 40},  # p.19, PRM800K
    "dpo": {"n": 8, "temperature": 1.0, "top_k": 20},  # p.19
    "icl": {"temperature": 0.9, "top_k": 0, "shots": 4},  # p.5
}


class SampleSettings(DecodingSettings):
    """Settings of ``e2h sample``.

    Excluded settings change how the work is done, not what is made: a run may go on with others.
    """

    n: int = Field(64, ge=1, description="Samples per problem.")
    part: Part = Field("test", description="Which problems of the split are sampled.")
    limit: int | None = Field(None, ge=1, description="Only the first so many problems.")
    logprob: bool = Field(
        False, description="Keep log-probabilities; costs vLLM a tenth of its speed."
    )
    shots: int = Field(
        0, ge=0, description="Solved problems in front of every question (paper p.5: 4)."
    )
    shots_from: Levels = Field(
        "easy", description="Which training problems those are; hard and all read hard answers."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Precision of the model: bf16 on a GPU, fp32 elsewhere."
    )
    engine_arg: Pairs = Field(
        {},
        description="An engine argument of vLLM, as gpu_memory_utilization=0.8; may be repeated.",
    )
    preset: Literal["greedy", "re-ranking", "outcome-labels", "rest-em", "dpo", "icl"] | None = (
        Field(
            None, exclude=True, description="The paper's way to sample, under the other settings."
        )
    )
    engine: EngineName = Field(
        "auto", exclude=True, description="What samples; auto is vLLM where there is a GPU for it."
    )
    rows: int = Field(
        1024, ge=1, exclude=True, description="Samples that transformers writes at the same time."
    )
    part_seconds: float = Field(
        5.0, gt=0, exclude=True, description="Seconds after which a finished sample is on disk."
    )
    shard: Shard | None = Field(
        None, exclude=True, description="Draw share i of n only, as 3/8, beside other processes."
    )
    merge: bool = Field(
        False, exclude=True, description="Put finished shards together; refused while one misses."
    )
    workers: int | None = Field(
        None, ge=1, exclude=True, description="Engines at work here; one per GPU if not given."
    )
    ray: str | None = Field(
        None,
        exclude=True,
        description="Workers as tasks of a Ray cluster: its address, auto, or local.",
    )

    @property
    def share(self) -> str:
        """The shard, where one is asked for: other shards may be drawn beside it."""
        return "shard-{}-of-{}".format(*self.shard) if self.shard else ""

    @classmethod
    def expanded(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values with those of their preset, which give way to what is said outright."""
        return {**PRESETS.get(str(values.get("preset")), {}), **values}


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
    family: Family = Field(
        "auto", description="How the reward model is read; auto is by its config and name."
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
    grader: GraderName = Field("math-verify", description=GRADER_HELP)
    batch_tokens: int | None = Field(
        None,
        ge=1,
        exclude=True,
        description="Tokens per forward pass while scoring; 16384 on a GPU and 2048 elsewhere if "
        "not given.",
    )
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
    table: Literal["table5"] | None = Field(
        None, description="A table of the paper to print beside ours; table5 holds its Table 2."
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="Level of the intervals.")
    grader: GraderName = Field("math-verify", description=GRADER_HELP)
