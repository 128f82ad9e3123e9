"""Group relative policy optimization (Shao et al. 2024); not in the paper."""

from __future__ import annotations

import torch

from e2h_cli.rl.advantages import group_advantages, group_step_advantages
from e2h_cli.rl.losses import kl_loss
from e2h_cli.rl.policy_update import OldOutputs, PolicyUpdater
from e2h_cli.rl.rollout_batch import Batch, UpdateBatch
from e2h_cli.settings.rl import GRPOSettings


class GRPOUpdater(PolicyUpdater[GRPOSettings]):
    """GRPO: advantages relative to the group; the KL to the initial policy is in the loss."""

    losses = ("policy_loss", "clip_ratio")

    def _targets(self, batch: Batch, old: OldOutputs) -> tuple[torch.Tensor, torch.Tensor]:
        if self.settings.step_advantages:
            advantages = group_step_advantages(batch.rewards, batch.reward_mask, batch.groups)
        else:
            advantages = group_advantages(batch.rewards.sum(1), batch.groups)[:, None]
        return advantages * batch.completion_mask, torch.zeros_like(batch.rewards)

    def _backward(self, batch: UpdateBatch, token_count: float) -> tuple[float, ...]:
        logprobs, loss, clip_ratio = self._policy_loss(batch, token_count)
        total = loss
        if self.settings.kl_coef:
            kl = kl_loss(logprobs, batch.ref_logprobs, batch.completion_mask, token_count)
            total = loss + self.settings.kl_coef * kl
        total.backward()
        return float(loss.detach()), clip_ratio
