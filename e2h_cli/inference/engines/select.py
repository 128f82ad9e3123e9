"""Select an engine and load a generator into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.inference.engines.base import Engine, SamplingParameters
from e2h_cli.models.loading import load_config, load_generator, load_tokenizer
from e2h_cli.settings.base import DecodingSettings, EngineName
from e2h_cli.settings.sample import SampleSettings


def select_engine(engine: EngineName, engine_args: Mapping[str, Any]) -> str:
    """ "vllm" or "transformers"; auto is vLLM if it is installed and there is a GPU.

    Raises:
        InputError: vLLM is not installed, or its arguments are given to transformers.
    """
    installed = find_spec("vllm") is not None
    if engine == "vllm" and not installed:
        raise InputError(
            "--engine vllm: vLLM is not installed",
            hint="install it with: pip install 'e2h[vllm]', or take --engine transformers",
        )
    if engine == "auto":
        engine = "vllm" if installed and torch.cuda.is_available() else "transformers"
    if engine != "vllm" and engine_args:
        raise InputError("--engine-arg: only vLLM takes engine arguments", hint="add --engine vllm")
    return engine


def sampling_parameters(settings: DecodingSettings) -> SamplingParameters:
    """The sampling parameters of a command's settings."""
    return SamplingParameters(
        temperature=settings.temperature,
        top_k=settings.top_k,
        top_p=settings.top_p,
        min_p=settings.min_p,
        max_tokens=settings.max_tokens,
        stop=tuple(settings.stop),
    )


def open_engine(
    model: str,
    settings: SampleSettings,
    prompts: Sequence[str],
    scratch_dir: Path,
    seed: int | None = None,
) -> Engine:
    """Load the generator ``model`` (folder or Hub name) into the engine that the settings select.

    ``prompts``: all of the run, to check that they fit into the model; ``scratch_dir``: for a
    converted copy of the model, if vLLM needs one; ``seed``: of vLLM's own noise, where samples
    have no seed of their own.

    Raises:
        InputError: there is no such model, or a prompt and its solution do not fit into it.
    """
    name = select_engine(settings.engine, settings.engine_arg)
    tokenizer = load_tokenizer(model)
    longest = longest_sequence(model, tokenizer, prompts, settings.max_tokens)
    if name == "vllm":
        from e2h_cli.inference.engines.vllm_engine import VLLMEngine

        return VLLMEngine(
            model,
            tokenizer,
            max_model_len=longest,
            precision=settings.precision,
            engine_args=settings.engine_arg,
            scratch_dir=scratch_dir,
            seed=seed,
        )
    from e2h_cli.inference.engines.transformers_engine import TransformersEngine

    generator = load_generator(model, settings.precision)
    return TransformersEngine(generator, tokenizer, batch_size=settings.generation_batch_size)


def longest_sequence(
    model: str, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], max_tokens: int
) -> int:
    """Length in tokens of the longest prompt and its solution together.

    Raises:
        InputError: they are longer than the model's ``max_position_embeddings``.
    """
    longest = max(len(ids) for ids in tokenizer(list(prompts)).input_ids)
    limit = getattr(load_config(model), "max_position_embeddings", None)
    if limit is not None and longest + max_tokens > limit:
        fits = f"lower --max-tokens to {limit - longest}"
        raise InputError(
            f"a prompt of {longest} tokens and max_tokens {max_tokens} do not fit into "
            f"the model's {limit} positions",
            where=model,
            hint=fits if limit > longest else "take fewer --shots, or another model",
        )
    return longest + max_tokens
