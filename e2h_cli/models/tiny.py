"""A Llama of under a million parameters with a tokenizer of single characters."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from e2h_cli.data.template import ANSWER_HEADER, SEPARATOR

# Headers and the blank line are one token each: they carry no information, and a third of the
# characters of a short solution are theirs.
_WHOLE = ["# Question", "# Solution", ANSWER_HEADER, SEPARATOR]
_CHARACTERS = "0123456789abcdefghi+-*= "
_SPECIAL = ["<pad>", "<unk>", "</s>"]


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per character, header and blank line; what is not in the world is ``<unk>``."""
    tokens = [*_SPECIAL, *_WHOLE, *_CHARACTERS]
    core = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, unk_token="<unk>"))
    pattern = "|".join([*_WHOLE, r"[\s\S]"])
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
    tokens: PreTrainedTokenizerFast, *, hidden: int, layers: int, heads: int
) -> LlamaForCausalLM:
    """A randomly initialised Llama for a tokenizer; embeddings and LM head share their weights.

    Many small heads, a short rotary base and a wide initialisation let it learn to copy operands
    out of the question in some hundred steps; with Llama's usual values that takes thousands.
    """
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 200.0},
        initializer_range=0.05,
        tie_word_embeddings=True,
        pad_token_id=tokens.pad_token_id,
        eos_token_id=tokens.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)
