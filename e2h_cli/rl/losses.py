"""PPO's losses: pure functions on tensors.

Shapes are (rows, tokens); ``mask`` is 1 at the tokens of solutions. ``count`` is the number of such
tokens in the whole optimiser step, so that the losses of its pieces add up to the mean over tokens,
however it is cut.
"""

from __future__ import annotations

import math

import torch


def policy_loss(
    logprobs: torch.Tensor,
    old: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    clip: float,
    count: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clipped surrogate (Schulman et al. 2017): mean of max(-A r, -A clip(r, 1 - c, 1 + c)).

    Args:
        logprobs: of the tokens under the policy that is trained.
        old: the same under the policy that wrote them.
        advantages: of the tokens.
        mask: 1 at tokens.
        clip: c.
        count: tokens in the optimiser step.

    Returns:
        The loss, and the number of tokens at which the clip held.
    """
    ratio = torch.exp((logprobs - old) * mask)
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    held = ((clipped > plain) * mask).sum()
    return (torch.maximum(plain, clipped) * mask).sum() / count, held


def value_loss(
    values: torch.Tensor,
    old: torch.Tensor,
    returns: torch.Tensor,
    mask: torch.Tensor,
    clip: float,
    count: float,
) -> torch.Tensor:
    """Half the mean of max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2)."""
    near = torch.minimum(torch.maximum(values, old - clip), old + clip)
    worst = torch.maximum((values - returns) ** 2, (near - returns) ** 2)
    return 0.5 * (worst * mask).sum() / count


def kl_loss(
    logprobs: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor, count: float
) -> torch.Tensor:
    """Mean of exp(-d) - 1 + d with d = log p - log p_ref, which GRPO adds to its loss."""
    d = (logprobs - reference) * mask
    return ((torch.expm1(-d) + d) * mask).sum() / count


def cosine_rate(update: int, updates: int, warmup: float, final: float) -> float:
    """Learning rate of an optimiser step as a share of the peak.

    It rises linearly over the first ``warmup`` share of all steps, then falls along a cosine to
    ``final``.
    """
    rising = max(1, round(warmup * updates)) if warmup else 0
    if update < rising:
        return (update + 1) / rising
    done = (update - rising) / max(1, updates - rising)
    return final + (1 - final) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
