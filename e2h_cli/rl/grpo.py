"""Group relative policy optimization (Shao et al. 2024); not in the paper."""

from __future__ import annotations

from e2h_cli.rl.advantages import group_advantages, group_step_advantages
from e2h_cli.rl.losses import kl_loss
from e2h_cli.rl.policy_update import PolicyUpdater
from e2h_cli.rl.rollout_batch import Batch
from e2h_cli.settings.rl import GRPOSettings


class GRPOUpdater(PolicyUpdater[GRPOSettings]):
    """GRPO: advantages relative to the group; the KL to the initial policy is in the loss."""

    losses = ("policy_loss", "clip_ratio")

    def _set_targets(self, batch: Batch) -> None:
        groups = batch.groups[:, 0]
        if self.settings.step_advantages:
            advantages = group_step_advantages(batch.rewards, batch.reward_mask, groups)
        else:
            advantages = group_advantages(batch.rewards.sum(1), groups)[:, None]
        batch.advantages = advantages * batch.completion_mask

    def _backward(self, batch: Batch, token_count: float) -> tuple[float, ...]:
        logprobs = self._logprobs(batch)
        loss, clip_ratio = self._policy_loss(logprobs, batch, token_count)
        total = loss
        if self.settings.kl_coef:
            kl = kl_loss(logprobs, batch.ref_logprobs, batch.completion_mask, token_count)
            total = loss + self.settings.kl_coef * kl
        total.backward()
        return float(loss.detach()), clip_ratio
