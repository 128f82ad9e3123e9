"""How much memory the models of a training need, before anything is loaded."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from e2h_cli.common import distributed
from e2h_cli.common.errors import InputError
from e2h_cli.models.loading import load_config
from e2h_cli.settings.rl import OnPolicySettings, PPOSettings, RestEMSettings, RLSettings

logger = logging.getLogger(__name__)
_GIB = 2**30


def log_memory_plan(generator: str, reward_model: str | None, settings: RLSettings) -> None:
    """Log the memory of each model in a process; warn where it exceeds the device's.

    It follows from the config alone. FSDP divides what is trained, and the reference.
    """
    parameters = _parameter_count(generator)
    bf16 = settings.precision == "bf16"
    weights, gradients = settings.training_bytes(parameters)
    plan = {"policy": weights, "its gradients and Adam": gradients}
    if isinstance(settings, PPOSettings) and not settings.shared_value_head:
        plan |= {"value model": weights, "its gradients and Adam too": gradients}
    if not isinstance(settings, RestEMSettings) and not settings.lora_rank:
        plan["reference"] = parameters * (2 if bf16 else 4)
    if distributed.shards_models():
        processes = distributed.world_size()
        plan = {name: size / processes for name, size in plan.items()}
        if isinstance(settings, OnPolicySettings):
            plan["whole copy that samples"] = parameters * (2 if bf16 else 4)
    if reward_model is not None:
        size = 2 if torch.cuda.is_available() else 4
        plan["reward model"] = _parameter_count(reward_model) * size
    total, available = sum(plan.values()), _available_bytes()
    parts = ", ".join(f"{name} {size / _GIB:.2f}" for name, size in plan.items())
    logger.info(
        f"memory in GiB: {parts}; in all {total / _GIB:.2f} of {available / _GIB:.1f}, besides "
        "activations and the engine"
    )
    if total > available:
        logger.warning("that does not fit; --lora-rank 16 --precision bf16 needs about a quarter")


def _parameter_count(model_name_or_path: str) -> int:
    from transformers import AutoModel

    try:
        with torch.device("meta"):
            return int(AutoModel.from_config(load_config(model_name_or_path)).num_parameters())
    except (ValueError, RuntimeError) as error:
        raise InputError(f"cannot build this model: {error}", where=model_name_or_path) from error


def _available_bytes() -> int:
    """Memory of the GPU, or free memory of the machine."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    kib = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), 0)
    return kib * 1024
