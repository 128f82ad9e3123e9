"""Proximal policy optimization with a value model (paper p.7 and p.20)."""

from __future__ import annotations

import torch

from e2h_cli.rl.advantages import (
    explained_variance,
    gae,
    linear_fit,
    token_kl,
    whiten,
    whiten_rewards,
)
from e2h_cli.rl.losses import policy_outputs, token_values, value_loss
from e2h_cli.rl.policy_update import PolicyUpdater
from e2h_cli.rl.rollout_batch import Batch
from e2h_cli.settings.rl import PPOSettings


class PPOUpdater(PolicyUpdater[PPOSettings]):
    """PPO: GAE with the KL to the initial policy in the rewards; trains policy and value model."""

    losses = ("policy_loss", "value_loss", "clip_ratio")

    @property
    def _needs_old_logprobs(self) -> bool:
        return self.settings.kl_coef > 0

    def _set_targets(self, batch: Batch) -> None:
        settings, mask = self.settings, batch.return_mask
        rewards = batch.rewards
        if self._needs_old_logprobs:
            kl = token_kl(batch.old_logprobs, batch.ref_logprobs, settings.kl_estimator)
            rewards = rewards - settings.kl_coef * kl * batch.completion_mask
        rewards = whiten_rewards(rewards, mask, settings.whiten_rewards)
        # A head of zeros has no scale that could be fitted.
        fit = settings.fit_value_head and self.models.value_head is None
        if fit and self.optimizer_steps == 0:
            self._fit_value_head(batch, rewards)
        advantages, batch.returns = gae(
            rewards, batch.old_values, mask, settings.gamma, settings.gae_lambda
        )
        batch.advantages = whiten(advantages, mask)

    def _backward(self, batch: Batch, token_count: float) -> tuple[float, ...]:
        models, head = self.models, self.models.value_head
        if head is not None:
            with models.autocast():
                temperature = self.settings.temperature
                logprobs, _, values = policy_outputs(models.policy, head, batch, temperature)
            loss, clip_ratio = self._policy_loss(logprobs, batch, token_count)
            of_values = self._value_loss(values, batch, token_count)
            (loss + self.settings.vf_coef * of_values).backward()
        else:
            loss, clip_ratio = self._policy_loss(self._logprobs(batch), batch, token_count)
            loss.backward()
            with models.autocast():
                values = token_values(models.value, batch)
            of_values = self._value_loss(values, batch, token_count)
            (self.settings.vf_coef * of_values).backward()
        return float(loss.detach()), float(of_values.detach()), clip_ratio

    def _value_loss(self, values: torch.Tensor, batch: Batch, token_count: float) -> torch.Tensor:
        return value_loss(
            values,
            batch.old_values,
            batch.returns,
            batch.return_mask,
            self.settings.value_clip_range,
            token_count,
        )

    def _extra_metrics(self, batch: Batch) -> dict[str, float]:
        fit = explained_variance(batch.old_values, batch.returns, batch.return_mask)
        return {"explained_variance": fit}

    def _learning_rate_factor(self, model: str) -> float:
        return self.settings.value_lr_multiplier if model == "value" else 1.0

    def _fit_value_head(self, batch: Batch, rewards: torch.Tensor) -> None:
        """Scale and shift the value head to the returns of the first step.

        The value model starts as a reward model, whose logits have another scale than returns;
        with clipped updates it would take ten steps and more to get there.
        """
        mask = batch.return_mask
        _, returns = gae(rewards, torch.zeros_like(rewards), mask, self.settings.gamma, 1.0)
        head = next(
            layer
            for name, layer in self.models.value.named_modules()
            if isinstance(layer, torch.nn.Linear) and layer.weight.requires_grad
            and {"score", "classifier"} & set(name.split("."))
        )  # fmt: skip
        slope, offset = linear_fit(batch.old_values, returns, mask, through_zero=head.bias is None)
        with torch.no_grad():
            head.weight.mul_(slope)
            if head.bias is not None:
                head.bias.mul_(slope).add_(offset)
        batch.old_values = (slope * batch.old_values + offset) * mask
