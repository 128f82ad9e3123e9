"""The models of PPO and GRPO: policy, reference, value model, and the engine that samples."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.common import distributed
from e2h_cli.common.errors import InputError
from e2h_cli.inference.engines.base import Engine
from e2h_cli.inference.engines.select import longest_sequence, select_engine
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.inference.engines.vllm_engine import VLLMEngine
from e2h_cli.models.loading import device, free_memory, load_generator, load_tokenizer
from e2h_cli.models.reward_formats import family_of
from e2h_cli.models.reward_formats.llemma import llemma_classifier
from e2h_cli.models.reward_model import load_reward_model, new_reward_model
from e2h_cli.rl import sharding
from e2h_cli.rl.value_head import ValueHead
from e2h_cli.settings.rl import OnPolicySettings, PPOSettings
from e2h_cli.training.trainer import freeze, with_lora

logger = logging.getLogger(__name__)

# Share of the GPU for vLLM; the rest is for training. --engine-arg overrides it.
_GPU_MEMORY_UTILIZATION = 0.4

# Families of reward models that a value model can start from.
_CLASSIFIERS = {"e2h": load_reward_model, "llemma": llemma_classifier}


@dataclass
class PolicyModels:
    """Models and tokenizer of a training.

    ``value``: a value model, a value head of the policy, or None for GRPO; ``reference``: the
    frozen initial policy, or None with LoRA, where the policy without its adapters is the
    reference; ``bf16``: whether passes compute in bf16.
    """

    tokenizer: PreTrainedTokenizerFast
    policy: Any
    value: Any
    reference: PreTrainedModel | None
    bf16: bool

    @property
    def device(self) -> torch.device:
        """Device of all models."""
        return self.policy.device

    @property
    def trained(self) -> dict[str, Any]:
        """The models that are trained, by name."""
        models = {"policy": self.policy, "value": self.value}
        return {name: model for name, model in models.items() if model is not None}

    @property
    def value_head(self) -> ValueHead | None:
        """What reads the values from the policy, if there is no value model."""
        return self.value if isinstance(self.value, ValueHead) else None

    @contextlib.contextmanager
    def reference_policy(self) -> Iterator[Any]:
        """The initial policy, for forward passes inside the context."""
        if self.reference is not None:
            yield self.reference
        else:
            with self.policy.disable_adapter():
                yield self.policy

    def autocast(self) -> Any:
        """A context for forward passes in the precision of the settings."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def merged_policy(self) -> tuple[PreTrainedModel, dict[str, torch.Tensor]]:
        """The policy, and its weights with LoRA adapters merged; under FSDP rank 0 has them."""
        if self.reference is not None:
            main = distributed.is_main_process()
            return self.policy, sharding.whole(dict(self.policy.state_dict()), keep=main)
        # A copy: merging in place and unmerging again would lose bits every time.
        base = self.policy.get_base_model()
        weights = {
            name.replace(".base_layer", ""): tensor
            for name, tensor in base.state_dict().items()
            if "lora_" not in name
        }
        for name, layer in base.named_modules():
            if hasattr(layer, "get_delta_weight"):
                delta = layer.get_delta_weight("default").detach()
                weight = layer.base_layer.weight.detach()
                weights[f"{name}.weight"] = (weight + delta).to(weight.dtype)
        return base, weights


def load_policy_models(
    generator: str, reward_model: str | None, settings: OnPolicySettings
) -> PolicyModels:
    """Load the models that the algorithm of the settings needs.

    Under FSDP every process holds a part of each.

    The value model starts from the reward model (paper p.7) if that was trained by e2h or released
    with the paper and has the policy's tokenizer, else from the generator with a new head of zeros.
    """
    torch.manual_seed(settings.seed)  # LoRA adapters start at random
    tokenizer = load_tokenizer(generator)
    precision = "bf16" if settings.lora_rank and settings.precision == "bf16" else "fp32"
    sharded = distributed.shards_models()
    trained: dict[str, Any] = {"policy": load_generator(generator, precision, to_device=False)}
    shared_head = isinstance(settings, PPOSettings) and settings.shared_value_head
    if shared_head and sharded:
        raise InputError(
            "--shared-value-head needs the whole policy in every process, and FSDP spreads it",
            hint="train without one of them",
        )
    if isinstance(settings, PPOSettings) and not shared_head:
        value = _value_model(generator, reward_model, settings.family, tokenizer, precision)
        trained["value"] = value
    reference = None
    if not settings.lora_rank:
        # Loaded in its precision: casting a model would also cast its rotary frequencies.
        reference = load_generator(generator, settings.precision, to_device=False)
        reference.requires_grad_(False).eval()
    for name, model in trained.items():
        if settings.freeze:
            freeze(model)
        if settings.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        if settings.lora_rank:
            trained[name] = with_lora(model, settings.lora_rank)
            for p in trained[name].parameters():
                if p.requires_grad:
                    # In bf16 small optimizer steps would round to nothing.
                    p.data = p.data.float()
        trained[name].eval()
    models = [*trained.values(), *([reference] if reference is not None else [])]
    if sharded:
        sharding.shard(models)
    else:
        for model in models:
            model.to(device())
    if shared_head:
        trained["value"] = ValueHead(trained["policy"])
    bf16 = settings.precision == "bf16"
    return PolicyModels(tokenizer, trained["policy"], trained.get("value"), reference, bf16)


def _value_model(
    generator: str,
    reward_model: str | None,
    family: str,
    tokenizer: PreTrainedTokenizerFast,
    precision: str,
) -> PreTrainedModel:
    if reward_model is not None:
        name = family_of(reward_model) if family == "auto" else family
        load = _CLASSIFIERS.get(name)
        if load and load_tokenizer(reward_model).get_vocab() == tokenizer.get_vocab():
            return load(reward_model, precision)
        reason = "has another tokenizer" if load else f"is of the family {name}"
        logger.info(f"the reward model {reason}: the value model starts from the generator")
    return new_reward_model(generator, "value", precision)


def open_policy_engine(
    models: PolicyModels,
    generator: str,
    settings: OnPolicySettings,
    prompts: Sequence[str],
    scratch_dir: Path,
) -> Engine:
    """An engine that samples from the policy, which was loaded from ``generator``.

    The transformers engine runs the trained model itself; several processes each have their own.
    Under FSDP each has a whole copy, in the precision of the settings: a pass through the parts
    would gather all weights for every token.
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
        sampled = models.policy
        if distributed.shards_models():
            sampled = load_generator(generator, settings.precision).requires_grad_(False)
        return TransformersEngine(
            sampled, models.tokenizer, batch_size=settings.generation_batch_size
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
    """Load the current policy weights into vLLM, or into the copy that samples under FSDP.

    Without FSDP the transformers engine shares them.
    """
    if isinstance(engine, TransformersEngine) and engine.model is not models.policy:
        with torch.no_grad():
            for name, tensor in sharding.whole_weights(models.policy):
                engine.model.get_parameter(name).copy_(tensor)
    if isinstance(engine, VLLMEngine):
        model, weights = models.merged_policy()
        free_memory()
        engine.load_weights(model, weights)


def sleep(engine: Engine) -> None:
    """Free vLLM's GPU memory until ``sync_weights``."""
    if isinstance(engine, VLLMEngine):
        engine.sleep()
