"""One step of learning from solutions: PPO with a value model, or GRPO without."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from e2h_cli.common import distributed
from e2h_cli.common.errors import RunError
from e2h_cli.data import template
from e2h_cli.inference.batching import batches
from e2h_cli.rl.advantages import (
    explained_variance,
    gae,
    group_advantages,
    group_step_advantages,
    kl_of_tokens,
    linear_fit,
    whiten,
)
from e2h_cli.rl.losses import cosine_rate, kl_loss, policy_loss, value_loss
from e2h_cli.rl.policy_models import Actors
from e2h_cli.rl.rollouts import Rollout, rewards_of_tokens
from e2h_cli.settings.rl import OnPolicySettings

_MAX_NORM = 1.0  # paper p.20
_ADAM_EPSILON = 1e-5  # the released code's; PPO's gradients are noisy where they are small


@dataclass
class Batch:
    """Solutions as tensors of shape (rows, tokens), prompts included, padded on the right.

    ``written``: 1 at the tokens that the policy drew; ``earned``: 1 at those where a step or the
    solution ends; ``groups``: (rows,) equal numbers for solutions of one question.
    """

    ids: torch.Tensor
    attention: torch.Tensor
    written: torch.Tensor
    rewards: torch.Tensor
    earned: torch.Tensor
    groups: torch.Tensor

    @functools.cached_property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        lengths: list[int] = self.attention.sum(1).tolist()
        return lengths


def make_batch(rollouts: Sequence[Rollout], tokenizer: PreTrainedTokenizerFast) -> Batch:
    """Solutions as a batch."""
    prompts = {
        r.problem.id: tokenizer(
            template.prompt(r.problem.problem), add_special_tokens=True
        ).input_ids
        for r in rollouts
    }
    longest = max(len(prompts[r.problem.id]) + len(r.ids) for r in rollouts)
    numbers = {problem: i for i, problem in enumerate(prompts)}
    shape = (len(rollouts), longest)
    batch = Batch(
        ids=torch.full(shape, tokenizer.pad_token_id or 0),
        attention=torch.zeros(shape, dtype=torch.long),
        written=torch.zeros(shape),
        rewards=torch.zeros(shape),
        earned=torch.zeros(shape),
        groups=torch.tensor([numbers[r.problem.id] for r in rollouts]),
    )
    for i, r in enumerate(rollouts):
        prompt = prompts[r.problem.id]
        start, end = len(prompt), len(prompt) + len(r.ids)
        batch.ids[i, :end] = torch.tensor([*prompt, *r.ids])
        batch.attention[i, :end] = 1
        batch.written[i, start:end] = 1
        for place, reward in rewards_of_tokens(r, tokenizer):
            batch.rewards[i, start + place] += reward
            batch.earned[i, start + place] = 1
    return batch


@dataclass
class Passed:
    """What the models said of a batch before learning, each (rows, tokens)."""

    logprobs: torch.Tensor
    reference: torch.Tensor
    values: torch.Tensor
    entropy: torch.Tensor


class Learner:
    """The optimisers, and one step of them.

    With several processes each passes its share of the rows, and gradients are summed: the
    trajectory is that of one process.
    """

    def __init__(self, actors: Actors, settings: OnPolicySettings, updates: int) -> None:
        self._actors = actors
        self._settings = settings
        self._updates = updates
        self.update = 0
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        for name, model in self.models().items():
            self.optimisers[name] = torch.optim.AdamW(
                [p for p in model.parameters() if p.requires_grad],
                betas=(0.9, settings.adam_beta2),
                eps=_ADAM_EPSILON,
                weight_decay=0.0,
            )

    def models(self) -> dict[str, Any]:
        """The models that are trained, by name."""
        models = {"policy": self._actors.policy, "value": self._actors.value}
        return {name: model for name, model in models.items() if model is not None}

    def learn(self, batch: Batch, step: int) -> dict[str, float]:
        """Learn from a batch; return what is worth logging.

        Raises:
            RunError: a loss or a gradient is no number. That optimiser step was not made.
        """
        settings = self._settings
        passed = self._pass_all(batch)
        kl = kl_of_tokens(passed.logprobs, passed.reference, settings.kl_estimator) * batch.written
        if self.update == 0 and self._actors.value is not None:
            self._fit_values(batch, passed, kl)
        advantages, returns = self._advantages(batch, passed, kl)
        order = list(range(len(batch.ids)))
        sums = {"policy_loss": 0.0, "value_loss": 0.0, "clipped": 0.0, "norm": 0.0}
        count = 0
        for epoch in range(settings.update_epochs):
            random.Random(f"rows {settings.seed} {step} {epoch}").shuffle(order)
            for start in range(0, len(order), settings.batch_size):
                rows = order[start : start + settings.batch_size]
                for name, value in self._step(batch, passed, advantages, returns, rows).items():
                    sums[name] += value
                count += 1
        tokens = float(batch.written.sum())
        found = {name: value / count for name, value in sums.items()}
        found |= {
            "kl": float((passed.logprobs - passed.reference).mul(batch.written).sum()) / tokens,
            "entropy": float((passed.entropy * batch.written).sum()) / tokens,
        }
        if self._actors.value is None:
            del found["value_loss"]
        else:
            found["explained_variance"] = explained_variance(passed.values, returns, batch.written)
        return found

    def _advantages(
        self, batch: Batch, passed: Passed, kl: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        settings = self._settings
        if settings.algo == "grpo":
            if settings.step_advantages:
                found = group_step_advantages(batch.rewards, batch.earned, batch.groups)
            else:
                found = group_advantages(batch.rewards.sum(1), batch.groups)[:, None]
            return found * batch.written, torch.zeros_like(batch.rewards)
        advantages, returns = gae(
            self._rewards(batch, kl),
            passed.values,
            batch.written,
            settings.gamma,
            settings.gae_lambda,
        )
        return whiten(advantages, batch.written), returns

    def _rewards(self, batch: Batch, kl: torch.Tensor) -> torch.Tensor:
        rewards = batch.rewards - self._settings.kl_coef * kl
        if self._settings.whiten_rewards:
            rewards = whiten(rewards, batch.written, shift_mean=False)
        return rewards

    def _fit_values(self, batch: Batch, passed: Passed, kl: torch.Tensor) -> None:
        """Bring the value model to the scale of the first returns.

        It begins as a reward model, whose logits are of another scale than returns; clipped as it
        is, it would take it ten steps and more to come to theirs.
        """
        zero = torch.zeros_like(passed.values)
        _, returns = gae(self._rewards(batch, kl), zero, batch.written, self._settings.gamma, 1.0)
        head = next(
            layer
            for name, layer in self._actors.value.named_modules()
            if isinstance(layer, torch.nn.Linear) and layer.weight.requires_grad
            and {"score", "classifier"} & set(name.split("."))
        )  # fmt: skip
        through_zero = head.bias is None
        slope, offset = linear_fit(passed.values, returns, batch.written, through_zero=through_zero)
        with torch.no_grad():
            head.weight.mul_(slope)
            if head.bias is not None:
                head.bias.mul_(slope).add_(offset)
        passed.values = (slope * passed.values + offset) * batch.written

    def _step(
        self,
        batch: Batch,
        passed: Passed,
        advantages: torch.Tensor,
        returns: torch.Tensor,
        rows: Sequence[int],
    ) -> dict[str, float]:
        """One step of the optimisers on some rows."""
        settings, device = self._settings, self._actors.device
        rate = settings.learning_rate * cosine_rate(
            self.update, self._updates, settings.warmup_ratio, settings.min_lr_ratio
        )
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = rate * (settings.value_lr_multiplier if name == "value" else 1.0)
        for model in self.models().values():
            # Activations are checkpointed in this mode only, in which nothing must drop out: the
            # policy that learns is the one that wrote.
            model.train(settings.gradient_checkpointing)
            for layer in model.modules():
                if isinstance(layer, torch.nn.Dropout):
                    layer.eval()
        count = float(batch.written[list(rows)].sum())
        sums = torch.zeros(3)
        for part in self._parts(batch, distributed.split_between_processes(rows)):
            longest = max(batch.lengths[i] for i in part)
            ids, attention, mask, old, reference, values, advantage, wanted = (
                x[part, :longest].to(device)
                for x in (
                    batch.ids, batch.attention, batch.written, passed.logprobs, passed.reference,
                    passed.values, advantages, returns,
                )
            )  # fmt: skip
            with self._actors.precision():
                logprobs = token_logprobs(self._actors.policy, ids, attention, settings.temperature)
            loss, clipped = policy_loss(logprobs, old, advantage, mask, settings.clip_range, count)
            whole = loss
            if settings.algo == "grpo" and settings.kl_coef:
                whole = loss + settings.kl_coef * kl_loss(logprobs, reference, mask, count)
            whole.backward()
            sums[0] += float(loss.detach())
            sums[2] += float(clipped) / count
            if self._actors.value is not None:
                with self._actors.precision():
                    now = token_values(self._actors.value, ids, attention)
                value = value_loss(now, values, wanted, mask, settings.value_clip_range, count)
                value.backward()
                sums[1] += float(value.detach())
        distributed.all_reduce_sum([sums])
        norms = {}
        for name, model in self.models().items():
            model.eval()
            trained = [p for p in model.parameters() if p.requires_grad]
            distributed.all_reduce_sum(
                [_gradient(p) for p in trained] if distributed.world_size() > 1 else []
            )
            norms[name] = float(torch.nn.utils.clip_grad_norm_(trained, _MAX_NORM))
        # Before any weight is touched, and in all processes together.
        if not all(map(math.isfinite, [*sums.tolist(), *norms.values()])):
            raise RunError(
                f"the loss or its gradient is no number at update {self.update + 1}",
                hint="lower --learning-rate",
            )
        for optimiser in self.optimisers.values():
            optimiser.step()
            # Gradients are as large as the models, and the engine wants the memory.
            optimiser.zero_grad(set_to_none=True)
        self.update += 1
        policy, value_part, clipped_share = sums.tolist()
        return {
            "policy_loss": policy, "value_loss": value_part, "clipped": clipped_share,
            "norm": norms["policy"],
        }  # fmt: skip

    def _parts(self, batch: Batch, rows: Sequence[int]) -> Iterator[list[int]]:
        """Rows in pieces that fit into a pass."""
        lengths = [batch.lengths[i] for i in rows]
        budget = self.budget
        if self._settings.micro_batch_size and lengths:
            budget = self._settings.micro_batch_size * max(lengths)
        for part in batches(lengths, budget):
            yield [rows[i] for i in part]

    @property
    def budget(self) -> int:
        """Tokens per pass."""
        usual = 16384 if self._actors.device.type == "cuda" else 2048
        return self._settings.batch_tokens or usual

    @torch.no_grad()
    def _pass_all(self, batch: Batch) -> Passed:
        """What the models say of every token, each process passing its share of the rows."""
        actors, device = self._actors, self._actors.device
        found = torch.zeros(4, *batch.ids.shape)
        for chosen in self._parts(
            batch, distributed.split_between_processes(range(len(batch.ids)))
        ):
            longest = max(batch.lengths[i] for i in chosen)
            ids = batch.ids[chosen, :longest].to(device)
            attention = batch.attention[chosen, :longest].to(device)
            temperature = self._settings.temperature
            with actors.precision():
                logprobs, entropy = logprobs_and_entropy(actors.policy, ids, attention, temperature)
                with actors.reference() as reference:
                    first = token_logprobs(reference, ids, attention, temperature)
                values = (
                    torch.zeros_like(logprobs)
                    if actors.value is None
                    else token_values(actors.value, ids, attention)
                )
            for i, tensor in enumerate((logprobs, first, values, entropy)):
                found[i, chosen, :longest] = tensor.float().cpu()
        distributed.all_reduce_sum([found])
        found *= batch.written
        return Passed(*found)


def token_logprobs(
    model: Any, ids: torch.Tensor, attention: torch.Tensor, temperature: float
) -> torch.Tensor:
    """(rows, tokens) log-probability of each token after those before it; 0 for the first."""
    logs = _log_distribution(model, ids, attention, temperature)
    return _behind_the_first(logs.gather(-1, ids[:, 1:, None]).squeeze(-1))


def logprobs_and_entropy(
    model: Any, ids: torch.Tensor, attention: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same, and the entropy of what each token was chosen from."""
    logs = _log_distribution(model, ids, attention, temperature)
    picked = logs.gather(-1, ids[:, 1:, None]).squeeze(-1)
    return _behind_the_first(picked), _behind_the_first(-(logs.exp() * logs).sum(-1))


def _log_distribution(
    model: Any, ids: torch.Tensor, attention: torch.Tensor, temperature: float
) -> torch.Tensor:
    output = model(input_ids=ids, attention_mask=attention, use_cache=False)
    return (output.logits[:, :-1].float() / temperature).log_softmax(-1)


def _behind_the_first(values: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros_like(values[:, :1]), values], 1)


def token_values(model: Any, ids: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """(rows, tokens) what the value model expects before each token is written; 0 at the first."""
    output = model(input_ids=ids, attention_mask=attention, use_cache=False)
    return _behind_the_first(output.logits[:, :-1, 0].float())


def _gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    # A process without rows has no gradient, and the sum needs one of everybody.
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
