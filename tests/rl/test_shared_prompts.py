"""Prompts that are computed once: losses, gradients and weights are those of whole rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from e2h_cli.data import template
from e2h_cli.rl.grpo import GRPOUpdater
from e2h_cli.rl.policy_models import load_policy_models
from e2h_cli.rl.policy_update import PolicyUpdater
from e2h_cli.rl.ppo import PPOUpdater
from e2h_cli.rl.rewards import Rewards
from e2h_cli.rl.rollout_batch import Batch, make_batch
from e2h_cli.rl.rollouts import Rollout
from e2h_cli.rl.shared_prompts import SharedPrompts, can_share, rows_by_prompt
from e2h_cli.settings.rl import GRPOSettings, PPOSettings
from tests import builders
from tests.rl.conftest import QUESTIONS, rollout

TEXTS = ["b=3+4=7\n\nc=7*2=4\n\n# Answer\n\n4", "b=1\n\n# Answer\n\n1", "b=2+4=6\n\nc=6*", "b"]
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2},
    "gpt_neox": {"hidden_dropout": 0.0, "attention_dropout": 0.0, "classifier_dropout": 0.0},
}


def tokens() -> PreTrainedTokenizerFast:
    texts = [template.prompt(q.problem) for q in QUESTIONS] + TEXTS + ["0123456789+-*abc=#"]
    return builders.tokenizer("character", texts)


def new_model(architecture: str, **options: Any) -> PreTrainedModel:
    tokenizer = tokens()
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=256, pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None, **options,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(config)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    new_model(request.param, **ARCHITECTURES[request.param]).save_pretrained(folder)
    tokens().save_pretrained(folder)
    return folder


def some_batch(tokenizer: PreTrainedTokenizerFast, padded_length: int | None) -> Batch:
    """Four completions of each of three questions, whose prompts differ in length."""
    rollouts: list[Rollout] = []
    for i, problem in enumerate(QUESTIONS[:3]):
        longer = replace(problem, problem=problem.problem + " b+4" * i)
        for k, text in enumerate(TEXTS):
            steps = [0.1 * (i - k)] * text.count("\n\n")
            rewards = Rewards(steps[:1], 0.5 - 0.3 * ((i + k) % 3), 0, 0)
            rollouts.append(rollout(tokenizer, longer, text, k != 2, rewards))
    return make_batch(rollouts, tokenizer, padded_length)


def trained(
    model: Path, algo: str, *, share: bool, **changes: Any
) -> tuple[list[dict[str, float]], list[torch.Tensor], list[torch.Tensor]]:
    """Metrics, the gradients of every optimizer step, and the weights of two updates."""
    own = {"batch_size": 6, "rollout_batch_size": 12, "steps": 5, "learning_rate": 1e-3,
           "batch_tokens": 64, "max_tokens": 40, "temperature": 0.8, **changes}  # fmt: skip
    updater: PolicyUpdater[Any]
    if algo == "ppo":
        ppo = PPOSettings.model_validate(own)
        updater = PPOUpdater(load_policy_models(str(model), None, ppo), ppo)
    else:
        grpo = GRPOSettings.model_validate(own)
        updater = GRPOUpdater(load_policy_models(str(model), None, grpo), grpo)
    updater.share_prompts = share
    assert can_share(updater.models.policy)
    batch = some_batch(updater.models.tokenizer, updater.settings.padded_length)
    with builders.gradients() as gradients:
        metrics = [updater.update(batch, step) for step in range(2)]
    weights = [p for m in updater.models.trained.values() for p in m.parameters()]
    return metrics, gradients, weights


@pytest.mark.parametrize(
    ("algo", "changes"),
    [
        ("ppo", {"kl_coef": 0.1}),
        ("ppo", {"kl_coef": 0.0, "count_padding": True, "lora_rank": 4}),
        ("ppo", {"kl_coef": 0.1, "shared_value_head": True}),
        ("grpo", {"kl_coef": 0.1, "freeze": True}),
        ("grpo", {"kl_coef": 0.0, "update_epochs": 2}),
    ],
)
def test_shared_prompts_change_nothing(
    model: Path, algo: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    backward, steps = SharedPrompts.backward, []
    monkeypatch.setattr(SharedPrompts, "backward", lambda p: (steps.append(p), backward(p)))
    metrics, gradients, weights = trained(model, algo, share=True, **changes)
    assert steps
    steps.clear()
    theirs, expected, slow = trained(model, algo, share=False, **changes)
    for ours, other in zip(metrics, theirs, strict=True):
        assert ours == pytest.approx(other, rel=1e-3, abs=1e-5)
    assert not steps
    assert len(gradients) == len(expected) > 0
    for found, wanted in zip(gradients, expected, strict=True):
        assert float((found - wanted).norm()) <= 1e-3 * float(wanted.norm()) + 1e-7
    for found, wanted in zip(weights, slow, strict=True):
        assert torch.allclose(found, wanted, atol=1e-4)


def test_what_cannot_share_prompts() -> None:
    llama = new_model("llama")
    assert can_share(llama)
    llama.gradient_checkpointing_enable()
    assert not can_share(llama)
    assert not can_share(new_model("mistral", sliding_window=8))
    assert not can_share(new_model("qwen2", layer_types=["full_attention", "sliding_attention"]))


def test_prompts_are_shared_where_that_pays() -> None:
    starts, lengths, groups = [10] * 4 + [30] * 4, [20] * 4 + [40] * 4, [0] * 4 + [1] * 4
    everything = range(8)
    assert rows_by_prompt(everything, starts, lengths, groups, 100) == [[4, 5, 6, 7, 0, 1, 2, 3]]
    assert rows_by_prompt(everything, starts, lengths, groups, 30) == [[4, 5, 6, 7], [0, 1, 2, 3]]
    # A completion of each question, and completions that are much longer than their prompts.
    assert rows_by_prompt([0, 4], starts, lengths, groups, 100) == []
    assert rows_by_prompt(everything, starts, [1000] * 8, groups, 100) == []
