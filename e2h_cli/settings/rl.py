"""The settings of ``e2h rl``: types, bounds, defaults and one sentence each.

A setting that is a choice of the paper names its page; one of its released code says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from e2h_cli.settings.base import (
    GRADER_HELP,
    DecodingSettings,
    EngineName,
    Family,
    GraderName,
    Levels,
    Pairs,
    TrainingSettings,
)

KLEstimator = Literal["k1", "k2", "k3", "k1-clamped"]
Scheme = Literal["minimum", "differences", "paper", "none"]
Rule = Literal["vote", "easy", "paper"]

# What each algorithm starts from (paper p.19-20; GRPO is not in the paper).
ALGORITHMS: dict[str, dict[str, Any]] = {
    "ppo": {
        "n": 1, "steps": 500, "batch_size": 64, "learning_rate": 2e-5, "temperature": 0.7,
        "top_k": 0,
    },
    "grpo": {
        "n": 16, "steps": 500, "batch_size": 64, "learning_rate": 2e-5, "temperature": 1.0,
        "top_k": 0,
    },
    "rest-em": {
        "n": 32, "steps": None, "rounds": 2, "epochs": 3, "batch_size": 128, "learning_rate": 2e-5,
        "temperature": 1.0, "top_k": 40,
    },
    "dpo": {
        "n": 8, "steps": None, "rounds": 5, "epochs": 1, "batch_size": 64, "learning_rate": 2e-6,
        "temperature": 1.0, "top_k": 20,
    },
}  # fmt: skip

# The rewards of the paper's released code, which the paper does not describe.
RL_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "shaping": "paper", "bound": 0.5, "step_bonus": 0.25, "unknown_reward": 0.25,
        "format_penalty": -1.0, "kl_estimator": "k1-clamped", "whiten_rewards": True, "top_k": 50,
    },
}  # fmt: skip


class RLSettings(TrainingSettings, DecodingSettings):
    """Settings of ``e2h rl``. Excluded ones change how the work is done, not what is made."""

    algo: Literal["ppo", "grpo", "rest-em", "dpo"] = Field(
        "ppo", description="How the generator is trained; sets defaults of the other settings."
    )
    preset: Literal["paper"] | None = Field(
        None, exclude=True, description="PPO with the rewards of the paper's released code."
    )
    questions: Levels = Field("all", description="Which training questions are asked.")
    answers: Literal["easy", "all", "none"] = Field(
        "easy", description="Whose gold answers give a reward; all reads hard ones (dagger rows)."
    )
    shaping: Scheme = Field(
        "minimum",
        description="PPO, GRPO: step rewards: what a step lowers the running minimum by, how its "
        "score differs from the last, the released code's, or the final answer only.",
    )
    rule: Rule = Field(
        "vote",
        description="What chooses the best checkpoint: agreement with the vote of the first "
        "generator on hard questions, accuracy on easy ones, or on all (reads hard answers).",
    )
    n: int = Field(
        1,
        ge=1,
        description="Solutions per question and step or round: PPO 1, GRPO 16, ReST-EM 32 and "
        "DPO 8 if not given (paper p.19).",
    )
    rollouts: int = Field(512, ge=1, description="PPO, GRPO: solutions per step (paper p.20).")
    steps: int | None = Field(
        500, ge=1, description="PPO, GRPO: rounds of writing and learning (paper p.20: 500)."
    )
    rounds: int = Field(2, ge=1, description="ReST-EM, DPO: rounds at most (paper p.19: 2 and 5).")
    batch_size: int = Field(64, ge=1, description="Solutions per optimiser step (paper p.20).")
    inner_epochs: int = Field(1, ge=1, description="PPO, GRPO: passes over each step's solutions.")
    temperature: float = Field(0.7, ge=0, description="Of the solutions (paper p.20: 0.7).")
    top_k: int = Field(
        0, ge=0, description="Choose among the k likeliest; 0 is off, so that what is drawn is "
        "what is trained; 50 in the released code."
    )  # fmt: skip
    kl: float = Field(
        0.01, ge=0, description="PPO, GRPO: weight of the KL to the start (paper p.20: 0.01)."
    )
    kl_estimator: KLEstimator = Field(
        "k1",
        description="PPO: how KL is estimated from a token; k1-clamped is the released code's k1. "
        "GRPO takes k3.",
    )
    gamma: float = Field(1.0, gt=0, le=1, description="PPO: discount per token (paper p.20: 1).")
    lam: float = Field(1.0, ge=0, le=1, description="PPO: lambda of GAE (paper p.20: 1).")
    clip: float = Field(
        0.2, gt=0, description="PPO, GRPO: how far a ratio of probabilities may go."
    )
    value_clip: float = Field(0.2, gt=0, description="PPO: how far a value may go per step.")
    value_rate: float = Field(
        1.0, gt=0, description="PPO: learning rate of the value model, as a multiple of the "
        "policy's (paper: 1)."
    )  # fmt: skip
    whiten_rewards: bool = Field(
        False,
        description="PPO: divide rewards by their standard deviation over the batch, as the "
        "released code does.",
    )
    step_advantages: bool = Field(
        False, description="GRPO: advantages per step instead of one per solution."
    )
    answer_reward: float = Field(1.0, ge=0, description="Reward of a right final answer.")
    unknown_reward: float = Field(
        0.0, description="Of an answer that may not be looked at; 0.25 in the released code."
    )
    step_scale: float = Field(1.0, ge=0, description="Factor of step rewards.")
    step_bonus: float = Field(
        0.0, ge=0, description="Shared among the steps whatever they are; 0.25 in released code."
    )
    bound: float = Field(
        1.0, gt=0, le=1, description="Where the running minimum begins; 0.5 in the released code."
    )
    format_penalty: float = Field(
        0.0, le=0, description="Of an answer that is not boxed in a step; -1 in the released code."
    )
    keep: int = Field(10, ge=1, description="ReST-EM: right solutions per problem (paper p.19).")
    gap: float = Field(
        1.0,
        ge=0,
        description="DPO: scores of a pair, PRM plus answer, differ by more (paper p.19).",
    )
    unknown_gap: float = Field(
        0.5, ge=0, description="DPO: the same where no answer may be looked at and scores end at 1."
    )
    pairs: int = Field(3, ge=1, description="DPO: pairs per problem at most (paper p.19).")
    beta: float = Field(0.1, gt=0, description="DPO: how near the policy stays (paper p.19).")
    eval_steps: int = Field(10, ge=1, description="PPO, GRPO: steps between validations.")
    grader: GraderName = Field("math-verify", description=GRADER_HELP)
    family: Family = Field("auto", description="How the reward model is read; see e2h rerank.")
    engine: EngineName = Field("auto", exclude=True, description="What writes the solutions.")
    engine_arg: Pairs = Field({}, exclude=True, description="An engine argument of vLLM.")
    rows: int = Field(
        1024, ge=1, exclude=True, description="Samples that transformers writes at the same time."
    )
    batch_tokens: int | None = Field(
        None, ge=1, exclude=True,
        description="Tokens per pass; 16384 on a GPU and 2048 elsewhere if not given.",
    )  # fmt: skip

    @classmethod
    def expanded(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values with those of their algorithm and preset, which give way to what is said."""
        return {
            **ALGORITHMS.get(str(values.get("algo")), {}),
            **RL_PRESETS.get(str(values.get("preset")), {}),
            **values,
        }
