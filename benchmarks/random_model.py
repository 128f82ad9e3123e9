"""Llamas with random weights, from tiny to 7b."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from e2h_cli.models import tiny

# hidden_size, layers, heads, intermediate_size
SIZES = {
    "tiny": (96, 4, 6, 288),
    "5m": (256, 6, 8, 688),
    "20m": (512, 6, 8, 1376),
    "1b": (2048, 20, 16, 5632),
    "7b": (4096, 32, 32, 11008),
}


def save_random_model(
    folder: Path, size: str, dtype: torch.dtype, vocab_size: int | None = None
) -> PreTrainedTokenizerFast:
    """Save a model with the tokenizer of the tiny model; ``vocab_size``: of a larger LM head."""
    tokenizer = tiny.tokenizer()
    hidden, layers, heads, intermediate = SIZES[size]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocab_size or len(tokenizer),
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer
