"""Losses of PPO and GRPO, and the learning rate schedule: pure functions.

Tensors have the shape (batch, tokens). ``mask`` is 1 at completion tokens. ``token_count`` is the
number of completion tokens of the whole optimizer step, so that the losses of its micro-batches sum
to the mean over tokens, however the batch is split.
"""

from __future__ import annotations

import math

import torch


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
