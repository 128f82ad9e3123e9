"""Advantages and KL estimates: pure functions on tensors.

Tensors have the shape (batch, tokens), one row per solution, padded on the right, unless an
argument says otherwise. ``mask`` is 1 at the positions that count.
"""

from __future__ import annotations

import torch

from e2h_cli.settings.rl import KLEstimator, WhitenRewards

_EPSILON = 1e-4  # of the standard deviation of a group, as in TRL


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, gae_lambda: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalized advantage estimation (Schulman et al. 2016; paper p.20 with gamma = lambda = 1).

    delta_t = r_t + gamma V_{t+1} - V_t and A_t = delta_t + gamma lambda A_{t+1}. Both are 0 after
    the last token. ``values``: expected return before the token at t is sampled.

    Returns:
        Advantages, and returns = advantages + values; 0 outside the mask.
    """
    advantages = torch.zeros_like(rewards)
    advantage = next_value = torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = mask[:, t] * (delta + gamma * gae_lambda * advantage)
        next_value = mask[:, t] * values[:, t]
        advantages[:, t] = advantage
    return advantages, (advantages + values) * mask


def whiten(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Shift and scale the tokens of a batch to mean 0 and variance 1.

    Tokens outside the mask do not count and become 0.
    """
    mean, variance = _mean_and_variance(x, mask)
    return (x - mean) * torch.rsqrt(variance + 1e-8) * mask


def whiten_rewards(x: torch.Tensor, mask: torch.Tensor, scheme: WhitenRewards) -> torch.Tensor:
    """Scale the rewards of a batch to variance 1, with the statistics of the mask.

    "scale": x / sd. "keep-mean": (x - mean) / sd + mean, as in the released code. The latter pays
    mean - mean / sd at tokens without a reward, so that returns depend on the length unless all
    completions are padded to the same.
    """
    if scheme == "none":
        return x
    mean, variance = _mean_and_variance(x, mask)
    deviation = variance.sqrt() + 1e-8
    return (x / deviation if scheme == "scale" else (x - mean) / deviation + mean) * mask


def _mean_and_variance(x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    count = mask.sum().clamp(min=1)
    mean = (x * mask).sum() / count
    return mean, (((x - mean) ** 2) * mask).sum() / count


def token_kl(
    logprobs: torch.Tensor, ref_logprobs: torch.Tensor, estimator: KLEstimator
) -> torch.Tensor:
    """Estimates of KL(policy, reference), one per sampled token (Schulman: Approximating KL).

    With d = log p - log p_ref: k1 = d, k2 = d^2 / 2, k3 = exp(-d) - 1 + d; k1-clamped = max(0, d),
    which the released code calls k1.
    """
    d = logprobs - ref_logprobs
    if estimator == "k1":
        return d
    if estimator == "k2":
        return d**2 / 2
    if estimator == "k3":
        return torch.expm1(-d) + d
    return d.clamp(min=0)


def group_advantages(rewards: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """GRPO with outcome rewards (Shao et al. 2024): (r - mean) / std of the group.

    ``rewards`` (batch,): total of each solution; ``groups`` (batch,): number of its question. The
    result (batch,) is 0 where all rewards of a group are equal.
    """
    mean, std = _group_mean_std(rewards, torch.ones_like(rewards), groups)
    return (rewards - mean) / (std + _EPSILON)


def group_step_advantages(
    rewards: torch.Tensor, reward_mask: torch.Tensor, groups: torch.Tensor
) -> torch.Tensor:
    """GRPO with process supervision (Shao et al. 2024, section 4.1.3).

    Every step reward is normalized by the mean and standard deviation of all step rewards of its
    group. The advantage of a token is the sum of the normalized rewards at this and later tokens.
    ``reward_mask``: 1 where a step or a solution ends, even if its reward is 0; ``groups``
    (batch,): number of the question.
    """
    counts = reward_mask.sum(1)
    solution_means = (rewards * reward_mask).sum(1) / counts.clamp(min=1)
    mean, _ = _group_mean_std(solution_means, counts, groups)
    squares = (((rewards - mean[:, None]) ** 2) * reward_mask).sum(1)
    group_counts = _group_sums(counts, groups).clamp(min=1)
    std = (_group_sums(squares, groups) / group_counts).sqrt()[groups]
    normalized = (rewards - mean[:, None]) / (std[:, None] + _EPSILON) * reward_mask
    return normalized.flip(1).cumsum(1).flip(1)


def _group_sums(values: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """(groups,) sum of the (batch,) values of each group."""
    zeros = torch.zeros(int(groups.max()) + 1, dtype=values.dtype, device=values.device)
    return zeros.index_add(0, groups, values)


def _group_mean_std(
    values: torch.Tensor, weights: torch.Tensor, groups: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(batch,) weighted mean and standard deviation of the group of each row."""
    counts = _group_sums(weights, groups).clamp(min=1e-12)
    mean = (_group_sums(values * weights, groups) / counts)[groups]
    variance = _group_sums(weights * (values - mean) ** 2, groups) / counts
    return mean, variance.sqrt()[groups]


def linear_fit(
    values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, *, through_zero: bool = False
) -> tuple[float, float]:
    """(a, b) that minimize the squared error of a * value + b against the returns over tokens.

    ``a`` is at least 0, and 0 where all values are equal. ``through_zero`` fixes b = 0.
    """
    v, r = values[mask.bool()].double(), returns[mask.bool()].double()
    if through_zero:
        return max(float((v * r).sum() / (v * v).sum().clamp(min=1e-12)), 0.0), 0.0
    variance = float(((v - v.mean()) ** 2).mean())
    covariance = float(((v - v.mean()) * (r - r.mean())).mean())
    slope = max(covariance / variance, 0.0) if variance > 1e-12 else 0.0
    return slope, float(r.mean()) - slope * float(v.mean())


def explained_variance(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over tokens; 1 for a perfect value model."""
    inside = mask.bool()
    variance = returns[inside].var(unbiased=False)
    return float(1 - (returns - values)[inside].var(unbiased=False) / variance.clamp(min=1e-12))
