"""Proximal policy optimization with a value model (paper p.7 and p.20)."""

from __future__ import annotations

import torch

from e2h_cli.rl.advantages import explained_variance, gae, linear_fit, token_kl, whiten
from e2h_cli.rl.logprobs import token_values
from e2h_cli.rl.losses import value_loss
from e2h_cli.rl.policy_update import OldOutputs, PolicyUpdater
from e2h_cli.rl.rollout_batch import Batch, UpdateBatch
from e2h_cli.settings.rl import PPOSettings


class PPOUpdater(PolicyUpdater[PPOSettings]):
    """PPO: GAE with the KL to the initial policy in the rewards; trains policy and value model."""

    losses = ("policy_loss", "value_loss", "clip_ratio")

    def _targets(self, batch: Batch, old: OldOutputs) -> tuple[torch.Tensor, torch.Tensor]:
        settings, mask = self.settings, batch.completion_mask
        kl = token_kl(old.logprobs, old.ref_logprobs, settings.kl_estimator) * mask
        rewards = batch.rewards - settings.kl_coef * kl
        if settings.whiten_rewards:
            rewards = whiten(rewards, mask, shift_mean=False)
        if self.optimizer_steps == 0:
            self._fit_value_head(rewards, old, mask)
        advantages, returns = gae(rewards, old.values, mask, settings.gamma, settings.gae_lambda)
        return whiten(advantages, mask), returns

    def _backward(self, batch: UpdateBatch, token_count: float) -> tuple[float, ...]:
        _, loss, clip_ratio = self._policy_loss(batch, token_count)
        loss.backward()
        with self.models.autocast():
            values = token_values(self.models.value, batch.ids, batch.attention_mask)
        of_values = value_loss(
            values,
            batch.old_values,
            batch.returns,
            batch.completion_mask,
            self.settings.value_clip_range,
            token_count,
        )
        of_values.backward()
        return float(loss.detach()), float(of_values.detach()), clip_ratio

    def _extra_metrics(
        self, batch: Batch, old: OldOutputs, returns: torch.Tensor
    ) -> dict[str, float]:
        fit = explained_variance(old.values, returns, batch.completion_mask)
        return {"explained_variance": fit}

    def _learning_rate_factor(self, model: str) -> float:
        return self.settings.value_lr_multiplier if model == "value" else 1.0

    def _fit_value_head(self, rewards: torch.Tensor, old: OldOutputs, mask: torch.Tensor) -> None:
        """Scale and shift the value head to the returns of the first step.

        The value model starts as a reward model, whose logits have another scale than returns;
        with clipped updates it would take ten steps and more to get there.
        """
        zeros = torch.zeros_like(old.values)
        _, returns = gae(rewards, zeros, mask, self.settings.gamma, 1.0)
        head = next(
            layer
            for name, layer in self.models.value.named_modules()
            if isinstance(layer, torch.nn.Linear) and layer.weight.requires_grad
            and {"score", "classifier"} & set(name.split("."))
        )  # fmt: skip
        slope, offset = linear_fit(old.values, returns, mask, through_zero=head.bias is None)
        with torch.no_grad():
            head.weight.mul_(slope)
            if head.bias is not None:
                head.bias.mul_(slope).add_(offset)
        old.values = (slope * old.values + offset) * mask
