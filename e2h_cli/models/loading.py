"""Loading models and tokenizers, with one clear line where a folder holds none."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging

from e2h_cli.common.errors import InputError

# Its bars and load reports would tear ours apart; errors still come as exceptions.
logging.set_verbosity_error()
logging.disable_progress_bar()


def device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def dtype(precision: str) -> torch.dtype:
    """The tensor type of a ``precision`` setting; "auto" is bf16 on a GPU and fp32 elsewhere."""
    if precision == "auto":
        precision = "bf16" if torch.cuda.is_available() else "fp32"
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


def free_memory() -> None:
    """Give what models no longer need back to the GPU, for other processes and engines."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load_tokenizer(place: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a model folder or Hub name.

    Raises:
        InputError: there is none, or it cannot tell where its tokens stand in the text.
    """
    _check_place(place)
    tokenizer = _loaded(AutoTokenizer, place, "tokenizer", use_fast=True)
    if not tokenizer.is_fast:
        raise InputError(
            "this tokenizer gives no character offsets",
            where=place,
            hint="e2h needs a fast tokenizer",
        )
    if tokenizer.eos_token_id is None:
        raise InputError("this tokenizer has no end-of-text token", where=place)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_generator(
    place: str, precision: str = "auto", *, to_device: bool = True
) -> PreTrainedModel:
    """A causal language model, on the device unless a trainer will place it.

    Raises:
        InputError: there is none.
    """
    _check_place(place)
    model = _loaded(AutoModelForCausalLM, place, "causal language model", dtype=dtype(precision))
    return model.to(device()) if to_device else model


def load_config(place: str) -> Any:
    """The configuration of a model. Raises InputError where there is none."""
    _check_place(place)
    return _loaded(AutoConfig, place, "model configuration")


def _check_place(place: str) -> None:
    path = Path(place)
    if path.exists() and not (path / "config.json").is_file():
        raise InputError(
            "no model here: no config.json", where=place, hint="give a Hugging Face model folder"
        )


def _loaded(loader: Any, place: str, what: str, **options: Any) -> Any:
    try:
        return loader.from_pretrained(place, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = next(
            (line for line in str(error).splitlines() if line.strip()), type(error).__name__
        )
        raise InputError(f"cannot load the {what}: {reason}", where=place) from error
