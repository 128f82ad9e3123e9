"""Settings of ``e2h rl``: what all algorithms share, and one class per algorithm.

A setting that is a choice of the paper names its page; one of the released code says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from e2h_cli.settings.base import (
    GRADER_HELP,
    DecodingSettings,
    EngineName,
    Family,
    GraderName,
    Levels,
    OptimizerSettings,
    Pairs,
    Settings,
    TrainingSettings,
)
from e2h_cli.settings.prompt import ChatSettings

KLEstimator = Literal["k1", "k2", "k3", "k1-clamped"]
WhitenRewards = Literal["none", "scale", "keep-mean"]
ShapingScheme = Literal["minimum", "differences", "paper", "none"]
CheckpointRule = Literal["vote", "easy", "paper"]
Algorithm = Literal["ppo", "grpo", "rest-em", "dpo"]

# The paper's PPO on PRM800K (p.20) and the arguments of its released code.
_PAPER: dict[str, Any] = {
    "steps": 500, "rollout_batch_size": 512, "batch_size": 64, "num_generations": 1,
    "update_epochs": 1, "eval_steps": 10, "checkpoint_rule": "paper", "grader": "official",
    "temperature": 0.7, "top_k": 50, "top_p": 1.0, "min_p": 0.0, "max_tokens": 768,
    "shaping": "paper", "answer_reward": 1.0, "unknown_answer_reward": 0.25,
    "step_reward_scale": 1.0, "step_bonus": 0.25, "reward_upper_bound": 0.5,
    "format_penalty": -1.0, "kl_coef": 0.01, "kl_estimator": "k1-clamped",
    "whiten_rewards": "keep-mean", "count_padding": True, "gamma": 1.0, "gae_lambda": 1.0,
    "clip_range": 0.2, "value_clip_range": 0.2, "vf_coef": 0.1, "value_lr_multiplier": 1.0,
    "fit_value_head": False, "learning_rate": 2e-5, "warmup_ratio": 0.01, "min_lr_ratio": 0.01,
    "adam_beta2": 0.95, "precision": "bf16", "freeze": True,
}  # fmt: skip
# The same without what is broken there; docs/rl.md gives the reasons.
_PAPER_MENDED: dict[str, Any] = {
    **_PAPER, "shaping": "minimum", "kl_estimator": "k1", "whiten_rewards": "scale",
    "count_padding": False, "fit_value_head": True, "top_k": 0, "grader": "prm800k",
    "checkpoint_rule": "vote",
}  # fmt: skip


class RLSettings(ChatSettings, DecodingSettings, OptimizerSettings):
    """What all algorithms share."""

    algo: Algorithm = Field("ppo", description="How the generator is trained.")
    questions: Levels = Field("all", description="Which training questions are asked.")
    answers: Literal["easy", "all", "none"] = Field(
        "easy", description="Whose gold answers give a reward; all reads hard ones (dagger rows)."
    )
    checkpoint_rule: CheckpointRule = Field(
        "vote",
        description="What chooses the best checkpoint: agreement with the vote of the initial "
        "generator on hard questions, accuracy on easy ones, or on all (reads hard answers).",
    )
    prompt: Literal["e2h", "chat"] = Field(
        "e2h",
        description="How questions are asked: in e2h's template, or by the chat template of the "
        "model's tokenizer.",
    )
    num_generations: int = Field(
        1,
        ge=1,
        description="Solutions per question and step or iteration: PPO 1, GRPO 16, ReST-EM 32 and "
        "DPO 8 if not given (paper p.19).",
    )
    grader: GraderName = Field("e2h", description=GRADER_HELP)
    family: Family = Field("auto", description="How the reward model is read; see e2h rerank.")
    engine: EngineName = Field("auto", exclude=True, description="What generates the solutions.")
    engine_arg: Pairs = Field({}, exclude=True, description="An engine argument of vLLM.")
    generation_batch_size: int = Field(
        1024,
        ge=1,
        exclude=True,
        description="Samples that the transformers engine generates at the same time.",
    )
    batch_tokens: int | None = Field(
        None,
        ge=1,
        exclude=True,
        description="Tokens per forward pass; 16384 on a GPU and 2048 elsewhere if not given.",
    )

    @classmethod
    def variants(cls) -> tuple[type[RLSettings], ...]:
        """One class per algorithm."""
        return tuple(_ALGORITHMS.values()) if cls is RLSettings else (cls,)

    @classmethod
    def variant_for(cls, values: Mapping[str, Any]) -> type[RLSettings]:
        """The class of the algorithm that the values name; this one if it is unknown."""
        return _ALGORITHMS.get(str(values.get("algo", "ppo")), RLSettings)


class RewardSettings(Settings):
    """Rewards of the steps and of the final answer of one solution."""

    shaping: ShapingScheme = Field(
        "minimum",
        description="Step rewards: what a step lowers the running minimum by, how its score "
        "differs from the last, the released code's, or none (the final answer only).",
    )
    answer_reward: float = Field(1.0, ge=0, description="Reward of a right final answer.")
    unknown_answer_reward: float = Field(
        0.0, description="Reward of an answer without a gold answer; 0.25 in the released code."
    )
    step_reward_scale: float = Field(1.0, ge=0, description="Factor of the step rewards.")
    step_bonus: float = Field(
        0.0, ge=0, description="Reward shared among all steps; 0.25 in the released code."
    )
    reward_upper_bound: float = Field(
        1.0, gt=0, le=1, description="Start of the running minimum; 0.5 in the released code."
    )
    format_penalty: float = Field(
        0.0,
        le=0,
        description="Reward of an answer that stands in no step; a half of it as $answer$ in the "
        "last step, three quarters as plain text there, nothing if boxed; -1 in the released code.",
    )


class OnPolicySettings(RewardSettings, RLSettings):
    """What PPO and GRPO share."""

    rollout_batch_size: int = Field(512, ge=1, description="Solutions per step (paper p.20).")
    steps: int = Field(500, ge=1, description="Rollout and update steps (paper p.20: 500).")
    batch_size: int = Field(64, ge=1, description="Solutions per optimizer step (paper p.20).")
    update_epochs: int = Field(1, ge=1, description="Passes over the solutions of a step.")
    kl_coef: float = Field(
        0.01, ge=0, description="Coefficient of the KL to the initial policy (paper p.20: 0.01)."
    )
    clip_range: float = Field(0.2, gt=0, description="PPO clip range of the probability ratio.")
    eval_steps: int = Field(10, ge=1, description="Steps between validations.")

    @property
    def prompts_per_step(self) -> int:
        """Questions that are asked in one step."""
        return self.rollout_batch_size // self.num_generations

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps of the whole training."""
        per_epoch = math.ceil(self.rollout_batch_size / self.batch_size)
        return self.steps * self.update_epochs * per_epoch

    @property
    def padded_length(self) -> int | None:
        """Positions of every solution, padding included; None if padding does not count."""
        return None


