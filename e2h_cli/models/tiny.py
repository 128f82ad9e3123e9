"""A Llama of at most two million parameters, with tokenizers for the tiny worlds."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from e2h_cli.data import tiny_programs
from e2h_cli.data.template import ANSWER_HEADER, SEPARATOR

# Headers and the blank line are one token each: they carry no information, and they are a third of
# the characters of a short solution.
_HEADERS = ["# Question", "# Solution", ANSWER_HEADER, SEPARATOR]
_CHARACTERS = "0123456789abcdefghi+-*= "
_SPECIAL = ["<pad>", "<unk>", "</s>"]


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per character, header and blank line of chain arithmetic; all else is ``<unk>``."""
    return _piece_tokenizer([*_HEADERS, *_CHARACTERS])


def program_tokenizer() -> PreTrainedTokenizerFast:
    """One token per piece, header and blank line of tiny programs; all else is ``<unk>``."""
    return _piece_tokenizer([*_HEADERS, *tiny_programs.pieces()])


def _piece_tokenizer(pieces: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that takes the longest piece that the rest of a text begins with."""
    tokens = [*_SPECIAL, *pieces]
    core = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    longest_first = sorted(pieces, key=len, reverse=True)
    pattern = "|".join([*map(re.escape, longest_first), r"[\s\S]"])
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )


def model(
    tokenizer: PreTrainedTokenizerFast,
    *,
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    positions: int = 512,
) -> LlamaForCausalLM:
    """A randomly initialised Llama for a tokenizer; embeddings and LM head share their weights.

    With many small heads, a small rotary base and a wide initialisation it learns to copy operands
    out of the question in some hundred steps. With Llama's usual values that takes thousands.
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        max_position_embeddings=positions,
        rope_parameters={"rope_type": "default", "rope_theta": 200.0},
        initializer_range=0.05,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)
