"""A KV cache that grows by blocks, so that most tokens are written in place."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

# Tokens per block.
_BLOCK = 32


def new_cache(model: PreTrainedModel) -> Cache:
    """An empty KV cache that grows by blocks, or that of transformers for sliding windows."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"} or getattr(config, "sliding_window", None):
        return DynamicCache(config=config)
    return Cache(layers=[_BlockLayer() for _ in range(config.num_hidden_layers)])


class _BlockLayer(DynamicLayer):
    """Keys and values of a layer; views of tensors whose length is a multiple of ``_BLOCK``."""

    keys: torch.Tensor
    values: torch.Tensor

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values, shape (batch, heads, tokens, size); return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._blocks: list[torch.Tensor] | None = None
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        pairs = ((self.keys, key_states), (self.values, value_states))
        if self._blocks is None or end > self._blocks[0].shape[-2]:
            # Room for one token or more, up to the next multiple of the block size.
            room = 1 + -(end + 1) % _BLOCK
            self._blocks = [
                torch.cat([old, new, new.new_empty(*new.shape[:2], room, new.shape[-1])], dim=-2)
                for old, new in pairs
            ]
        else:
            for block, (_, new) in zip(self._blocks, pairs, strict=True):
                block[:, :, start:end] = new
        self.keys, self.values = (block[:, :, :end] for block in self._blocks)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows, repeated or in another order."""
        super().batch_select_indices(indices)
        self._blocks = None