class PPOSettings(OnPolicySettings):
    """Proximal policy optimization (paper p.7 and p.20)."""

    presets: ClassVar = {"paper": _PAPER, "paper-mended": _PAPER_MENDED}

    algo: Literal["ppo"] = "ppo"
    preset: Literal["paper", "paper-mended"] | None = Field(
        None,
        exclude=True,
        description="Settings of the paper and its released code, or the same without its errors; "
        "other settings override it.",
    )
    temperature: float = Field(0.7, ge=0, description="Of the solutions (paper p.20: 0.7).")
    top_k: int = Field(
        0,
        ge=0,
        description="Sample from the k most likely tokens; 0 is off, so that the trained "
        "distribution is the sampled one; 50 in the released code.",
    )
    kl_estimator: KLEstimator = Field(
        "k1", description="Per-token KL estimator; k1-clamped is the released code's k1."
    )
    gamma: float = Field(1.0, gt=0, le=1, description="Discount per token (paper p.20: 1).")
    gae_lambda: float = Field(1.0, ge=0, le=1, description="Lambda of GAE (paper p.20: 1).")
    value_clip_range: float = Field(0.2, gt=0, description="Clip range of the value function.")
    value_lr_multiplier: float = Field(
        1.0,
        gt=0,
        description="Learning rate of the value model, as a multiple of the policy's (paper: 1).",
    )
    vf_coef: float = Field(
        1.0,
        gt=0,
        description="Coefficient of the value loss, before its gradient is clipped; 0.1 in the "
        "released code.",
    )
    shared_value_head: bool = Field(
        False,
        description="Read values from the policy's last layer by a linear head, which needs half "
        "the memory; off is a value model of its own (paper p.7).",
    )
    fit_value_head: bool = Field(
        True, description="Scale the value head to the first returns; off in the released code."
    )
    whiten_rewards: WhitenRewards = Field(
        "none",
        description="scale divides rewards by their standard deviation over the batch; keep-mean "
        "is (x - mean) / sd + mean, as in TRL and the released code.",
    )
    count_padding: bool = Field(
        False,
        description="Let end-of-text and padding up to --max-tokens count in statistics, returns "
        "and losses, as in the released code; end-of-text is then not trained.",
    )

    @property
    def padded_length(self) -> int | None:
        """Positions of every solution, padding included; None if padding does not count."""
        return self.max_tokens if self.count_padding else None


