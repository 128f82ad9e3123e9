"""Prompts that are computed once for all their completions.

The completions of a question are rows of their own, which attend to the keys and values of its
prompt. Training computes these once as well: the gradients of all micro-batches with respect to
keys and values are summed, and go back through the prompt once.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from e2h_cli.inference.batching import batches
from e2h_cli.rl.value_head import ValueHead, outputs

# Least share of all tokens that must be saved.
_SAVING = 0.1
# A pass costs a small model as much as this share of the tokens of a full one.
PASS_COST = 1 / 32
_ATTENTION = {"sdpa", "eager", "e2h_single_token"}


class SharedPrompts:
    """Keys and values of the prompts of some rows, by each model that is asked.

    The last token of a prompt is read with the completion, whose first token it predicts.

    Args:
        ids: (rows, tokens), prompt and completion.
        lengths: (rows,) tokens of the prompts.
        groups: (rows,) number of the question.
    """

    def __init__(self, ids: torch.Tensor, lengths: torch.Tensor, groups: torch.Tensor) -> None:
        self._groups, owners = groups.unique(return_inverse=True)
        # Any row of the question.
        row = torch.empty_like(self._groups).scatter_(
            0, owners, torch.arange(len(owners)).to(groups)
        )
        self._lengths = lengths[row] - 1
        width = int(self._lengths.max())
        self._ids = ids[row, :width]
        self._mask = torch.arange(width, device=ids.device) < self._lengths[:, None]
        # By model: keys and values of all layers, and copies that collect gradients.
        self._computed: dict[int, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}

    def outputs(
        self,
        model: Any,
        head: ValueHead | None,
        groups: torch.Tensor,
        ids: torch.Tensor,
        mask: torch.Tensor,
    ) -> list[torch.Tensor]:
        """(positions, vocabulary) output before each position of the mask, row by row.

        With a value head also (positions, 1) its values there.

        ``groups``: (rows,); ``ids`` and ``mask``: (rows, tokens), 1 at completion tokens.
        """
        if id(model) not in self._computed:
            self._computed[id(model)] = self._keys_and_values(model)
        _, copies = self._computed[id(model)]
        owner = torch.searchsorted(self._groups, groups)
        counts, start = mask.sum(1), self._lengths[owner]
        place = torch.arange(int(counts.max()), device=ids.device)
        inside = place < counts[:, None]
        positions = (start[:, None] + place).clamp(max=ids.shape[1] - 1)
        chosen = [tensor.index_select(0, owner) for tensor in copies]
        found = outputs(
            model,
            head,
            input_ids=ids.gather(1, positions),
            attention_mask=torch.cat([self._mask[owner], inside], 1).long(),
            position_ids=positions,
            past_key_values=DynamicCache(list(zip(chosen[::2], chosen[1::2], strict=True))),
            use_cache=True,
        )
        return [tensor[inside] for tensor in found]

    def backward(self) -> None:
        """Add the gradients of the prompts, after those of all their completions."""
        for tensors, copies in self._computed.values():
            used = [(t, c.grad) for t, c in zip(tensors, copies, strict=True) if c.grad is not None]
            if used:
                torch.autograd.backward([t for t, _ in used], [gradient for _, gradient in used])

    def _keys_and_values(self, model: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        cache = DynamicCache()
        # No mask: padding is on the right, where no token of a prompt attends to it.
        model(
            input_ids=self._ids, past_key_values=cache, use_cache=True, **logits_to_keep(model, 1)
        )
        tensors = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
        return tensors, [t.detach().requires_grad_(t.requires_grad) for t in tensors]


def logits_to_keep(model: Any, count: int) -> dict[str, int]:
    """The option of a model for logits at the last ``count`` positions only, if it has one."""
    return {"logits_to_keep": count} if "logits_to_keep" in _parameters(model) else {}


def can_share(model: Any) -> bool:
    """Whether completions of a model can follow keys and values of padded prompts.

    They cannot where distance is counted in the cache, as by sliding windows; where activations
    are computed again in the backward pass, which would append to the cache; where FSDP gathers
    weights for the gradient of a layer's output, which keys and values are not; or in attention
    kernels that were not tested with such masks.
    """
    from torch.distributed.fsdp import FSDPModule

    base = _base(model)
    config = base.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        {"past_key_values", "position_ids"} <= _parameters(model)
        and kinds == {"full_attention"}
        and not getattr(config, "sliding_window", None)
        and config._attn_implementation in _ATTENTION
        and not base.is_gradient_checkpointing
        and not isinstance(model, FSDPModule)
    )


def rows_by_prompt(
    rows: Sequence[int],
    starts: Sequence[int],
    lengths: Sequence[int],
    groups: Sequence[int],
    max_tokens: int,
) -> list[list[int]]:
    """Rows in parts whose prompts have at most ``max_tokens`` tokens; [] if sharing saves little.

    ``starts``, ``lengths``, ``groups``: of all rows, the tokens of the prompt, those of the row,
    and its question.
    """
    members: dict[int, list[int]] = {}
    for row in rows:
        members.setdefault(groups[row], []).append(row)
    questions = list(members.values())
    prompts = [starts[question[0]] for question in questions]
    saved = sum(starts[row] for row in rows) - sum(prompts)
    if saved < _SAVING * sum(lengths[row] for row in rows) or min(prompts) < 2:
        return []
    parts = batches(prompts, max_tokens, max_padding=0.5, pass_cost=PASS_COST)
    return [[row for i in part for row in questions[i]] for part in parts]


def _base(model: Any) -> PreTrainedModel:
    """The model without PEFT's wrapper, whose ``forward`` names no parameters."""
    base: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base


def _parameters(model: Any) -> set[str]:
    return set(inspect.signature(_base(model).forward).parameters)
