"""Log-probs, entropy and values of the tokens of a batch.

The first token has no context: its entries are 0.
"""

from __future__ import annotations

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
