"""What the settings of all commands share: parsing of command-line values, and common fields.

Recipes and command-line options are both checked against settings, so each is described once. A
setting that is a choice of the paper names its page. Excluded fields (``exclude=True``) change how
the work is done or what is printed, not what is made: a stage may be resumed with other values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)


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
        try:
            read = yaml.safe_load(text)
        except (yaml.YAMLError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"{pair!r} is not a value in YAML") from error
        found[key.strip().removeprefix("--").replace("-", "_")] = read
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
Counts = Annotated[
    list[Annotated[int, Field(ge=0, lt=2**31)]],
    BeforeValidator(_comma_separated),
    Field(min_length=1),
]
Sizes = Annotated[
    list[Annotated[int, Field(ge=1, lt=2**31)]],
    BeforeValidator(_comma_separated),
    Field(min_length=1),
]

Levels = Literal["easy", "hard", "all"]
Part = Literal["easy", "hard", "validation", "test"]
Aggregation = Literal["min", "max", "prod", "mean", "last", "mean_logit", "mean_odd"]
AGGREGATIONS = get_args(Aggregation)
Aggregations = Annotated[list[Aggregation], BeforeValidator(_all_or_some), Field(min_length=1)]


Family = Literal[
    "auto", "e2h", "llemma", "math-shepherd", "rlhflow", "qwen-prm", "skywork-prm",
    "token-classification", "sequence-classification",
]  # fmt: skip
EngineName = Literal["auto", "vllm", "transformers"]
ScoringEngineName = Literal["transformers", "vllm"]
ENGINE_ARG_HELP = "An engine argument of vLLM, as gpu_memory_utilization=0.8; may be repeated."
ComparisonName = Literal["apps", "strict", "tolerant"]
SandboxName = Literal["auto", "bubblewrap", "landlock", "none"]
TrackerName = Literal["trackio", "wandb"]
GraderName = Literal["e2h", "math-verify", "prm800k", "official", "exact"]
GRADER_HELP = (
    "The rule that compares answers; math-verify is that library alone, prm800k the paper's (p.5)."
)


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, values cannot change after checking."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    # Values of ``preset`` -> the settings that each stands for.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    # torch takes seeds of 64 bits.
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of everything random in this stage.")

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise ValueError("true and false are no values of this setting")
        return value

    @field_validator("*", mode="after")
    @classmethod
    def _no_huge_number(cls, value: object) -> object:
        if isinstance(value, int) and abs(value) >= 2**63:
            raise ValueError("not a number of 64 bits")
        return value

    @property
    def task(self) -> str:
        """What a command does that can do several things: a key of its ``tasks``."""
        return ""

    @classmethod
    def variants(cls) -> tuple[type[Self], ...]:
        """The classes that a command's settings may have: one, or one per algorithm."""
        return (cls,)

    @classmethod
    def variant_for(cls, values: Mapping[str, Any]) -> type[Self]:
        """The class that checks these values."""
        return cls

    @classmethod
    def expand_preset(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values with those of their preset; explicit values win."""
        return {**cls.presets.get(str(values.get("preset")), {}), **values}


class ShardableSettings(Settings):
    """Work that several processes may share by ``--shard i/n``."""

    shard: Shard | None = Field(
        None, exclude=True, description="Do share i of n only, as 3/8, beside other processes."
    )
    merge: bool = Field(
        False, exclude=True, description="Merge finished shards; refused if something is missing."
    )

    @field_validator("merge")
    @classmethod
    def _one_shard_merges_nothing(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("shard") is not None:
            raise ValueError("not together with --shard")
        return value

    @property
    def shard_name(self) -> str:
        """Name of the shard's folder; empty for the whole work."""
        return "shard-{}-of-{}".format(*self.shard) if self.shard else ""


class ProgramSettings(Settings):
    """How programs are run on the tests of their problems."""

    comparison: ComparisonName = Field(
        "tolerant",
        description="Programs: how outputs are compared; apps is the looseness of the original "
        "harness, tolerant ignores white space and rounding.",
    )
    test_seconds: float = Field(
        4, gt=0, le=3600, description="Programs: CPU time per test (APPS: 4)."
    )
    test_memory: int = Field(512, ge=64, description="Programs: memory per test in MiB.")
    sandbox: SandboxName = Field(
        "auto",
        exclude=True,
        description="Programs: what isolates them; none only for programs that you trust.",
    )


class WorkerSettings(Settings):
    """How many engines work, and where. Excluded: it does not change what they make."""

    flush_seconds: float = Field(
        5.0, gt=0, exclude=True, description="Seconds until finished samples are written to disk."
    )
    workers: int | None = Field(
        None, ge=1, exclude=True, description="Number of engines; one per GPU if not given."
    )
    ray: str | None = Field(
        None,
        exclude=True,
        description="Run workers as Ray tasks: address of a cluster, auto, or local.",
    )


class ShowTokensSettings(Settings):
    """Stages that can print the tokens that a reward model reads or is trained on."""

    show_tokens: bool = Field(
        False,
        exclude=True,
        description="Print a few solutions token by token, with the positions that are read "
        "(rerank) or labelled (train-rm).",
    )


class TrackedSettings(Settings):
    """Stages whose numbers a tool for tracking experiments may be told."""

    track: TrackerName | None = Field(
        None,
        exclude=True,
        description="Report to Trackio or Weights & Biases, too; pip install 'e2h[track]'.",
    )


class OptimizerSettings(TrackedSettings):
    """Optimizer, precision and memory of every training."""

    learning_rate: float = Field(2e-5, gt=0, description="Peak learning rate.")
    batch_size: int = Field(128, ge=1, description="Rows per optimizer step.")
    micro_batch_size: int | None = Field(
        None,
        ge=1,
        description="Rows per forward pass and device; if not given, by the size of the "
        "vocabulary: the whole batch for tiny models.",
    )
    warmup_ratio: float = Field(0.05, ge=0, lt=1, description="Share of the steps that warm up.")
    min_lr_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Learning rate at the end of the cosine, relative to the peak.",
    )
    adam_beta2: float = Field(0.999, gt=0, lt=1, description="Adam's beta2.")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="Precision of the computation.")
    freeze: bool = Field(
        False, description="Freeze token embeddings, LM head and norms (paper p.7)."
    )
    lora_rank: int = Field(0, ge=0, description="Rank of LoRA adapters; 0 trains all weights.")
    gradient_checkpointing: bool = Field(
        False, exclude=True, description="Recompute activations to save memory."
    )
    checkpoint_seconds: float = Field(
        60,
        gt=0,
        exclude=True,
        description="Seconds between checkpoints: what a killed training may lose.",
    )

    def training_bytes(self, parameters: float) -> tuple[float, float]:
        """Memory of a model in training: its weights; its gradients and Adam's moments in fp32.

        LoRA trains about one parameter in a hundred, and keeps the others as they are computed.
        """
        trained = 0.01 * parameters if self.lora_rank else parameters
        weight_bytes = 2 if self.lora_rank and self.precision == "bf16" else 4
        return parameters * weight_bytes, trained * 12