class GRPOSettings(OnPolicySettings):
    """Group relative policy optimization; not in the paper."""

    algo: Literal["grpo"] = "grpo"
    num_generations: int = Field(16, ge=2, description="Solutions per question and step.")
    temperature: float = Field(1.0, ge=0, description="Of the solutions.")
    top_k: int = Field(0, ge=0, description="Sample from the k most likely tokens; 0 is off.")
    step_advantages: bool = Field(
        False, description="Advantages per step instead of one per solution."
    )


class IteratedSettings(RLSettings, TrainingSettings):
    """What ReST-EM and iterative DPO share."""

    iterations: int = Field(2, ge=1, description="Most iterations (paper p.19: 2 and 5).")


class RestEMSettings(IteratedSettings):
    """ReST-EM: fine-tuning on right solutions of the last iteration's model (paper p.19)."""

    algo: Literal["rest-em"] = "rest-em"
    num_generations: int = Field(32, ge=1, description="Solutions per question (paper p.19: 32).")
    temperature: float = Field(1.0, ge=0, description="Of the solutions (paper p.19: 1.0).")
    top_k: int = Field(40, ge=0, description="Sample from the k most likely tokens (paper p.19).")
    max_correct_per_problem: int = Field(
        10, ge=1, description="Most right solutions per problem that are trained on (paper p.19)."
    )


class DPOSettings(IteratedSettings):
    """Iterative direct preference optimization (paper p.19)."""

    algo: Literal["dpo"] = "dpo"
    num_generations: int = Field(8, ge=2, description="Solutions per question (paper p.19: 8).")
    temperature: float = Field(1.0, ge=0, description="Of the solutions (paper p.19: 1.0).")
    top_k: int = Field(20, ge=0, description="Sample from the k most likely tokens (paper p.19).")
    iterations: int = Field(5, ge=1, description="Most iterations (paper p.19: 5).")
    epochs: float = Field(1, gt=0, description="Passes over the pairs of an iteration.")
    batch_size: int = Field(64, ge=1, description="Pairs per optimizer step.")
    learning_rate: float = Field(2e-6, gt=0, description="Peak learning rate (paper p.19).")
    min_score_gap: float = Field(
        1.0,
        ge=0,
        description="Least difference of scores (PRM plus answer) in a pair (paper p.19).",
    )
    min_score_gap_without_answer: float = Field(
        0.5, ge=0, description="The same for problems without a gold answer, whose scores end at 1."
    )
    max_pairs_per_problem: int = Field(3, ge=1, description="Most pairs per problem (paper p.19).")
    beta: float = Field(0.1, gt=0, description="KL coefficient of the DPO loss (paper p.19).")


_ALGORITHMS: dict[str, type[RLSettings]] = {
    "ppo": PPOSettings,
    "grpo": GRPOSettings,
    "rest-em": RestEMSettings,
    "dpo": DPOSettings,
}
