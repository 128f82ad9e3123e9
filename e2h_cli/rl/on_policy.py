"""The training loop of PPO and GRPO: sample, score, update, validate."""

from __future__ import annotations

import contextlib
import logging
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from e2h_cli.common import distributed
from e2h_cli.common.console import progress_bar
from e2h_cli.common.errors import InputError, RunError
from e2h_cli.common.tracking import Tracker
from e2h_cli.data.problem import Problem
from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.engines.base import Engine
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.models.reward_formats import RewardModel
from e2h_cli.rl import sharding
from e2h_cli.rl.checkpoint_selection import ValidationSet, best_checkpoint
from e2h_cli.rl.policy_models import sleep, sync_weights
from e2h_cli.rl.policy_update import PolicyUpdater
from e2h_cli.rl.rollout_batch import make_batch
from e2h_cli.rl.rollout_scoring import score_rollouts
from e2h_cli.rl.rollouts import (
    Rollout,
    open_store,
    read_solutions,
    rollout_metrics,
    sample_solutions,
    save_rollouts,
)
from e2h_cli.rl.run_log import ROLLOUTS, RunLog
from e2h_cli.settings.rl import OnPolicySettings
from e2h_cli.training.checkpoints import save_weights
from e2h_cli.training.trainer import without_tied

logger = logging.getLogger(__name__)

# Folder of the policy of a run that stopped early.
STOPPED = "stopped"


