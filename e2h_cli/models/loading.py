"""Loading models and tokenizers by folder or Hub name."""

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

# The progress bars and load reports of transformers would break into those of e2h. Errors are
# raised all the same.
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
    """Release the GPU memory of models that are no longer referenced."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load_tokenizer(name_or_path: str) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a model; its padding token is end-of-text if it has none.

    Raises InputError if there is none, or one without character offsets or end-of-text token.
    """
    tokenizer = load_pretrained(AutoTokenizer, name_or_path, "tokenizer", use_fast=True)
    if not tokenizer.is_fast:
        raise InputError(
            "this tokenizer gives no character offsets",
            where=name_or_path,
            hint="e2h needs a fast tokenizer",
        )
    if tokenizer.eos_token_id is None:
        raise InputError("this tokenizer has no end-of-text token", where=name_or_path)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_generator(
    name_or_path: str, precision: str = "auto", *, to_device: bool = True
) -> PreTrainedModel:
    """A causal language model by folder or Hub name, on the GPU if there is one.

    ``precision`` is "auto", "fp32" or "bf16"; trainers take the model from the CPU (``to_device``).
    Raises InputError as ``load_complete``.
    """
    model = load_complete(AutoModelForCausalLM, "causal language model", name_or_path, precision)
    return model.to(device()) if to_device else model


def load_complete(
    auto_class: Any,
    what: str,
    name_or_path: str,
    precision: str,
    *,
    no_others: bool = False,
    **options: Any,
) -> PreTrainedModel:
    """A model of ``auto_class`` with all its weights, on the CPU; ``what`` is for messages.

    ``no_others``: refuse weights that the model has no place for, but those of an LM head;
    ``options``: of ``from_pretrained``.

    Raises InputError if there is no such model, or if weights are missing (transformers would
    initialise them at random), refused or not finite.
    """
    model, info = load_pretrained(
        auto_class, name_or_path, what, dtype=dtype(precision), output_loading_info=True, **options
    )
    missing = sorted(info["missing_keys"])
    others = [name for name in sorted(info["unexpected_keys"]) if not name.startswith("lm_head.")]
    if missing or (no_others and others):
        no_place = f"no place for the weights {', '.join(others[:3])}"
        raise InputError(
            f"no weights for {', '.join(missing[:3])}" if missing else no_place,
            where=name_or_path,
            hint=f"give a {what}; this may be another kind of model, or a part of one",
        )
    for name, weights in model.named_parameters():
        if not weights.isfinite().all():
            raise InputError(f"{name} has values that are not finite", where=name_or_path)
    loaded: PreTrainedModel = model
    return loaded


def load_config(name_or_path: str) -> Any:
    """The configuration of a model. Raises InputError if there is none."""
    return load_pretrained(AutoConfig, name_or_path, "model configuration")


def load_pretrained(auto_class: Any, name_or_path: str, what: str, **options: Any) -> Any:
    """``auto_class.from_pretrained``. Raises InputError with one line that says ``what``."""
    path = Path(name_or_path)
    if path.exists() and not (path / "config.json").is_file():
        raise InputError(
            "no model here: no config.json",
            where=name_or_path,
            hint="give a Hugging Face model folder",
        )
    try:
        return auto_class.from_pretrained(name_or_path, trust_remote_code=False, **options)
    except Exception as error:  # of many libraries, by what is broken in the folder
        lines = list(filter(str.strip, str(error).splitlines())) or [type(error).__name__]
        reason = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
        raise InputError(f"cannot load the {what}: {reason}", where=name_or_path) from error


def is_causal(model: Any) -> bool:
    """Whether every attention layer of a model looks back only, as far as its layers say.

    Such a model needs no attention mask for padding on the right: no token before it attends to it.
    Without a mask flash attention is possible on a GPU; on a CPU a step takes some percent less.
    False for a model whose layers say nothing.
    """
    modules = model.modules() if isinstance(model, torch.nn.Module) else ()
    return {getattr(module, "is_causal", None) for module in modules} - {None} == {True}