class TrainingSettings(OptimizerSettings):
    """Training on a fixed set of rows."""

    epochs: float = Field(3, gt=0, description="Passes over the data.")
    max_length: int = Field(
        768, ge=8, description="Longest row in tokens; longer ones are dropped."
    )


class SupervisedSettings(TrainingSettings):
    """Pre-training, supervised fine-tuning and reward modeling."""

    max_steps: int | None = Field(None, ge=1, description="Optimizer steps; overrides epochs.")


class DecodingSettings(Settings):
    """How tokens are sampled."""

    temperature: float = Field(0.7, ge=0, description="0 is greedy (paper p.19: 0.7).")
    top_k: int = Field(
        20, ge=0, description="Sample from the k most likely tokens; 0 is off (paper p.19: 20)."
    )
    top_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Sample from the smallest set of tokens with this total probability.",
    )
    min_p: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Drop tokens below this share of the most likely one's probability.",
    )
    max_tokens: int = Field(1024, ge=1, description="Longest solution in tokens.")
    stop: Texts = Field(
        [], description="Texts that end a solution besides the end-of-text token; \\n is a newline."
    )


class EngineOptions(WorkerSettings):
    """What generates texts. Excluded settings do not change the texts."""

    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="Precision of the model: bf16 on a GPU, fp32 elsewhere."
    )
    engine_arg: Pairs = Field({}, description=ENGINE_ARG_HELP)
    engine: EngineName = Field(
        "auto", exclude=True, description="Engine; auto is vLLM if installed and there is a GPU."
    )
    generation_batch_size: int = Field(
        1024,
        ge=1,
        exclude=True,
        description="Generation batch size of the transformers engine.",
    )


class EngineSettings(EngineOptions, DecodingSettings):
    """What generates samples, and how."""
