"""The models of a run: the policy, what it started as, and the value model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.models.loading import device, load_config, load_generator, load_tokenizer
from e2h_cli.models.reward_formats import family_of
from e2h_cli.models.reward_model import load_reward_model, new_reward_model
from e2h_cli.settings.rl import RLSettings
from e2h_cli.training.trainer import freeze, with_lora

_GIB = 2**30


@dataclass
class Actors:
    """``value`` is None for algorithms without one; ``start`` is None where the policy itself
    knows what it started as, without its low-rank updates.
    """

    tokenizer: PreTrainedTokenizerFast
    policy: Any
    value: Any
    start: PreTrainedModel | None
    bf16: bool

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        found: torch.device = self.policy.device
        return found

    @contextlib.contextmanager
    def reference(self) -> Iterator[Any]:
        """The model that the policy started as."""
        if self.start is not None:
            yield self.start
            return
        with self.policy.disable_adapter():
            yield self.policy

    def precision(self) -> Any:
        """A context in which passes compute as the settings say."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def whole_policy(self) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
        """The policy as a plain model, and its weights with low-rank updates merged in."""
        if self.start is not None:
            return self.policy, dict(self.policy.state_dict())
        # Computed beside the weights: merging in place and taking back loses bits every time.
        base = self.policy.get_base_model()
        weights = {
            name.replace(".base_layer", ""): tensor
            for name, tensor in base.state_dict().items()
            if "lora_" not in name
        }
        for name, layer in base.named_modules():
            if hasattr(layer, "get_delta_weight"):
                change = layer.get_delta_weight("default").detach()
                held = layer.base_layer.weight.detach()
                weights[f"{name}.weight"] = (held + change).to(held.dtype)
        return base, weights


def load_actors(generator: str, reward: str | None, settings: RLSettings) -> Actors:
    """Load what the algorithm needs.

    The value model begins as the reward model (paper p.7), where that is one of ours and reads the
    policy's tokens; else as the generator with a head of zeros.
    """
    torch.manual_seed(settings.seed)  # adapters begin at random
    tokenizer = load_tokenizer(generator)
    precision = "bf16" if settings.lora_rank and settings.precision == "bf16" else "fp32"
    policy = load_generator(generator, precision)
    value = None
    if settings.algo == "ppo":
        value = _value_model(generator, reward, settings.family, tokenizer, precision)
        value = value.to(device()).eval()
    start = None
    if not settings.lora_rank:
        # Loaded in its precision: a model that is cast loses the precision of its positions.
        start = load_generator(generator, settings.precision).requires_grad_(False).eval()
    trained = [policy] if value is None else [policy, value]
    for model in trained:
        if settings.freeze:
            freeze(model)
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
    if settings.lora_rank:
        policy = _with_lora(policy, settings.lora_rank)
        value = None if value is None else _with_lora(value, settings.lora_rank).eval()
    return Actors(tokenizer, policy.eval(), value, start, settings.precision == "bf16")


def _with_lora(model: PreTrainedModel, rank: int) -> Any:
    adapted = with_lora(model, rank)
    for p in adapted.parameters():
        if p.requires_grad:
            # In bf16 the steps of an optimiser round to nothing.
            p.data = p.data.float()
    return adapted


def _value_model(
    generator: str,
    reward: str | None,
    family: str,
    tokenizer: PreTrainedTokenizerFast,
    precision: str,
) -> PreTrainedModel:
    if reward is not None:
        ours = (family_of(reward) if family == "auto" else family) == "e2h"
        if ours and load_tokenizer(reward).get_vocab() == tokenizer.get_vocab():
            return load_reward_model(reward, precision)
        reason = "has another tokenizer" if ours else "is none of e2h's"
        console.print(
            f"[dim]the reward model {reason}: the value model begins as the generator[/dim]"
        )
    return new_reward_model(generator, "value", precision)


def print_memory_plan(generator: str, reward: str | None, settings: RLSettings) -> None:
    """Say what will be held in memory, by the configurations alone, before anything is loaded."""
    size = _parameters(generator)
    trained = 0.01 * size if settings.lora_rank else size
    weight = 2 if settings.lora_rank and settings.precision == "bf16" else 4
    plan = {"policy": size * weight, "its gradients and Adam": trained * 12}
    if settings.algo == "ppo":
        plan |= {"value model": size * weight, "its gradients and Adam too": trained * 12}
    if settings.algo != "rest-em" and not settings.lora_rank:
        plan["reference"] = size * (2 if settings.precision == "bf16" else 4)
    if reward is not None:
        plan["reward model"] = _parameters(reward) * (2 if torch.cuda.is_available() else 4)
    total = sum(plan.values())
    there = _memory()
    parts = ", ".join(f"{name} {amount / _GIB:.2f}" for name, amount in plan.items())
    console.print(
        f"memory in GiB: {parts}; in all {total / _GIB:.2f} of {there / _GIB:.1f}, and what passes "
        "and the engine need"
    )
    if total > there:
        console.print(
            "[yellow]that does not fit; --lora-rank 16 --precision bf16 needs about a quarter[/yellow]"
        )


def _parameters(place: str) -> int:
    from transformers import AutoModel

    try:
        with torch.device("meta"):
            return int(AutoModel.from_config(load_config(place)).num_parameters())
    except (ValueError, RuntimeError) as error:
        raise InputError(f"cannot build this model: {error}", where=place) from error


def _memory() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    kib = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), 0)
    return kib * 1024
