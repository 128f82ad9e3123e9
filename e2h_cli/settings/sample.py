"""Settings of ``e2h sample``."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from e2h_cli.settings.base import EngineSettings, Part, ShardableSettings
from e2h_cli.settings.prompt import ChatSettings, PromptName

# The paper's sampling parameters, by what the samples are for.
PRESETS: dict[str, dict[str, Any]] = {
    "greedy": {"n": 1, "temperature": 0, "top_k": 0},
    "re-ranking": {"temperature": 0.7, "top_k": 20},  # p.19
    "outcome-labels": {"n": 32, "temperature": 0.7, "top_k": 20},  # p.19
    "rest-em": {"n": 32, "temperature": 1.0, "top_k": 40},  # p.19, PRM800K
    "dpo": {"n": 8, "temperature": 1.0, "top_k": 20},  # p.19
    "icl": {"temperature": 0.9, "top_k": 0, "shots": 4},  # p.5
}


ShotsFrom = Literal["easy", "hard", "hardest", "all"]


class SampleSettings(ChatSettings, EngineSettings, ShardableSettings):
    """Settings of ``e2h sample``.

    Excluded settings do not change the samples: a run may be resumed with others.
    """

    presets: ClassVar = PRESETS

    n: int = Field(64, ge=1, description="Samples per problem.")
    part: Part = Field("test", description="Part of the split to sample from.")
    limit: int | None = Field(None, ge=1, description="Sample the first N problems only.")
    logprob: bool = Field(
        False, description="Keep log-probabilities; costs vLLM a tenth of its speed."
    )
    prompt: PromptName = Field(
        "e2h",
        description="Wording of the prompts: e2h's template; minerva, the paper's few-shot "
        "prompts (p.39-45); or chat, the chat template of the model's tokenizer.",
    )
    shots: int = Field(
        0, ge=0, description="Few-shot examples in front of every question (paper p.5: 4)."
    )
    shots_from: ShotsFrom = Field(
        "easy",
        description="Training problems that few-shot examples are from; hardest is the last level "
        "(paper p.5: 5). All but easy read hard answers.",
    )
    preset: Literal["greedy", "re-ranking", "outcome-labels", "rest-em", "dpo", "icl"] | None = (
        Field(None, exclude=True, description="Settings of the paper; other settings override it.")
    )
    seed_per_sample: bool | None = Field(
        None,
        exclude=True,
        description="Give each sample a seed of its own, so that a resumed run draws what the "
        "killed one would have drawn; by default with transformers, not with vLLM, which is "
        "faster without.",
    )
