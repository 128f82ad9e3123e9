"""A value head on the policy: its values and gradients, a training with it, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from e2h_cli.common import distributed
from e2h_cli.common.errors import InputError
from e2h_cli.rl.losses import policy_loss, policy_outputs, value_loss
from e2h_cli.rl.policy_models import load_policy_models
from e2h_cli.rl.ppo import PPOUpdater
from e2h_cli.settings.rl import PPOSettings
from tests.rl.conftest import log_lines, rl
from tests.rl.test_shared_prompts import new_model, some_batch, tokens


def updater_of(folder: Path, **changes: Any) -> PPOUpdater:
    """PPO with a value head on the policy."""
    new_model("llama", tie_word_embeddings=False).save_pretrained(folder)
    tokens().save_pretrained(folder)
    settings = PPOSettings.model_validate(
        {"shared_value_head": True, "batch_size": 12, "rollout_batch_size": 12, "steps": 40,
         "learning_rate": 3e-3, "max_tokens": 40, "kl_coef": 0.0, **changes}
    )  # fmt: skip
    return PPOUpdater(load_policy_models(str(folder), None, settings), settings)


def test_values_are_a_linear_function_of_what_the_lm_head_reads(tmp_path: Path) -> None:
    updater = updater_of(tmp_path)
    models, batch = updater.models, some_batch(tokens(), None)
    head = models.value_head
    assert head is not None
    assert not head.weight.any()
    torch.nn.init.normal_(head.weight)
    batch = batch.micro_batch(range(12), torch.device("cpu"))
    logprobs, _, values = policy_outputs(models.policy, head, batch, 0.7)
    hidden = models.policy.model(
        input_ids=batch.ids, attention_mask=batch.attention_mask
    ).last_hidden_state
    for row, column in batch.return_mask.nonzero().tolist():
        before = hidden[row, column - 1]
        assert values[row, column].item() == pytest.approx(head(before).item(), abs=1e-5)
    assert not values[~batch.return_mask.bool()].any()
    assert torch.equal(logprobs, policy_outputs(models.policy, None, batch, 0.7)[0])


def test_the_gradient_is_that_of_both_losses(tmp_path: Path) -> None:
    updater = updater_of(tmp_path, vf_coef=0.5, temperature=1.0)
    policy, head = updater.models.policy, updater.models.value_head
    assert head is not None
    torch.nn.init.normal_(head.weight)
    whole = some_batch(tokens(), None)
    updater.update(whole, 0)  # sets what the losses read
    batch = whole.micro_batch(range(12), torch.device("cpu"))
    mask, count = batch.return_mask, float(batch.return_mask.sum())

    def gradients() -> list[torch.Tensor]:
        found = [p.grad.clone() for p in [*policy.parameters(), head.weight]]
        policy.zero_grad()
        head.zero_grad()
        return found

    updater._backward(batch, count)
    ours = gradients()
    hidden = policy.model(
        input_ids=batch.ids, attention_mask=batch.attention_mask
    ).last_hidden_state
    before = hidden[:, :-1]
    values = torch.nn.functional.pad(head(before)[..., 0], (1, 0)) * mask
    chosen = policy.lm_head(before).log_softmax(-1).gather(-1, batch.ids[:, 1:, None])[..., 0]
    logprobs = torch.nn.functional.pad(chosen, (1, 0)) * mask
    of_policy, _ = policy_loss(
        logprobs, batch.old_logprobs, batch.advantages, batch.completion_mask, 0.2, count
    )
    of_values = value_loss(values, batch.old_values, batch.returns, mask, 0.2, count)
    (of_policy + 0.5 * of_values).backward()
    for a, b in zip(ours, gradients(), strict=True):
        assert bool(b.any())
        assert torch.allclose(a, b, atol=1e-6, rtol=1e-4)


def test_a_checkpoint_has_the_head(tmp_path: Path) -> None:
    batch, file = some_batch(tokens(), None), tmp_path / "checkpoint.pt"
    first = updater_of(tmp_path / "model")
    first.update(batch, 0)
    first.save_checkpoint(file, {})
    second = updater_of(tmp_path / "model")
    second.load_checkpoint(file)
    assert first.update(batch, 1) == second.update(batch, 1)
    head = second.models.value_head
    assert head is not None
    assert bool(head.weight.any())


def test_the_command_trains_with_it(place: Path) -> None:
    done = rl(place, "--stage", "rl", "--steps", "2", "--shared-value-head")
    assert done.returncode == 0, done.stderr
    [memory] = [line for line in done.stdout.splitlines() if "memory in GiB" in line]
    assert "value model" not in memory
    losses = [line["value_loss"] for line in log_lines(place / "run/rl") if "value_loss" in line]
    assert len(losses) == 2
    assert min(losses) > 0


def test_fsdp_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "shards_models", lambda: True)
    with pytest.raises(InputError, match="--shared-value-head needs the whole policy"):
        updater_of(tmp_path)
