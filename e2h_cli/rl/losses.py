"""Log-probs and values of tokens, losses of PPO and GRPO, and the learning rate schedule.

Tensors have the shape (batch, tokens). ``mask`` is 1 at completion tokens. ``token_count`` is the
number of positions with a return of the whole optimizer step, so that the losses of its
micro-batches sum to the mean over them, however the batch is split. The first token of a row has no
context: its log-prob, entropy and value are 0.
"""

from __future__ import annotations

import math
from typing import Any

import torch


def token_logprobs(
    model: Any, ids: torch.Tensor, attention_mask: torch.Tensor, temperature: float
) -> torch.Tensor:
    """(batch, tokens) log-prob of each token given the tokens before it."""
    return _gather(_log_probs(model, ids, attention_mask, temperature), ids)


def logprobs_and_entropy(
    model: Any, ids: torch.Tensor, attention_mask: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """``token_logprobs``, and the entropy of the distribution of each token in nats."""
    log_probs = _log_probs(model, ids, attention_mask, temperature)
    return _gather(log_probs, ids), _shifted(-(log_probs.exp() * log_probs).sum(-1))


def token_values(model: Any, ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """(batch, tokens) expected return before each token is sampled."""
    output = model(input_ids=ids, attention_mask=attention_mask, use_cache=False)
    return _shifted(output.logits[:, :-1, 0].float())


def _log_probs(
    model: Any, ids: torch.Tensor, attention_mask: torch.Tensor, temperature: float
) -> torch.Tensor:
    """(batch, tokens - 1, vocabulary) log-probs of the next token."""
    output = model(input_ids=ids, attention_mask=attention_mask, use_cache=False)
    return (output.logits[:, :-1].float() / temperature).log_softmax(-1)


def _gather(log_probs: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    return _shifted(log_probs.gather(-1, ids[:, 1:, None]).squeeze(-1))


def _shifted(values: torch.Tensor) -> torch.Tensor:
    """Put a column of zeros for the first token in front."""
    return torch.cat([torch.zeros_like(values[:, :1]), values], 1)


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
