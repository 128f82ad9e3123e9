"""Rollouts as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import torch
from transformers import PreTrainedTokenizerFast

from e2h_cli.rl.rollout_scoring import token_rewards
from e2h_cli.rl.rollouts import Rollout
from e2h_cli.rl.shared_prompts import SharedPrompts


@dataclass
class Batch:
    """Rollouts as tensors of shape (batch, tokens): prompt and completion, padded on the right.

    ``completion_mask``: 1 at sampled tokens; ``return_mask``: 1 at positions with a return, which
    are the same unless padding counts; ``rewards``: of each position; ``reward_mask``: 1 where a
    step or the solution ends; ``groups``: (batch, 1) number of the question. ``PolicyUpdater``
    fills in the rest: outputs of the models before the update, advantages and returns, all 0
    outside ``return_mask``. ``prompts``: of a micro-batch whose prompts are computed once.
    """

    ids: torch.Tensor
    attention_mask: torch.Tensor
    groups: torch.Tensor
    completion_mask: torch.Tensor
    return_mask: torch.Tensor
    rewards: torch.Tensor
    reward_mask: torch.Tensor
    old_logprobs: torch.Tensor
    ref_logprobs: torch.Tensor
    old_values: torch.Tensor
    entropy: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    prompts: SharedPrompts | None = field(init=False, default=None)

    @property
    def starts(self) -> list[int]:
        """Tokens of the prompt of each row."""
        return self.return_mask.argmax(1).tolist()

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row without padding."""
        return self.attention_mask.sum(1).tolist()

    def micro_batch(
        self, rows: Sequence[int], device: torch.device, prompts: SharedPrompts | None = None
    ) -> Batch:
        """Some rows, without the padding that all have, on a device."""
        length = int(self.attention_mask[rows].sum(1).max())
        part = Batch(**{name: getattr(self, name)[rows, :length].to(device) for name in _TENSORS})
        part.prompts = prompts
        return part


_TENSORS = [f.name for f in fields(Batch) if f.name != "prompts"]


def make_batch(
    rollouts: Sequence[Rollout],
    tokenizer: PreTrainedTokenizerFast,
    padded_length: int | None = None,
) -> Batch:
    """Rollouts as a batch.

    With ``padded_length`` every completion has as many positions, of which padding and end-of-text
    are no sampled tokens, but have returns. Models read them as tokens.
    """
    texts = {r.problem.id: r.prompt for r in rollouts}
    encoded = tokenizer([*texts.values()], add_special_tokens=True).input_ids
    prompts = dict(zip(texts, encoded, strict=True))
    numbers = {problem: i for i, problem in enumerate(prompts)}
    ends = (len(prompts[r.problem.id]) + (padded_length or len(r.ids)) for r in rollouts)
    shape = (len(rollouts), max(ends))
    batch = Batch(**{name: torch.zeros(shape) for name in _TENSORS})
    batch.ids = torch.full(shape, tokenizer.pad_token_id or 0)
    batch.attention_mask = torch.zeros(shape, dtype=torch.long)
    batch.groups = torch.tensor([[numbers[r.problem.id]] for r in rollouts])
    for row, r in enumerate(rollouts):
        prompt = prompts[r.problem.id]
        ids, start = r.ids, len(prompt)
        if padded_length and ids[-1] in (tokenizer.eos_token_id, *r.style.stop_token_ids):
            ids = ids[:-1]
        end = start + len(ids)
        stop = start + padded_length if padded_length else end
        batch.ids[row, :end] = torch.tensor([*prompt, *ids])
        batch.attention_mask[row, :stop] = 1
        batch.completion_mask[row, start:end] = 1
        batch.return_mask[row, start:stop] = 1
        for position, reward in token_rewards(r, tokenizer):
            # In an empty completion the released code pays at the last position.
            place = start + min(position, len(ids) - 1) if ids else stop - 1
            batch.rewards[row, place] += reward
            batch.reward_mask[row, place] = 1
    return batch
