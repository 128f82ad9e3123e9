"""One update of the policy on the rollouts of a step: what PPO and GRPO share."""

from __future__ import annotations

import contextlib
import logging
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar, Generic, TypeVar

import torch

from e2h_cli.common import distributed
from e2h_cli.common.errors import RunError
from e2h_cli.common.files import atomic_file
from e2h_cli.inference.batching import batches
from e2h_cli.rl.losses import (
    logprobs_and_entropy,
    lr_multiplier,
    policy_loss,
    token_logprobs,
    token_values,
)
from e2h_cli.rl.policy_models import PolicyModels
from e2h_cli.rl.rollout_batch import Batch
from e2h_cli.settings.rl import OnPolicySettings

_MAX_GRAD_NORM = 1.0  # paper p.20
_ADAM_EPSILON = 1e-5  # the released code's

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=OnPolicySettings)


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
    def _set_targets(self, batch: Batch) -> None:
        """Set the advantages and, if there is a value model, the returns."""

    @abstractmethod
    def _backward(self, batch: Batch, token_count: float) -> tuple[float, ...]:
        """Add the gradients of a micro-batch on the device; return the numbers of ``losses``.

        ``token_count``: positions with a return of the whole optimizer step.
        """

    def _extra_metrics(self, batch: Batch) -> dict[str, float]:
        return {}

    def _learning_rate_factor(self, model: str) -> float:
        return 1.0

    @property
    def learning_rate(self) -> float:
        """Learning rate of the policy at the last optimizer step."""
        return float(self.optimizers["policy"].param_groups[0]["lr"])

    def update(self, batch: Batch, step: int) -> dict[str, float]:
        """Train on the rollouts of a step; return metrics for the log.

        Raises:
            RunError: a loss or a gradient is NaN or infinite. That optimizer step was not made.
        """
        self._set_old_outputs(batch)
        self._set_targets(batch)
        size = self.settings.batch_size
        order = list(range(len(batch.ids)))
        steps = []
        for epoch in range(self.settings.update_epochs):
            random.Random(f"rows {self.settings.seed} {step} {epoch}").shuffle(order)
            for start in range(0, len(order), size):
                steps.append(self._optimizer_step(batch, order[start : start + size]))
        tokens = float(batch.completion_mask.sum())
        return {
            **{name: sum(metrics[name] for metrics in steps) / len(steps) for name in steps[0]},
            "kl": float((batch.old_logprobs - batch.ref_logprobs).sum()) / tokens,
            "entropy": float(batch.entropy.sum()) / tokens,
            **self._extra_metrics(batch),
        }

    def save_checkpoint(self, file: Path, state: dict[str, Any]) -> None:
        """Write trained weights, optimizer states and ``state``, in place of an older checkpoint.

        The order of the data and the seeds of the samples depend on seed and step alone, so that no
        random state is saved.

        Raises:
            RunError: it cannot be written. The older checkpoint is still there.
        """
        checkpoint = {
            "state": state,
            "optimizer_steps": self.optimizer_steps,
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "weights": {
                name: {key: p.detach() for key, p in model.named_parameters() if p.requires_grad}
                for name, model in self.models.trained.items()
            },
        }
        try:
            with atomic_file(file) as stream:
                torch.save(checkpoint, stream)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"cannot write: {reason}", where=file, hint="free space") from error

    def load_checkpoint(self, file: Path) -> dict[str, Any]:
        """Load a checkpoint, if there is one; returns its ``state``, or {}.

        A damaged file (a torn disk) is renamed to ``torn-...``, and the training starts again.
        """
        if not file.is_file():
            return {}
        try:
            checkpoint = torch.load(file, weights_only=True, map_location="cpu")
        except (RuntimeError, OSError, EOFError, UnpicklingError):
            logger.warning(f"{file.name} is damaged; it is set aside as torn-{file.name}")
            with contextlib.suppress(FileNotFoundError):  # another process was first
                file.rename(file.with_name(f"torn-{file.name}"))
            return {}
        for name, model in self.models.trained.items():
            model.load_state_dict(checkpoint["weights"][name], strict=False)
            self.optimizers[name].load_state_dict(checkpoint["optimizers"][name])
        self.optimizer_steps = checkpoint["optimizer_steps"]
        return checkpoint["state"]

    def _optimizer_step(self, batch: Batch, rows: Sequence[int]) -> dict[str, float]:
        """One step of the optimizers on some rows; returns losses and gradient norm."""
        self._set_learning_rate()
        self._set_training_mode()
        token_count = float(batch.return_mask[rows].sum())
        sums = torch.zeros(len(self.losses))
        for _, micro_batch in self._micro_batches(batch, rows):
            sums += torch.tensor(self._backward(micro_batch, token_count))
        distributed.all_reduce_sum([sums])
        norms = {}
        for name, model in self.models.trained.items():
            model.eval()
            trained = [p for p in model.parameters() if p.requires_grad]
            if distributed.world_size() > 1:
                for p in trained:
                    if p.grad is None:  # in a process without rows
                        p.grad = torch.zeros_like(p)
                distributed.all_reduce_sum([p.grad for p in trained])
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
        self, batch: Batch, token_count: float
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

    def _set_learning_rate(self) -> None:
        settings, step = self.settings, self.optimizer_steps
        rate = settings.learning_rate * lr_multiplier(
            step, settings.optimizer_steps, settings.warmup_ratio, settings.min_lr_ratio
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

    def _micro_batches(
        self, batch: Batch, rows: Sequence[int]
    ) -> Iterator[tuple[list[int], Batch]]:
        """This process's share of the rows, in micro-batches that fit into memory."""
        rows, device = distributed.split_between_processes(rows), self.models.device
        all_lengths = batch.lengths
        lengths = [all_lengths[i] for i in rows]
        max_tokens = self.settings.batch_tokens or (16384 if device.type == "cuda" else 2048)
        if self.settings.micro_batch_size:
            max_tokens = self.settings.micro_batch_size * max(lengths, default=0)
        for part in batches(lengths, max_tokens):
            indices = [rows[i] for i in part]
            yield indices, batch.micro_batch(indices, max(lengths[i] for i in part), device)

    @torch.no_grad()
    def _set_old_outputs(self, batch: Batch) -> None:
        """Run all models on the batch before the update; each process computes its share."""
        models, temperature = self.models, self.settings.temperature
        outputs = torch.zeros(4, *batch.ids.shape)
        for rows, part in self._micro_batches(batch, range(len(batch.ids))):
            tokens = (part.ids, part.attention_mask)
            with models.autocast():
                logprobs, entropy = logprobs_and_entropy(models.policy, *tokens, temperature)
                with models.reference_policy() as reference:
                    ref_logprobs = token_logprobs(reference, *tokens, temperature)
                values = (
                    torch.zeros_like(logprobs)
                    if models.value is None
                    else token_values(models.value, *tokens)
                )
            for i, tensor in enumerate((logprobs, ref_logprobs, values, entropy)):
                outputs[i, rows, : tensor.shape[1]] = tensor.float().cpu()
        distributed.all_reduce_sum([outputs])
        outputs *= batch.return_mask
        outputs[[0, 1, 3]] *= batch.completion_mask
        batch.old_logprobs, batch.ref_logprobs, batch.old_values, batch.entropy = outputs
