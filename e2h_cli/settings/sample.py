"""Settings of ``e2h sample``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from e2h_cli.settings.base import (
    DecodingSettings,
    EngineName,
    Levels,
    Pairs,
    Part,
    ShardableSettings,
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


class SampleSettings(DecodingSettings, ShardableSettings):
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
    generation_batch_size: int = Field(
        1024,
        ge=1,
        exclude=True,
        description="Samples that the transformers engine generates at the same time.",
    )
    flush_seconds: float = Field(
        5.0, gt=0, exclude=True, description="Seconds after which a finished sample is on disk."
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

    @classmethod
    def expand_preset(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values with those of their preset; explicit values win."""
        return {**PRESETS.get(str(values.get("preset")), {}), **values}