@dataclass
class OnPolicyTrainer:
    """Trains a policy on its own solutions, one update per step.

    Continues from the checkpoint in the scratch folder if there is one.

    Attributes:
        problems: questions; those whose answer may be graded have their gold answer.
        engine: samples from the policy of the updater.
        reward_model: None where only the final answer is rewarded.
        output_dir: for the log, the rollouts, and the policy of a run that stopped early.
        scratch_dir: for checkpoints and the best weights.
        history: one entry per validation: "step", and the accuracy by each checkpoint rule.
        unit: what "step" counts.
    """

    problems: Sequence[Problem]
    validation: ValidationSet
    updater: PolicyUpdater[Any]
    engine: Engine
    reward_model: RewardModel | None
    grader: Grader
    output_dir: Path
    scratch_dir: Path
    title: str
    tracker: Tracker
    unit = "step"

    def __post_init__(self) -> None:
        self._settings, self._models = self.updater.settings, self.updater.models
        self._checkpoint = self.scratch_dir / "checkpoint.pt"
        state = self.updater.load_checkpoint(self._checkpoint)
        self.step: int = state.get("step", 0)
        self.history: list[dict[str, Any]] = state.get("history", [])
        if self.step:
            logger.info(f"resuming from step {self.step}")
            sync_weights(self.engine, self._models)
        self.log = RunLog(
            self.output_dir, state.get("lines", []), self.validation.sizes, self.tracker
        )
        self._saved_step, self._saved_at = self.step, time.monotonic()
        # True while weights, step and log do not belong together.
        self._updating = False

    @property
    def counts(self) -> dict[str, Any]:
        """Steps, rollouts, and where the time went, for the record of the stage."""
        seconds = {
            name: round(sum(line.get(f"{name}_seconds", 0.0) for line in self.log.lines), 1)
            for name in ("rollout", "score", "learn")
        }
        rollouts = self._settings.rollout_batch_size * self.step
        return {"steps": self.step, "rollouts": rollouts, "seconds_in": seconds}

    def train(self) -> None:
        """Do all remaining steps. Whatever stops them, the policy is kept."""
        try:
            with progress_bar() as bar:
                self._train(bar)
        except BaseException:
            self._keep_stopped_policy()
            raise
        finally:
            self.log.close()
        seconds = self.counts["seconds_in"]
        total = sum(seconds.values()) or 1.0
        shares = ", ".join(f"{name} {part / total:.0%}" for name, part in seconds.items())
        logger.info(f"{self.counts['rollouts'] / total:,.1f} solutions/s; {shares}")
        if distributed.shards_models():
            held = sharding.memory_of_parts(self.updater.models.trained, self.updater.optimizers)
            for name, sizes in held.items():
                logger.info(f"{name}: {', '.join(f'{size:.2f}' for size in sizes)} MB by process")

    def save_model(self, step: int, folder: Path) -> None:
        """Save the best checkpoint by the rule, which is that of ``step``, as a model.

        All processes must call it; rank 0 writes.
        """
        sharding.load_weights(self._models.policy, load_file(self._best_file(step)))
        self._save_policy(folder)
        if distributed.is_main_process():
            shutil.rmtree(self.output_dir / STOPPED, ignore_errors=True)

    def _train(self, bar: Any) -> None:
        settings = self._settings
        task = bar.add_task(
            self.title, total=settings.steps, completed=self.step, begin=self.step, unit="steps",
            note="",
        )  # fmt: skip
        if not self.history:
            self.log.add({"step": 0, **self._validate()})
        while self.step < settings.steps:
            line = self._one_step()
            last = self.step == settings.steps
            if self.step % settings.eval_steps == 0 or last:
                line |= self._validate()
            self.log.add(line)
            self._updating = False
            note = f"reward {line['reward']:.3f}, KL {line['kl']:.3f}"
            bar.update(task, completed=self.step, note=note)
            due = time.monotonic() - self._saved_at > settings.checkpoint_seconds or last
            if distributed.run_on_main(partial(bool, due)):
                self._save()

    def _one_step(self) -> dict[str, Any]:
        """Sample, score and update once; returns the line of the log."""
        started = time.monotonic()
        rollouts = self._sample()
        sleep(self.engine)
        sampled = time.monotonic()
        rollouts = self._score(rollouts)
        if distributed.is_main_process():
            shutil.rmtree(self.scratch_dir / ROLLOUTS, ignore_errors=True)
        scored = time.monotonic()
        self._updating = True
        padded_length = self._settings.padded_length
        batch = make_batch(rollouts, self._models.tokenizer, padded_length)
        metrics = self.updater.update(batch, self.step)
        sync_weights(self.engine, self._models)
        self.step += 1
        return {
            "step": self.step,
            **rollout_metrics(rollouts),
            **metrics,
            "learning_rate": self.updater.learning_rate,
            "rollout_seconds": round(sampled - started, 3),
            "score_seconds": round(scored - sampled, 3),
            "learn_seconds": round(time.monotonic() - scored, 3),
        }

    @property
    def _rollout_file(self) -> Path:
        return self.output_dir / ROLLOUTS / f"step-{self.step:06d}.parquet"

    def _sample(self) -> list[Rollout]:
        """The solutions of this step; those that a killed run left on disk are kept."""
        settings = self._settings
        problems = questions_of_step(self.problems, settings, self.step)
        by_id = {p.id: p for p in problems}
        if distributed.run_on_main(self._rollout_file.is_file):
            return read_solutions(self._rollout_file, by_id, self.validation.style)
        folder = self.scratch_dir / ROLLOUTS / self._rollout_file.stem
        store = open_store(folder / "solutions.parquet", folder, f"parts-{distributed.rank()}")
        sample_solutions(
            self.engine,
            distributed.split_between_processes(problems),
            settings.num_generations,
            self.validation.decoding,
            # Every step has its own noise.
            (settings.seed << 32) + self.step,
            store,
            self.validation.style,
        )
        distributed.wait_for_everyone()
        distributed.run_on_main(lambda: store.merge(by_id))
        return read_solutions(store.target, by_id, self.validation.style)

    def _score(self, rollouts: list[Rollout]) -> list[Rollout]:
        """Score the rollouts, each process its share, and write them to the output folder."""
        share = distributed.split_between_processes(rollouts)
        settings = self._settings
        score_rollouts(share, self.grader, settings, self.reward_model, settings.batch_tokens)
        if distributed.world_size() > 1:
            from accelerate.utils import gather_object

            scored = {(r.problem.id, r.sample): r for r in gather_object(share)}
            rollouts = [scored[r.problem.id, r.sample] for r in rollouts]
        distributed.run_on_main(lambda: save_rollouts(self._rollout_file, rollouts))
        return rollouts

    def _validate(self) -> dict[str, float | None]:
        """Accuracy by each rule; keeps the weights if they are the best so far."""
        accuracies = distributed.run_on_main(
            lambda: self.validation.measure(self.engine, self._settings.seed)
        )
        self.history.append({"step": self.step, **accuracies})
        best = best_checkpoint(self.history, self._settings.checkpoint_rule)
        if best is not None and best["step"] == self.step:
            main = distributed.is_main_process()
            weights = sharding.trained_weights(self._models.policy, keep=main)
            if main:
                save_weights(weights, self._best_file(self.step))
        return accuracies

    def _best_file(self, step: int) -> Path:
        return self.scratch_dir / f"best-{step}.safetensors"

    def _save(self) -> None:
        """Write a checkpoint, and remove weights that are no longer the best."""
        state = {"step": self.step, "history": self.history, "lines": self.log.lines}
        self.updater.save_checkpoint(self._checkpoint, state)
        if distributed.is_main_process():
            best = best_checkpoint(self.history, self._settings.checkpoint_rule)
            for file in self.scratch_dir.glob("best-*.safetensors"):
                if best is None or file != self._best_file(best["step"]):
                    file.unlink()
        self._saved_step, self._saved_at = self.step, time.monotonic()

    def _keep_stopped_policy(self) -> None:
        """Save a checkpoint of the last step, and the current policy as a model.

        Under FSDP other processes may be gone, and their parts with them: the copy that samples is
        saved, and no checkpoint.
        """
        if not distributed.is_main_process():
            return
        folder = self.output_dir / STOPPED
        # Errors here must not hide the one that stopped the run.
        with contextlib.suppress(RuntimeError, RunError, OSError):
            sharded = distributed.shards_models()
            if not (self._updating or sharded) and self.step > self._saved_step:
                self._save()
        with contextlib.suppress(RuntimeError, RunError, OSError):
            if self.step:
                if sharded and isinstance(self.engine, TransformersEngine):
                    self.engine.model.save_pretrained(folder)
                    self._models.tokenizer.save_pretrained(folder)
                else:
                    self._save_policy(folder)
                logger.warning(f"the policy as it is now is in {folder}")

    def _save_policy(self, folder: Path) -> None:
        model, weights = self._models.merged_policy()
        if distributed.is_main_process():
            model.save_pretrained(folder, state_dict=without_tied(model, weights))
            self._models.tokenizer.save_pretrained(folder)


def questions_of_step(
    problems: Sequence[Problem], settings: OnPolicySettings, step: int
) -> list[Problem]:
    """The distinct questions of a step; every epoch has its own order.

    Raises:
        InputError: there are fewer problems than questions per step.
    """
    count = settings.prompts_per_step
    steps_per_epoch = len(problems) // count
    if not steps_per_epoch:
        raise InputError(
            f"a step asks {count:,} questions, and there are {len(problems):,}",
            hint="lower --rollout-batch-size, or raise --num-generations",
        )
    epoch, position = divmod(step, steps_per_epoch)
    order = list(problems)
    random.Random(f"questions {settings.seed} {epoch}").shuffle(order)
    return order[position * count : (position + 1) * count]
