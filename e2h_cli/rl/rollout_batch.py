"""Rollouts as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from transformers import PreTrainedTokenizerFast

from e2h_cli.data import template
from e2h_cli.rl.rollout_scoring import token_rewards
from e2h_cli.rl.rollouts import Rollout


@dataclass
class Batch:
    """Rollouts as tensors of shape (batch, tokens): prompt and completion, padded on the right.

    ``completion_mask``: 1 at sampled tokens; ``rewards``: of each token; ``reward_mask``: 1 where a
    step or the solution ends; ``groups``: (batch, 1) number of the question. ``PolicyUpdater``
    fills in the rest: outputs of the models before the update, advantages and returns, all 0
    outside completions.
    """

    ids: torch.Tensor
    attention_mask: torch.Tensor
    groups: torch.Tensor
    completion_mask: torch.Tensor
    rewards: torch.Tensor
    reward_mask: torch.Tensor
    old_logprobs: torch.Tensor
    ref_logprobs: torch.Tensor
    old_values: torch.Tensor
    entropy: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row without padding."""
        return self.attention_mask.sum(1).tolist()

    def micro_batch(self, rows: Sequence[int], length: int, device: torch.device) -> Batch:
        """Some rows, without the padding after ``length`` tokens, on a device."""
        return Batch(**{name: x[rows, :length].to(device) for name, x in vars(self).items()})


def make_batch(rollouts: Sequence[Rollout], tokenizer: PreTrainedTokenizerFast) -> Batch:
    """Rollouts as a batch."""
    problems = {r.problem.id: r.problem for r in rollouts}
    texts = [template.prompt(p.problem) for p in problems.values()]
    encoded = tokenizer(texts, add_special_tokens=True).input_ids
    prompts = dict(zip(problems, encoded, strict=True))
    numbers = {problem: i for i, problem in enumerate(prompts)}
    shape = (len(rollouts), max(len(prompts[r.problem.id]) + len(r.ids) for r in rollouts))
    batch = Batch(**{field.name: torch.zeros(shape) for field in fields(Batch)})
    batch.ids = torch.full(shape, tokenizer.pad_token_id or 0)
    batch.attention_mask = torch.zeros(shape, dtype=torch.long)
    batch.groups = torch.tensor([[numbers[r.problem.id]] for r in rollouts])
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
