"""Rollouts as padded tensors."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from transformers import PreTrainedTokenizerFast

from e2h_cli.data import template
from e2h_cli.rl.rollout_scoring import token_rewards
from e2h_cli.rl.rollouts import Rollout


@dataclass
class Batch:
    """Rollouts as tensors of shape (batch, tokens): prompt and completion, padded on the right.

    ``completion_mask``: 1 at sampled tokens; ``rewards``: of each token; ``reward_mask``: 1 where a
    step or the solution ends; ``groups``: (batch,) number of the question.
    """

    ids: torch.Tensor
    attention_mask: torch.Tensor
    completion_mask: torch.Tensor
    rewards: torch.Tensor
    reward_mask: torch.Tensor
    groups: torch.Tensor

    @functools.cached_property
    def lengths(self) -> list[int]:
        """Tokens of each row without padding."""
        lengths: list[int] = self.attention_mask.sum(1).tolist()
        return lengths


class UpdateBatch(NamedTuple):
    """All that the losses of an update need, each (batch, tokens).

    Log-probs and values with ``old`` and ``ref`` are those before the update.
    """

    ids: torch.Tensor
    attention_mask: torch.Tensor
    completion_mask: torch.Tensor
    old_logprobs: torch.Tensor
    ref_logprobs: torch.Tensor
    old_values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor

    def micro_batch(self, rows: Sequence[int], length: int, device: torch.device) -> UpdateBatch:
        """Some rows, without the padding after ``length`` tokens, on a device."""
        return UpdateBatch(*(x[list(rows), :length].to(device) for x in self))


def make_batch(rollouts: Sequence[Rollout], tokenizer: PreTrainedTokenizerFast) -> Batch:
    """Rollouts as a batch."""
    prompts = {
        r.problem.id: tokenizer(
            template.prompt(r.problem.problem), add_special_tokens=True
        ).input_ids
        for r in rollouts
    }
    numbers = {problem: i for i, problem in enumerate(prompts)}
    longest = max(len(prompts[r.problem.id]) + len(r.ids) for r in rollouts)
    shape = (len(rollouts), longest)
    batch = Batch(
        ids=torch.full(shape, tokenizer.pad_token_id or 0),
        attention_mask=torch.zeros(shape, dtype=torch.long),
        completion_mask=torch.zeros(shape),
        rewards=torch.zeros(shape),
        reward_mask=torch.zeros(shape),
        groups=torch.tensor([numbers[r.problem.id] for r in rollouts]),
    )
    for row, r in enumerate(rollouts):
        prompt = prompts[r.problem.id]
        start, end = len(prompt), len(prompt) + len(r.ids)
        batch.ids[row, :end] = torch.tensor([*prompt, *r.ids])
        batch.attention_mask[row, :end] = 1
        batch.completion_mask[row, start:end] = 1
        for position, reward in token_rewards(r, tokenizer):
            batch.rewards[row, start + position] += reward
            batch.reward_mask[row, start + position] = 1
    return batch
