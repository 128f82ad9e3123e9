"""One update of the policy on the rollouts of a step: what PPO and GRPO share."""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch

from e2h_cli.common import distributed
from e2h_cli.common.errors import RunError
from e2h_cli.inference.batching import batches
from e2h_cli.rl.logprobs import logprobs_and_entropy, token_logprobs, token_values
from e2h_cli.rl.losses import lr_multiplier, policy_loss
from e2h_cli.rl.policy_models import PolicyModels
from e2h_cli.rl.rollout_batch import Batch, UpdateBatch
from e2h_cli.settings.rl import OnPolicySettings

_MAX_GRAD_NORM = 1.0  # paper p.20
_ADAM_EPSILON = 1e-5  # the released code's

S = TypeVar("S", bound=OnPolicySettings)


@dataclass
class OldOutputs:
    """Outputs of the models before the update, each (batch, tokens); 0 outside completions."""

    logprobs: torch.Tensor
    ref_logprobs: torch.Tensor
    values: torch.Tensor
    entropy: torch.Tensor


class PolicyUpdater(ABC, Generic[S]):
    """The optimizers, and an update of the trained models on a batch of rollouts.

    With several processes each computes the gradients of its share of the rows, and the gradients
    are summed: the result is that of one process, up to rounding. DistributedDataParallel does not
    fit: it averages gradients, and needs as many forward passes in every process, where here a
    process may have fewer micro-batches or none.
    """

    # Names of the numbers that ``_backward`` returns.
    losses: ClassVar[tuple[str, ...]]

    def __init__(self, models: PolicyModels, settings: S) -> None:
        self.models = models
        self.settings = settings
        self.optimizer_steps = 0
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.AdamW(
                [p for p in model.parameters() if p.requires_grad],
                betas=(0.9, settings.adam_beta2),
                eps=_ADAM_EPSILON,
                weight_decay=0.0,
            )
            for name, model in models.trained.items()
        }

    @abstractmethod
    def _targets(self, batch: Batch, old: OldOutputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Advantages and returns, each (batch, tokens)."""

    @abstractmethod
    def _backward(self, batch: UpdateBatch, token_count: float) -> tuple[float, ...]:
        """Add the gradients of a micro-batch; return the numbers named in ``losses``.

        Args:
            batch: the micro-batch, on the device.
            token_count: completion tokens of the whole optimizer step.
        """

    def _extra_metrics(
        self, batch: Batch, old: OldOutputs, returns: torch.Tensor
    ) -> dict[str, float]:
        return {}

    def update(self, batch: Batch, step: int) -> dict[str, float]:
        """Train on the rollouts of a step; return metrics for the log.

        Raises:
            RunError: a loss or a gradient is NaN or infinite. That optimizer step was not made.
        """
        old = self._old_outputs(batch)
        advantages, returns = self._targets(batch, old)
        data = UpdateBatch(
            batch.ids, batch.attention_mask, batch.completion_mask, old.logprobs, old.ref_logprobs,
            old.values, advantages, returns,
        )  # fmt: skip
        size = self.settings.batch_size
        order = list(range(len(batch.ids)))
        steps = []
        for epoch in range(self.settings.update_epochs):
            random.Random(f"rows {self.settings.seed} {step} {epoch}").shuffle(order)
            for start in range(0, len(order), size):
                steps.append(self._optimizer_step(data, batch.lengths, order[start : start + size]))
        tokens = float(batch.completion_mask.sum())
        kl = (old.logprobs - old.ref_logprobs).mul(batch.completion_mask).sum()
        return {
            **{name: sum(metrics[name] for metrics in steps) / len(steps) for name in steps[0]},
            "kl": float(kl) / tokens,
            "entropy": float((old.entropy * batch.completion_mask).sum()) / tokens,
            **self._extra_metrics(batch, old, returns),
        }

    def _optimizer_step(
        self, data: UpdateBatch, lengths: Sequence[int], rows: Sequence[int]
    ) -> dict[str, float]:
        """One step of the optimizers on some rows; returns losses and gradient norm."""
        self._set_learning_rate()
        self._set_training_mode()
        token_count = float(data.completion_mask[list(rows)].sum())
        sums = torch.zeros(len(self.losses))
        for part in self._micro_batches(lengths, distributed.split_between_processes(rows)):
            longest = max(lengths[i] for i in part)
            micro_batch = data.micro_batch(part, longest, self.models.device)
            sums += torch.tensor(self._backward(micro_batch, token_count))
        distributed.all_reduce_sum([sums])
        norms = {}
        for name, model in self.models.trained.items():
            model.eval()
            trained = [p for p in model.parameters() if p.requires_grad]
            if distributed.world_size() > 1:
                distributed.all_reduce_sum([_gradient(p) for p in trained])
            norms[name] = float(torch.nn.utils.clip_grad_norm_(trained, _MAX_GRAD_NORM))
        # Before any weight changes, and in all processes alike.
        if not all(map(math.isfinite, [*sums.tolist(), *norms.values()])):
            raise RunError(
                f"the loss or its gradient is NaN or infinite at update {self.optimizer_steps + 1}",
                hint="lower --learning-rate",
            )
        for optimizer in self.optimizers.values():
            optimizer.step()
            # Gradients are as large as the models, and the engine needs the memory.
            optimizer.zero_grad(set_to_none=True)
        self.optimizer_steps += 1
        return {**dict(zip(self.losses, sums.tolist(), strict=True)), "grad_norm": norms["policy"]}

    def _policy_loss(
        self, batch: UpdateBatch, token_count: float
    ) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Log-probs, policy loss, and the share of clipped tokens of a micro-batch."""
        with self.models.autocast():
            logprobs = token_logprobs(
                self.models.policy, batch.ids, batch.attention_mask, self.settings.temperature
            )
        loss, clipped_tokens = policy_loss(
            logprobs,
            batch.old_logprobs,
            batch.advantages,
            batch.completion_mask,
            self.settings.clip_range,
            token_count,
        )
        return logprobs, loss, float(clipped_tokens) / token_count

    @property
    def learning_rate(self) -> float:
        """Learning rate of the policy at the last optimizer step."""
        return float(self.optimizers["policy"].param_groups[0]["lr"])

    def _learning_rate_factor(self, model: str) -> float:
        return 1.0

    def _set_learning_rate(self) -> None:
        settings = self.settings
        rate = settings.learning_rate * lr_multiplier(
            self.optimizer_steps,
            settings.optimizer_steps,
            settings.warmup_ratio,
            settings.min_lr_ratio,
        )
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = rate * self._learning_rate_factor(name)

    def _set_training_mode(self) -> None:
        """Training mode for gradient checkpointing, which needs it, but never with dropout.

        With dropout the trained policy would not be the one that sampled.
        """
        for model in self.models.trained.values():
            model.train(self.settings.gradient_checkpointing)
            for layer in model.modules():
                if isinstance(layer, torch.nn.Dropout):
                    layer.eval()

    def _micro_batches(self, lengths: Sequence[int], rows: Sequence[int]) -> Iterator[list[int]]:
        """Rows in micro-batches that fit into memory."""
        lengths = [lengths[i] for i in rows]
        max_tokens = self.batch_tokens
        if self.settings.micro_batch_size and lengths:
            max_tokens = self.settings.micro_batch_size * max(lengths)
        for part in batches(lengths, max_tokens):
            yield [rows[i] for i in part]

    @property
    def batch_tokens(self) -> int:
        """Tokens per forward pass."""
        default = 16384 if self.models.device.type == "cuda" else 2048
        return self.settings.batch_tokens or default

    @torch.no_grad()
    def _old_outputs(self, batch: Batch) -> OldOutputs:
        """Run all models on the batch; each process computes its share of the rows."""
        models, temperature = self.models, self.settings.temperature
        outputs = torch.zeros(4, *batch.ids.shape)
        rows = distributed.split_between_processes(range(len(batch.ids)))
        for part in self._micro_batches(batch.lengths, rows):
            longest = max(batch.lengths[i] for i in part)
            ids = batch.ids[part, :longest].to(models.device)
            mask = batch.attention_mask[part, :longest].to(models.device)
            with models.autocast():
                logprobs, entropy = logprobs_and_entropy(models.policy, ids, mask, temperature)
                with models.reference_policy() as reference:
                    ref_logprobs = token_logprobs(reference, ids, mask, temperature)
                values = (
                    torch.zeros_like(logprobs)
                    if models.value is None
                    else token_values(models.value, ids, mask)
                )
            for i, tensor in enumerate((logprobs, ref_logprobs, values, entropy)):
                outputs[i, part, :longest] = tensor.float().cpu()
        distributed.all_reduce_sum([outputs])
        return OldOutputs(*(outputs * batch.completion_mask))


def _gradient(parameter: torch.nn.Parameter) -> Any:
    """The gradient; zeros in a process without rows, which has none."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
