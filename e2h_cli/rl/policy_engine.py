"""The engine that writes for a policy which changes at every step."""

from __future__ import annotations

from pathlib import Path

import torch

from e2h_cli.common import distributed
from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.inference.engines.base import Engine
from e2h_cli.inference.engines.select import longest_sequence, select_engine
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.models.loading import free_memory
from e2h_cli.rl.policy_models import Actors
from e2h_cli.rl.prompts import Setup
from e2h_cli.settings.rl import RLSettings

# Of the GPU; the rest is for the models that learn. What --engine-arg says goes before.
_GPU_SHARE = 0.4


def open_engine(
    actors: Actors, generator: str, settings: RLSettings, setup: Setup, scratch: Path
) -> Engine:
    """An engine for the policy.

    transformers writes with the very model that learns. vLLM has a copy, which is given the new
    weights after every step and leaves the GPU while the others learn. Several processes write
    with transformers, each for itself.

    Raises:
        InputError: a question and its solution do not fit into the model.
    """
    asked = [*setup.problems, *setup.validation.problems]
    prompts = list({template.prompt(p.problem) for p in asked})
    longest = longest_sequence(generator, actors.tokenizer, prompts, settings.max_tokens)
    if distributed.world_size() > 1 and settings.engine == "vllm":
        raise InputError(
            "--engine vllm: several processes would open it on the same GPU",
            hint="take --engine transformers, or one process",
        )
    if (
        distributed.world_size() > 1
        or select_engine(settings.engine, settings.engine_arg) != "vllm"
    ):
        return TransformersEngine(
            actors.policy, actors.tokenizer, batch_size=settings.generation_batch_size
        )
    from e2h_cli.inference.engines.vllm_engine import VLLMEngine

    own = (
        {"enable_sleep_mode": True, "gpu_memory_utilization": _GPU_SHARE}
        if torch.cuda.is_available()
        else {}
    )
    return VLLMEngine(
        generator,
        actors.tokenizer,
        max_model_len=longest,
        precision="bf16" if torch.cuda.is_available() else "fp32",
        engine_args={**own, **settings.engine_arg},
        scratch_dir=scratch,
    )


def refresh(engine: Engine, actors: Actors) -> None:
    """Give the engine the policy's new weights."""
    if isinstance(engine, TransformersEngine):
        return
    model, weights = actors.whole_policy()
    free_memory()
    engine.load_weights(model, weights)  # type: ignore[attr-defined]


def rest(engine: Engine) -> None:
    """Nothing is to be written for a while: leave the GPU to the models that learn."""
    if not isinstance(engine, TransformersEngine):
        engine.sleep()  # type: ignore[attr-defined]
