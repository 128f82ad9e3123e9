"""Losses of reward models: pure functions on tensors."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from e2h_cli.training.trainer import NO_LOSS


def token_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Binary cross-entropy on every labelled token (paper p.6).

    Args:
        outputs: with ``logits`` of shape (rows, tokens, 1).
        labels: (rows, tokens), a probability of "correct" or ``NO_LOSS``.
        num_items_in_batch: labelled tokens of the whole optimiser step; if None, of the batch.

    Returns:
        The mean over labelled tokens, a scalar.
    """
    logits = outputs.logits[..., 0].float()
    trained = labels != NO_LOSS
    total = F.binary_cross_entropy_with_logits(
        logits[trained], labels[trained].to(logits.dtype), reduction="sum"
    )
    count = trained.sum() if num_items_in_batch is None else num_items_in_batch
    return total / torch.as_tensor(count, device=total.device).clamp(min=1)


def pair_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Bradley-Terry: -log sigmoid(reward of the chosen - reward of the rejected solution).

    (The official code has the difference the wrong way round and teaches the opposite.)

    Args:
        outputs: with ``logits`` of shape (2 * pairs, tokens, 1).
        labels: (2 * pairs, tokens): 1 at the last token of a chosen solution, 0 at that of the
            rejected one in the row after it, ``NO_LOSS`` elsewhere.
        num_items_in_batch: marked tokens of the whole optimiser step, two a pair.

    Returns:
        The mean over pairs, a scalar.
    """
    marked = labels != NO_LOSS
    rewards = outputs.logits[..., 0].float()[marked]
    chosen = labels[marked] > 0.5
    losses = -F.logsigmoid(rewards[chosen] - rewards[~chosen])
    count = 2 * len(losses) if num_items_in_batch is None else num_items_in_batch
    return 2 * losses.sum() / torch.as_tensor(count, device=losses.device).clamp(min=1)
