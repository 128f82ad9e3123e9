"""Values that are read from the policy: one linear layer instead of a value model of its own."""

from __future__ import annotations

from typing import Any

import torch


class ValueHead(torch.nn.Linear):
    """A linear layer on the features that the policy's LM head reads; at first every value is 0.

    Policy and values are computed in one pass, and both losses train the policy's layers. The head
    is trained by an optimizer of its own, as a value model would be.
    """

    def __init__(self, policy: Any) -> None:
        weight = policy.get_output_embeddings().weight
        super().__init__(weight.shape[1], 1, bias=False, device=weight.device)
        torch.nn.init.zeros_(self.weight)


def outputs(policy: Any, head: ValueHead | None, **inputs: Any) -> list[torch.Tensor]:
    """(rows, tokens, vocabulary) logits of one pass of a policy, and with a head (rows, tokens, 1).

    Both are at the positions for which the policy computes logits.
    """
    if head is None:
        return [policy(**inputs).logits]
    features: list[torch.Tensor] = []
    reading = policy.get_output_embeddings().register_forward_pre_hook(
        lambda _, arguments: features.append(arguments[0])
    )
    try:
        logits = policy(**inputs).logits
    finally:
        reading.remove()
    return [logits, head(features[-1].float())]
