"""The models of PPO and GRPO: policy, reference policy and value model."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.models.loading import device, load_generator, load_tokenizer
from e2h_cli.models.reward_formats import family_of
from e2h_cli.models.reward_model import load_reward_model, new_reward_model
from e2h_cli.settings.rl import OnPolicySettings, PPOSettings
from e2h_cli.training.trainer import freeze, with_lora

logger = logging.getLogger(__name__)


@dataclass
class PolicyModels:
    """Models and tokenizer of a training.

    ``value``: None for GRPO; ``reference``: the frozen initial policy, or None with LoRA, where
    the policy without its adapters is the reference; ``bf16``: whether passes compute in bf16.
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
        """The policy as a plain model, and its weights with LoRA adapters merged."""
        if self.reference is not None:
            return self.policy, dict(self.policy.state_dict())
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

    The value model starts from the reward model (paper p.7) if that was trained by e2h and has the
    policy's tokenizer, else from the generator with a new head of zeros.
    """
    torch.manual_seed(settings.seed)  # LoRA adapters start at random
    tokenizer = load_tokenizer(generator)
    precision = "bf16" if settings.lora_rank and settings.precision == "bf16" else "fp32"
    trained: dict[str, Any] = {"policy": load_generator(generator, precision)}
    if isinstance(settings, PPOSettings):
        value = _value_model(generator, reward_model, settings.family, tokenizer, precision)
        trained["value"] = value.to(device())
    reference = None
    if not settings.lora_rank:
        # Loaded in its precision: casting a model would also cast its rotary frequencies.
        reference = load_generator(generator, settings.precision).requires_grad_(False).eval()
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
        is_e2h = (family_of(reward_model) if family == "auto" else family) == "e2h"
        if is_e2h and load_tokenizer(reward_model).get_vocab() == tokenizer.get_vocab():
            return load_reward_model(reward_model, precision)
        reason = "has another tokenizer" if is_e2h else "was not trained by e2h"
        logger.info(f"the reward model {reason}: the value model starts from the generator")
    return new_reward_model(generator, "value", precision)
