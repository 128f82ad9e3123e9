"""One update of the policy on the rollouts of a step: what PPO and GRPO share."""

from __future__ import annotations

import contextlib
import logging
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, ClassVar, Generic, TypeVar

import torch

from e2h_cli.common import distributed
from e2h_cli.common.errors import RunError
from e2h_cli.common.files import atomic_file
from e2h_cli.inference.batching import batches
from e2h_cli.rl import sharding
from e2h_cli.rl.losses import (
    lr_multiplier,
    policy_loss,
    policy_outputs,
    token_logprobs,
    token_values,
)
from e2h_cli.rl.policy_models import PolicyModels
from e2h_cli.rl.rollout_batch import Batch
from e2h_cli.rl.shared_prompts import PASS_COST, SharedPrompts, can_share, rows_by_prompt
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
    process may have fewer micro-batches or none. Under FSDP each keeps its part of the sums, and
    those with fewer micro-batches compute empty ones.
    """

    # Names of the numbers that ``_backward`` returns.
    losses: ClassVar[tuple[str, ...]]
    # Whether prompts may be computed once for their completions.
    share_prompts = True

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
                # One operation for all weights: on their parts (DTensor) each is slow to start.
                fused=True,
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

    @property
    def _needs_old_logprobs(self) -> bool:
        """Whether ``_set_targets`` reads the log-probs of all rows."""
        return False

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
        size = self.settings.batch_size
        order = list(range(len(batch.ids)))
        parts = []
        for epoch in range(self.settings.update_epochs):
            random.Random(f"rows {self.settings.seed} {step} {epoch}").shuffle(order)
            parts += [order[start : start + size] for start in range(0, len(order), size)]
        self._set_old_outputs(batch, parts[0])
        for model in self.models.trained.values():
            sharding.reshard(model)
        self._set_targets(batch)
        steps = [self._optimizer_step(batch, rows) for rows in parts]
        inside = batch.completion_mask.bool()
        return {
            **{name: sum(metrics[name] for metrics in steps) / len(steps) for name in steps[0]},
            # Of the solutions that the reference was asked for.
            "kl": float((batch.old_logprobs - batch.ref_logprobs)[inside].nanmean()),
            "entropy": float(batch.entropy[inside].mean()),
            **self._extra_metrics(batch),
        }

    def save_checkpoint(self, file: Path, state: dict[str, Any]) -> None:
        """Write trained weights, optimizer states and ``state``, in place of an older checkpoint.

        Rank 0 writes it, and under FSDP gathers it in its memory: the file is that of whole models.

        The order of the data and the seeds of the samples depend on seed and step alone, so that no
        random state is saved.

        Raises:
            RunError: it cannot be written. The older checkpoint is still there.
        """
        main = distributed.is_main_process()
        checkpoint = {
            "state": state,
            "optimizer_steps": self.optimizer_steps,
            "optimizers": {
                name: sharding.whole(optimizer.state_dict(), keep=main)
                for name, optimizer in self.optimizers.items()
            },
            "weights": {
                name: sharding.trained_weights(model, keep=main)
                for name, model in self.models.trained.items()
            },
        }
        if not main:
            return
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
            checkpoint = torch.load(file, weights_only=True, map_location="cpu", mmap=True)
        except (RuntimeError, OSError, EOFError, UnpicklingError):
            logger.warning(f"{file.name} is damaged; it is set aside as torn-{file.name}")
            with contextlib.suppress(FileNotFoundError):  # another process was first
                file.rename(file.with_name(f"torn-{file.name}"))
            return {}
        for name, model in self.models.trained.items():
            sharding.load_weights(model, checkpoint["weights"][name])
            sharding.load_optimizer(self.optimizers[name], checkpoint["optimizers"][name])
        self.optimizer_steps = checkpoint["optimizer_steps"]
        return checkpoint["state"]

    def _optimizer_step(self, batch: Batch, rows: Sequence[int]) -> dict[str, float]:
        """One step of the optimizers on some rows; returns losses and gradient norm."""
        self._set_learning_rate()
        self._set_training_mode()
        token_count = float(batch.return_mask[rows].sum())
        sums = torch.zeros(len(self.losses))
        is_old_policy = bool(batch.old_logprobs[rows].isnan().any())
        for indices, part in self._filled_up(batch, rows):
            sums += torch.tensor(self._backward(part, token_count))
            if is_old_policy:
                length = part.ids.shape[1]
                batch.old_logprobs[indices, :length] = part.old_logprobs.cpu()
                batch.entropy[indices, :length] = part.entropy.cpu()
        distributed.all_reduce_sum([sums])
        norms = {}
        for name, model in self.models.trained.items():
            model.eval()
            trained = [p for p in model.parameters() if p.requires_grad]
            if distributed.world_size() > 1 and not distributed.shards_models():
                for p in trained:
                    if p.grad is None:  # in a process without rows
                        p.grad = torch.zeros_like(p)
                distributed.all_reduce_sum([p.grad for p in trained])
            norm = torch.nn.utils.clip_grad_norm_(trained, _MAX_GRAD_NORM)
            norms[name] = float(sharding.whole(norm))
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

    def _logprobs(self, batch: Batch) -> torch.Tensor:
        """Log-probs of a micro-batch by the policy.

        Sets the old log-probs and the entropy if this policy is the old one.
        """
        policy, temperature = self.models.policy, self.settings.temperature
        with self.models.autocast():
            if not batch.old_logprobs.isnan().any():
                return token_logprobs(policy, batch, temperature)
            logprobs, entropy = policy_outputs(policy, None, batch, temperature)
        batch.old_logprobs = logprobs.detach() * batch.completion_mask
        batch.entropy = entropy * batch.completion_mask
        return logprobs

    def _policy_loss(
        self, logprobs: torch.Tensor, batch: Batch, token_count: float
    ) -> tuple[torch.Tensor, float]:
        """Policy loss and the share of clipped tokens of a micro-batch."""
        loss, clipped_tokens = policy_loss(
            logprobs,
            batch.old_logprobs,
            batch.advantages,
            batch.completion_mask,
            self.settings.clip_range,
            token_count,
        )
        return loss, float(clipped_tokens) / token_count

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
        """This process's share of the rows, in micro-batches that fit into memory.

        Prompts are computed once for their completions where models can and that pays. Their
        gradients are added after the last micro-batch.
        """
        rows, device = distributed.split_between_processes(rows), self.models.device
        if not rows:
            return
        lengths, starts = batch.lengths, batch.starts
        max_tokens = self.settings.batch_tokens or (16384 if device.type == "cuda" else 2048)
        if self.settings.micro_batch_size:
            max_tokens = self.settings.micro_batch_size * max(lengths[i] for i in rows)
        parts: list[list[int]] = []
        whole = [m for m in self.models.trained.values() if m is not self.models.value_head]
        if self.share_prompts and all(map(can_share, whole)):
            parts = rows_by_prompt(rows, starts, lengths, batch.groups[:, 0].tolist(), max_tokens)
        for part in parts or [rows]:
            prompts = None
            if parts:
                ids, groups = batch.ids[part].to(device), batch.groups[part, 0].to(device)
                prompts = SharedPrompts(ids, batch.return_mask[part].argmax(1).to(device), groups)
            sizes = [lengths[i] - (starts[i] if parts else 0) for i in part]
            for chosen in batches(sizes, max_tokens, pass_cost=PASS_COST):
                indices = [part[i] for i in chosen]
                yield indices, batch.micro_batch(indices, device, prompts)
            if prompts is not None:
                prompts.backward()

    def _set_old_outputs(self, batch: Batch, first_rows: Sequence[int]) -> None:
        """Outputs of all models before the update, as far as they are needed.

        Without a KL in the rewards the first optimizer step itself computes the log-probs of its
        rows, ``first_rows``; they are NaN until then. Without any KL the reference computes those
        of as many rows, for the log.
        """
        models, temperature = self.models, self.settings.temperature
        everything, mask = range(len(batch.ids)), batch.completion_mask
        head = models.value_head
        late = distributed.world_size() == 1 and not self._needs_old_logprobs and head is None
        rows = [row for row in everything if not late or row not in first_rows]
        count = 2 if head is None else 3
        of_policy = self._outputs(
            batch, rows, count, lambda part: policy_outputs(models.policy, head, part, temperature)
        )
        batch.old_logprobs, batch.entropy = mask * of_policy[:2]
        if head is not None:
            batch.old_values = of_policy[2]
        some = everything if self.settings.kl_coef else first_rows
        with models.reference_policy() as reference:
            (batch.ref_logprobs,) = mask * self._outputs(
                batch, some, 1, lambda part: (token_logprobs(reference, part, temperature),)
            )
        if models.value is not None and head is None:
            (batch.old_values,) = self._outputs(
                batch, everything, 1, lambda part: (token_values(models.value, part),)
            )

    def _filled_up(self, batch: Batch, rows: Sequence[int]) -> Iterator[tuple[list[int], Batch]]:
        return sharding.fill_up(self._micro_batches(batch, rows), batch, self.models.device)

    @torch.no_grad()
    def _outputs(
        self,
        batch: Batch,
        rows: Sequence[int],
        count: int,
        compute: Callable[[Batch], Sequence[torch.Tensor]],
    ) -> torch.Tensor:
        """(count, batch, tokens) results of some rows; each process computes its share.

        They are NaN at positions with a return of the other rows, and 0 at other positions.
        """
        outputs = torch.zeros(count, *batch.ids.shape)
        for indices, part in self._filled_up(batch, rows):
            with self.models.autocast():
                tensors = compute(part)
            for i, tensor in enumerate(tensors):
                outputs[i, indices, : tensor.shape[1]] = tensor.float().cpu()
        distributed.all_reduce_sum([outputs])
        others = torch.ones(len(batch.ids), 1, dtype=torch.bool)
        others[list(rows)] = False
        return outputs.masked_fill(others & batch.return_mask.bool(), torch.nan)
