"""Which engine, and how it is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.inference.engines.base import Decoding, Engine
from e2h_cli.models.loading import load_config, load_generator, load_tokenizer
from e2h_cli.settings.base import DecodingSettings, EngineName
from e2h_cli.settings.sample import SampleSettings


def chosen_engine(engine: EngineName, arguments: Mapping[str, Any]) -> str:
    """ "vllm" or "transformers"; auto is vLLM where it is installed and a GPU is there.

    Raises:
        InputError: vLLM is asked for and not installed, or its arguments are given to the other.
    """
    installed = find_spec("vllm") is not None
    if engine == "vllm" and not installed:
        raise InputError(
            "--engine vllm: vLLM is not installed",
            hint="install it with: pip install 'e2h[vllm]', or take --engine transformers",
        )
    if engine == "auto":
        name = "vllm" if installed and torch.cuda.is_available() else "transformers"
    else:
        name = engine
    if name != "vllm" and arguments:
        raise InputError("--engine-arg: only vLLM takes engine arguments", hint="add --engine vllm")
    return name


def decoding_of(settings: DecodingSettings) -> Decoding:
    """How tokens are chosen, as the settings say."""
    return Decoding(
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        min_p=settings.min_p,
        max_tokens=settings.max_tokens,
        stop=tuple(settings.stop),
    )


def open_engine(
    place: str, settings: SampleSettings, prompts: Sequence[str], scratch: Path
) -> Engine:
    """Load a generator into the engine of the settings.

    Args:
        place: model folder or Hub name.
        settings: engine, precision, token limit.
        prompts: all that will be asked, to see that they fit.
        scratch: where a copy of the model may go that the engine needs.

    Raises:
        InputError: no such model, or a prompt and its solution do not fit into it.
    """
    name = chosen_engine(settings.engine, settings.engine_arg)
    if name == "vllm":
        from e2h_cli.inference.engines.vllm_engine import VLLMEngine, check_arguments, widened

        check_arguments(settings.engine_arg)
    tokenizer = load_tokenizer(place)
    needed = longest_sequence(place, tokenizer, prompts, settings.max_tokens)
    if name == "vllm":
        precision = settings.precision
        if precision == "auto":
            precision = "bf16" if torch.cuda.is_available() else "fp32"
        return VLLMEngine(
            widened(place, scratch / "wide-heads"),
            tokenizer,
            longest=needed,
            precision=precision,
            arguments=settings.engine_arg,
        )
    from e2h_cli.inference.engines.transformers_engine import TransformersEngine

    return TransformersEngine(
        load_generator(place, settings.precision), tokenizer, rows=settings.generation_batch_size
    )


def longest_sequence(
    place: str, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], max_tokens: int
) -> int:
    """Tokens of the longest prompt and its solution together.

    Raises:
        InputError: they do not fit into the model's positions.
    """
    longest = max(len(ids) for ids in tokenizer(list(prompts), add_special_tokens=True).input_ids)
    limit = getattr(load_config(place), "max_position_embeddings", None)
    if limit is not None and longest + max_tokens > limit:
        raise InputError(
            f"a prompt of {longest} tokens and max_tokens {max_tokens} do not fit into "
            f"the model's {limit} positions",
            where=place,
            hint=f"lower --max-tokens to {limit - longest}"
            if limit > longest
            else "take fewer --shots, or another model",
        )
    return longest + max_tokens
