"""Small tokenizers and models that tests make on the spot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

_SPECIAL = ["<pad>", "<unk>", "</s>"]
_TEXT = [
    "# Question\n\nWhat is 1 + 2?\n\n# Solution\n\nWe add.\n\nSo 1 + 2 = 3.\n\n# Answer\n\n3",
    "Let $x$ be the price.\n\nThen $2x = \\frac{1}{2}.$\n\nThe answer is\n\n# Answer\n\n\\sqrt{2}",
]
CHAT = (
    "{% for m in messages %}<{{ m['role'] }}>\n{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)
KINDS = (
    "character",
    "byte-bpe",
    "metaspace",
    "metaspace-no-prefix",
    "blank-line-merges",
    "wordpiece",
)
ALL_KINDS = (*KINDS, "wordpiece-no-newlines")


def tokenizer(
    kind: str, texts: Sequence[str] = _TEXT, vocabulary: int = 400
) -> PreTrainedTokenizerFast:
    """A fast tokenizer of one of ``ALL_KINDS``, trained on a few texts."""
    if kind == "character":
        core = Tokenizer(models.BPE(unk_token="<unk>"))
        core.pre_tokenizer = pre_tokenizers.Split("", behavior="isolated")
        core.decoder = decoders.Fuse()
        trainer = trainers.BpeTrainer(
            special_tokens=_SPECIAL,
            vocab_size=len(_SPECIAL),
            initial_alphabet=sorted({*"".join(texts)}),
        )
    elif kind == "byte-bpe":
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            special_tokens=_SPECIAL,
            vocab_size=vocabulary,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
    elif kind == "blank-line-merges":
        # No pre-tokenizer: merges may cross words, so that ".\n\n" becomes one token.
        core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
        core.decoder = decoders.Fuse()
        texts = [*texts, *[".\n\n"] * 20]
        trainer = trainers.BpeTrainer(
            special_tokens=_SPECIAL,
            vocab_size=vocabulary,
            initial_alphabet=sorted({*"".join(texts)}),
        )
    elif kind.startswith("wordpiece"):
        # The first keeps newlines as tokens; the second drops all white space, as BERT does.
        core = Tokenizer(models.WordPiece(unk_token="<unk>"))
        core.pre_tokenizer = (
            pre_tokenizers.BertPreTokenizer()
            if kind.endswith("no-newlines")
            else pre_tokenizers.Split(Regex(r"\s|\w+|[^\w\s]"), "isolated")
        )
        core.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(
            special_tokens=_SPECIAL,
            vocab_size=vocabulary,
            initial_alphabet=sorted({*"".join(texts)}),
        )
    else:
        core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
        core.normalizer = normalizers.Sequence([])
        scheme = "always" if kind == "metaspace" else "never"
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
        core.decoder = decoders.Metaspace(prepend_scheme=scheme, split=False)
        trainer = trainers.BpeTrainer(
            special_tokens=_SPECIAL,
            vocab_size=vocabulary,
            initial_alphabet=sorted({*"".join(texts), "\u2581"}),
        )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )


def llama(folder: Path, tokens: PreTrainedTokenizerFast, *, hidden: int = 32) -> Path:
    """A randomly initialised Llama of two layers, saved with its tokenizer."""
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        pad_token_id=tokens.pad_token_id,
        eos_token_id=tokens.eos_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def chat_tokenizer(*, system: bool = True, think: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer of words and characters with a chat template.

    It puts <bos> in front of every text, as its template does, and a turn ends with <end>, which
    is not its end-of-text token.
    """
    words = ["<think>", "</think>", "a=1", "b=2", "\n\n", *(rf"\boxed{{{i}}}" for i in range(10))]
    vocabulary = ["<pad>", "<unk>", "</s>", "<bos>", "<end>", "<user>", "<assistant>", "<system>"]
    letters = sorted({*map(chr, range(32, 127)), "\n"})
    ids = {text: i for i, text in enumerate([*vocabulary, *words, *letters])}
    core = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    pattern = "|".join([*map(re.escape, words), r"[\s\S]"])
    core.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    core.decoder = decoders.Fuse()
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", ids["<bos>"])]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<unk>", eos_token="</s>",
        bos_token="<bos>", clean_up_tokenization_spaces=False,
        additional_special_tokens=vocabulary[4:],
    )  # fmt: skip
    refuse = "{{ raise_exception('no system role') }}"
    made.chat_template = (
        "{{ bos_token }}{% for m in messages %}"
        f"{{% if m['role'] == 'system' %}}{'<system>{{ m.content }}<end>' if system else refuse}"
        "{% else %}<{{ m['role'] }}>{{ m.content | trim }}<end>{% endif %}{% endfor %}"
        f"{{% if add_generation_prompt %}}<assistant>{'<think>' if think else ''}{{% endif %}}"
    )
    return made


def reward_tokenizer(kind: str = "character", *, chat: bool = False) -> PreTrainedTokenizerFast:
    """A tokenizer with the marks of all families of reward models, and a chat template if asked."""
    made = tokenizer(kind, [*_TEXT, "Step 1: ки +-", "<user>\n<assistant>\n"])
    made.chat_template = CHAT if chat else None
    return made


def reward_model(
    folder: Path, auto_class: type, tokens: PreTrainedTokenizerFast, **options: int
) -> str:
    """A small random model of a class, with heads that are not zero; returns its folder."""
    llama(folder / "base", tokens)
    torch.manual_seed(1)
    model = auto_class.from_pretrained(folder / "base", **options)
    for name, weight in model.named_parameters():
        if "score" in name or "lm_head" in name:
            torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder / "model")
    tokens.save_pretrained(folder / "model")
    return str(folder / "model")


@contextmanager
def gradients() -> Iterator[list[torch.Tensor]]:
    """The gradients with which optimizers step inside the context, each as one vector."""
    found: list[torch.Tensor] = []

    def keep(optimizer: torch.optim.Optimizer, *_: object) -> None:
        weights = [p for group in optimizer.param_groups for p in group["params"]]
        found.append(torch.cat([p.grad.flatten() for p in weights if p.grad is not None]))

    handle = register_optimizer_step_pre_hook(keep)
    try:
        yield found
    finally:
        handle.remove()
