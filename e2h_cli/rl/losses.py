"""Log-probs and values of tokens, losses of PPO and GRPO, and the learning rate schedule.

Tensors have the shape (batch, tokens). ``mask`` is 1 at completion tokens. ``token_count`` is the
number of positions with a return of the whole optimizer step, so that the losses of its
micro-batches sum to the mean over them, however the batch is split. Log-probs, entropies and values
are 0 at positions without a return.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from e2h_cli.rl.rollout_batch import Batch
from e2h_cli.rl.shared_prompts import logits_to_keep
from e2h_cli.rl.value_head import ValueHead, outputs


def token_logprobs(model: Any, batch: Batch, temperature: float) -> torch.Tensor:
    """(batch, tokens) log-prob of each token given the tokens before it."""
    return _logprobs(_logits(model, batch), batch, temperature)


def policy_outputs(
    model: Any, head: ValueHead | None, batch: Batch, temperature: float
) -> list[torch.Tensor]:
    """``token_logprobs``; the entropy of each token's distribution in nats; values, with a head.

    All of one pass, (batch, tokens) each.
    """
    logits, *values = _outputs(model, head, batch)
    with torch.no_grad():
        log_probs = _scaled(logits, temperature).log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
    of_tokens = [_in_place(entropy, batch), *(_in_place(v[:, 0], batch) for v in values)]
    return [_logprobs(logits, batch, temperature), *of_tokens]


def token_values(model: Any, batch: Batch) -> torch.Tensor:
    """(batch, tokens) expected return before each token is sampled."""
    return _in_place(_logits(model, batch)[:, 0].float(), batch)


def _logits(model: Any, batch: Batch) -> torch.Tensor:
    return _outputs(model, None, batch)[0]


def _outputs(model: Any, head: ValueHead | None, batch: Batch) -> list[torch.Tensor]:
    """(positions, vocabulary) output before each position with a return, row by row.

    With a value head also (positions, 1) its values there.
    """
    mask = batch.return_mask.bool()
    if batch.prompts is not None:
        return batch.prompts.outputs(model, head, batch.groups[:, 0], batch.ids, mask)
    # What the prompts that all rows have would predict is not computed.
    first = max(int(mask.any(0).int().argmax()), 1)
    found = outputs(
        model,
        head,
        input_ids=batch.ids,
        attention_mask=batch.attention_mask,
        use_cache=False,
        **logits_to_keep(model, batch.ids.shape[1] - first + 1),
    )
    return [t[:, first - 1 - batch.ids.shape[1] : -1][mask[:, first:]] for t in found]


def _logprobs(logits: torch.Tensor, batch: Batch, temperature: float) -> torch.Tensor:
    tokens = batch.ids[batch.return_mask.bool()]
    losses = F.cross_entropy(_scaled(logits, temperature), tokens, reduction="none")
    return _in_place(-losses, batch)


def _scaled(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    return logits.float() if temperature == 1 else logits.float() / temperature


def _in_place(values: torch.Tensor, batch: Batch) -> torch.Tensor:
    """(batch, tokens): the values at the positions with a return, 0 elsewhere."""
    mask = batch.return_mask.bool()
    return values.new_zeros(mask.shape).masked_scatter(mask, values)


def policy_loss(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    clip_range: float,
    token_count: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clipped surrogate loss (Schulman et al. 2017): mean of max(-A r, -A clip(r, 1 - c, 1 + c)).

    r = exp(logprobs - old_logprobs), where ``old_logprobs`` are those of the policy that sampled.

    Returns:
        The loss, and the number of tokens whose ratio was clipped.
    """
    ratio = torch.exp((logprobs - old_logprobs) * mask)
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip_range, 1 + clip_range)
    clipped_tokens = ((clipped > unclipped) * mask).sum()
    return (torch.maximum(unclipped, clipped) * mask).sum() / token_count, clipped_tokens


def value_loss(
    values: torch.Tensor,
    old_values: torch.Tensor,
    returns: torch.Tensor,
    mask: torch.Tensor,
    clip_range: float,
    token_count: float,
) -> torch.Tensor:
    """Half the mean of max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2)."""
    clipped = torch.minimum(torch.maximum(values, old_values - clip_range), old_values + clip_range)
    largest = torch.maximum((values - returns) ** 2, (clipped - returns) ** 2)
    return 0.5 * (largest * mask).sum() / token_count


def kl_loss(
    logprobs: torch.Tensor, ref_logprobs: torch.Tensor, mask: torch.Tensor, token_count: float
) -> torch.Tensor:
    """Mean of exp(-d) - 1 + d with d = log p - log p_ref: the KL term of the GRPO loss."""
    d = (logprobs - ref_logprobs) * mask
    return ((torch.expm1(-d) + d) * mask).sum() / token_count


def lr_multiplier(step: int, total: int, warmup_ratio: float, min_lr_ratio: float) -> float:
    """Learning rate of an optimizer step, relative to the peak: linear warmup, then cosine decay.

    Not a schedule of transformers: these either begin the warmup at 0, so that the first of a few
    updates changes nothing, or end it one step later. ``step`` is from 0; ``total`` counts those of
    the whole training.
    """
    warmup = max(1, round(warmup_ratio * total)) if warmup_ratio else 0
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(1, total - warmup), 1.0)
    return min_lr_ratio + (1 - min_lr_ratio) * (1 + math.cos(math.pi * progress)) / 2
