"""Advantages and divergences: pure functions on tensors, padding masked out everywhere.

Shapes are (rows, tokens), one row per solution, padded on the right; ``mask`` is 1 at the tokens
of the solution and 0 at padding.
"""

from __future__ import annotations

import torch

from e2h_cli.settings.rl import KLEstimator


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016; paper p.20 with gamma = lambda = 1).

    delta_t = r_t + gamma V_{t+1} - V_t and A_t = delta_t + gamma lambda A_{t+1}, with nothing after
    the last token of a row.

    Args:
        rewards: earned by the token at t.
        values: what was expected before the token at t was written.
        mask: 1 at tokens.
        gamma, lam: discount, and how far advantages look ahead.

    Returns:
        Advantages, and returns = advantages + values; 0 at padding.
    """
    advantages = torch.zeros_like(rewards)
    ahead = next_value = torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        here = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        ahead = here * (delta + gamma * lam * ahead)
        next_value = here * values[:, t]
        advantages[:, t] = ahead
    return advantages, (advantages + values) * mask


def whiten(x: torch.Tensor, mask: torch.Tensor, *, shift_mean: bool = True) -> torch.Tensor:
    """Scale the tokens of a whole batch to variance 1, and to mean 0 unless told not to; padding is
    no part of the statistics and stays 0.
    """
    count = mask.sum().clamp(min=1)
    mean = (x * mask).sum() / count
    variance = (((x - mean) ** 2) * mask).sum() / count
    scaled = (x - mean) * torch.rsqrt(variance + 1e-8)
    return (scaled if shift_mean else scaled + mean * torch.rsqrt(variance + 1e-8)) * mask


def kl_of_tokens(
    logprobs: torch.Tensor, reference: torch.Tensor, estimator: KLEstimator
) -> torch.Tensor:
    """An estimate of KL(policy, reference) from each drawn token (Schulman: Approximating KL).

    With d = log p - log p_ref: k1 = d, k2 = d^2 / 2, k3 = exp(-d) - 1 + d; k1-clamped = max(0, d),
    which is what the official code calls k1.
    """
    d = logprobs - reference
    if estimator == "k1":
        return d
    if estimator == "k2":
        return d**2 / 2
    if estimator == "k3":
        return torch.expm1(-d) + d
    return d.clamp(min=0)


def group_advantages(totals: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """GRPO (Shao et al. 2024, outcome supervision): (rows,) rewards less the mean of their group,
    by its standard deviation; 0 where all of a group are equal.

    Args:
        totals: (rows,) what each solution earned.
        groups: (rows,) equal numbers for solutions of one question.
    """
    mean, deviation = _moments(totals, torch.ones_like(totals), groups)
    return (totals - mean) / (deviation + 1e-4)


def group_step_advantages(
    rewards: torch.Tensor, earned: torch.Tensor, groups: torch.Tensor
) -> torch.Tensor:
    """GRPO with process supervision (Shao et al. 2024, section 4.1.3).

    Every reward is normalised by the mean and standard deviation of all rewards of its group; a
    token's advantage is the sum of the normalised rewards at it and after it.

    Args:
        rewards: (rows, tokens).
        earned: (rows, tokens), 1 where a step or a solution ends, so that a reward stands there,
            though it be 0.
        groups: (rows,) equal numbers for solutions of one question.
    """
    per_row = earned.sum(1)
    mean, deviation = _moments((rewards * earned).sum(1) / per_row.clamp(min=1), per_row, groups)
    sums = torch.zeros(int(groups.max()) + 1, dtype=rewards.dtype).to(rewards)
    squares = (((rewards - mean[:, None]) ** 2) * earned).sum(1)
    totals = sums.index_add(0, groups, squares)
    counts = sums.index_add(0, groups, per_row)
    deviation = (totals / counts.clamp(min=1)).sqrt()[groups]
    scaled = (rewards - mean[:, None]) / (deviation[:, None] + 1e-4) * earned
    return scaled.flip(1).cumsum(1).flip(1)


def _moments(
    values: torch.Tensor, weights: torch.Tensor, groups: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows,) weighted mean and standard deviation of each row's group."""
    sums = torch.zeros(int(groups.max()) + 1, dtype=values.dtype).to(values)
    counts = sums.index_add(0, groups, weights).clamp(min=1e-12)
    mean = (sums.index_add(0, groups, values * weights) / counts)[groups]
    squares = sums.index_add(0, groups, weights * (values - mean) ** 2) / counts
    return mean, squares.sqrt()[groups]


def linear_fit(
    values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, *, through_zero: bool = False
) -> tuple[float, float]:
    """(a, b) for which a V + b is nearest to the returns (least squares over tokens).

    a is never negative, and 0 where all values are equal; ``through_zero``: b is 0.
    """
    v, r = values[mask.bool()].double(), returns[mask.bool()].double()
    if through_zero:
        return max(float((v * r).sum() / (v * v).sum().clamp(min=1e-12)), 0.0), 0.0
    spread = float(((v - v.mean()) ** 2).mean())
    shared = float(((v - v.mean()) * (r - r.mean())).mean())
    slope = max(shared / spread, 0.0) if spread > 1e-12 else 0.0
    return slope, float(r.mean()) - slope * float(v.mean())


def explained_variance(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over tokens: 1 is a perfect value model."""
    kept = mask.bool()
    variance = returns[kept].var(unbiased=False)
    return float(1 - (returns - values)[kept].var(unbiased=False) / variance.clamp(min=1e-12))
