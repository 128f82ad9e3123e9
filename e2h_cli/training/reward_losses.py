"""Losses of reward models: pure functions on tensors."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from e2h_cli.training.token_rows import NO_LOSS


def token_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Binary cross-entropy, the mean over labelled tokens (paper p.6).

    Args:
        outputs: with ``logits`` of shape (rows, tokens, 1).
        labels: (rows, tokens), P(correct) or ``NO_LOSS``.
        num_items_in_batch: labelled tokens of the whole optimizer step; if None, of the batch.
    """
    logits = outputs.logits[..., 0].float()
    labelled = labels != NO_LOSS
    total = F.binary_cross_entropy_with_logits(
        logits[labelled], labels[labelled].to(logits.dtype), reduction="sum"
    )
    count = labelled.sum() if num_items_in_batch is None else num_items_in_batch
    return total / torch.as_tensor(count, device=total.device).clamp(min=1)


def pair_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Bradley-Terry: mean of -log sigmoid(reward of the chosen - of the rejected solution).

    (The official code subtracts the other way round and so trains the opposite.)

    Args:
        outputs: with ``logits`` of shape (2 * pairs, tokens, 1).
        labels: (2 * pairs, tokens): 1 at the last token of a chosen solution, 0 at that of the
            rejected one in the row after it, ``NO_LOSS`` elsewhere.
        num_items_in_batch: labelled tokens of the whole optimizer step, two per pair.
    """
    labelled = labels != NO_LOSS
    rewards = outputs.logits[..., 0].float()[labelled]
    chosen = labels[labelled] > 0.5
    losses = -F.logsigmoid(rewards[chosen] - rewards[~chosen])
    count = 2 * len(losses) if num_items_in_batch is None else num_items_in_batch
    return 2 * losses.sum() / torch.as_tensor(count, device=losses.device).clamp(min=1)
