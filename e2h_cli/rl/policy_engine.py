"""The engine that samples from a policy whose weights change at every step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from e2h_cli.common import distributed
from e2h_cli.common.errors import InputError
from e2h_cli.inference.engines.base import Engine
from e2h_cli.inference.engines.select import longest_sequence, select_engine
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.inference.engines.vllm_engine import VLLMEngine
from e2h_cli.models.loading import free_memory
from e2h_cli.rl.policy_models import PolicyModels
from e2h_cli.settings.rl import OnPolicySettings

# Share of the GPU for vLLM; the rest is for training. --engine-arg overrides it.
_GPU_MEMORY_UTILIZATION = 0.4


def open_policy_engine(
    models: PolicyModels,
    generator: str,
    settings: OnPolicySettings,
    prompts: Sequence[str],
    scratch_dir: Path,
) -> Engine:
    """An engine that samples from the policy, which was loaded from ``generator``.

    The transformers engine runs the trained model itself; several processes each have their own.
    vLLM has a copy of the weights, which ``sync_weights`` updates after every step.

    Raises:
        InputError: one of the prompts and its solution do not fit into the model, or vLLM with
            several processes.
    """
    longest = longest_sequence(generator, models.tokenizer, prompts, settings.max_tokens)
    several = distributed.world_size() > 1
    if several and settings.engine == "vllm":
        raise InputError(
            "--engine vllm: several processes would open it on the same GPU",
            hint="take --engine transformers, or one process",
        )
    if several or select_engine(settings.engine, settings.engine_arg) != "vllm":
        return TransformersEngine(
            models.policy, models.tokenizer, batch_size=settings.generation_batch_size
        )
    gpu = torch.cuda.is_available()
    defaults = {"enable_sleep_mode": True, "gpu_memory_utilization": _GPU_MEMORY_UTILIZATION}
    return VLLMEngine(
        generator,
        models.tokenizer,
        max_model_len=longest,
        precision="bf16" if gpu else "fp32",
        engine_args={**(defaults if gpu else {}), **settings.engine_arg},
        scratch_dir=scratch_dir,
    )


def sync_weights(engine: Engine, models: PolicyModels) -> None:
    """Load the current policy weights into vLLM; the transformers engine shares them."""
    if isinstance(engine, VLLMEngine):
        model, weights = models.merged_policy()
        free_memory()
        engine.load_weights(model, weights)


def sleep(engine: Engine) -> None:
    """Free vLLM's GPU memory until ``sync_weights``."""
    if isinstance(engine, VLLMEngine):
        engine.sleep()
