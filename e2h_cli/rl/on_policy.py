"""PPO and GRPO: write solutions, judge them, learn from them, measure; step by step."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from pathlib import Path
from typing import Any

from e2h_cli.common import distributed
from e2h_cli.common.console import console, progress_bar
from e2h_cli.common.errors import InputError, RunError
from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.engines.base import Engine
from e2h_cli.models.reward_formats import RewardModel, open_reward_model
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.rl.checkpoint import Checkpoints, load_weights
from e2h_cli.rl.checkpoint_selection import best, side_by_side
from e2h_cli.rl.policy_engine import open_engine, refresh, rest
from e2h_cli.rl.policy_models import Actors, load_actors, print_memory_plan
from e2h_cli.rl.policy_update import Learner, make_batch
from e2h_cli.rl.prompts import Setup, questions_of_step, record, set_up, shaping_of
from e2h_cli.rl.rollouts import (
    Rollout,
    judge,
    open_store,
    read_rollouts,
    read_solutions,
    save_rollouts,
    write_solutions,
)
from e2h_cli.rl.run_log import Watch, plot, summary
from e2h_cli.settings.rl import OnPolicySettings
from e2h_cli.training.checkpoints import save_trained

ROLLOUTS = "rollouts"
STOPPED = "stopped"


def run(context: StageContext[OnPolicySettings], grader: Grader) -> dict[str, Any]:
    """Train, keep the best checkpoint by the rule, save it as the stage's model."""
    settings = context.settings
    setup = set_up(context, grader)
    reward_place = context.model_or_path("reward_model") if context.inputs["reward_model"] else None
    generator = context.model_or_path("model")
    used = reward_place if settings.shaping != "none" else None
    print_memory_plan(generator, used, settings)
    training = None
    try:
        training = _Training(context, settings, setup, generator, used, grader)
        training.run()
        return training.finish()
    except (RuntimeError, MemoryError, OSError) as error:
        if training is not None:
            training.leave()
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RunError(
            f"{context.stage} failed: {reason}",
            hint="the same command goes on from the last checkpoint",
        ) from error
    except BaseException:
        if training is not None:
            training.leave()
        raise


class _Training:
    """The state of a run: models, optimisers, what was measured."""

    def __init__(
        self,
        context: StageContext[OnPolicySettings],
        settings: OnPolicySettings,
        setup: Setup,
        generator: str,
        reward: str | None,
        grader: Grader,
    ) -> None:
        self._context, self._settings, self._setup = context, settings, setup
        self._grader = grader
        self._steps = settings.steps
        self._asked = settings.rollout_batch_size // settings.num_generations
        questions_of_step(setup.problems, self._asked, 0, settings.seed)
        self._engine: Engine
        self._reward: RewardModel | None = None
        self._actors: Actors = load_actors(generator, reward, settings)
        self._engine = open_engine(self._actors, generator, settings, setup, context.scratch_dir)
        if reward is not None:
            self._reward = open_reward_model(reward, settings.family)
            if settings.shaping == "paper" and self._reward.family == "sequence-classification":
                raise InputError(
                    "--shaping paper pays steps, and this reward model scores whole solutions only",
                    where=reward,
                    hint="take --shaping minimum",
                )
        updates = (
            self._steps
            * settings.update_epochs
            * math.ceil(settings.rollout_batch_size / settings.batch_size)
        )
        self._learner = Learner(self._actors, settings, updates)
        self._checkpoints = Checkpoints(context.scratch_dir)
        state = self._checkpoints.load(self._learner) or {"step": 0, "history": [], "lines": []}
        self.step: int = state["step"]
        self._history: list[dict[str, Any]] = state["history"]
        self._saved_step, self._saved = self.step, time.monotonic()
        self._learning = False
        if self.step:
            console.print(f"[cyan]resuming from step {self.step}[/cyan]")
            refresh(self._engine, self._actors)
        sizes = setup.validation.sizes
        self._watch = (
            Watch(context.output_dir, state["lines"], sizes)
            if distributed.is_main_process()
            else None
        )

    def run(self) -> None:
        """All steps that are left."""
        settings = self._settings
        with progress_bar() as bar:
            task = bar.add_task(
                self._context.stage, total=self._steps, completed=self.step, begin=self.step,
                unit="steps", note="",
            )  # fmt: skip
            if not self._history:
                self._note({"step": 0, **self._measure()})
            while self.step < self._steps:
                line = self._one_step()
                last = self.step == self._steps
                if self.step % settings.eval_steps == 0 or last:
                    line |= self._measure()
                self._note(line)
                self._learning = False
                bar.update(
                    task, completed=self.step,
                    note=f"reward {line['reward']:.3f}, KL {line['kl']:.3f}",
                )  # fmt: skip
                due = time.monotonic() - self._saved > settings.checkpoint_seconds or last
                if distributed.run_on_main(lambda due=due: due):  # type: ignore[misc]
                    self._save()

    def _one_step(self) -> dict[str, Any]:
        begin = time.monotonic()
        rollouts = self._write()
        rest(self._engine)
        written = time.monotonic()
        rollouts = self._judge(rollouts)
        if distributed.is_main_process():
            shutil.rmtree(self._context.scratch_dir / ROLLOUTS, ignore_errors=True)
        judged = time.monotonic()
        # From here until it is all noted, an interrupted step is done again from its solutions.
        self._learning = True
        found = self._learner.learn(make_batch(rollouts, self._actors.tokenizer), self.step)
        refresh(self._engine, self._actors)
        self.step += 1
        return {
            "step": self.step,
            **summary(rollouts),
            **found,
            "learning_rate": self._learner.optimisers["policy"].param_groups[0]["lr"],
            "rollout_seconds": round(written - begin, 3),
            "score_seconds": round(judged - written, 3),
            "learn_seconds": round(time.monotonic() - judged, 3),
        }

    def _write(self) -> list[Rollout]:
        """The solutions of this step; what a killed run has written of them is not drawn again."""
        settings = self._settings
        problems = questions_of_step(self._setup.problems, self._asked, self.step, settings.seed)
        known = {p.id: p for p in problems}
        done = self._context.output_dir / ROLLOUTS / f"step-{self.step:06d}.parquet"
        if distributed.run_on_main(done.is_file):
            return read_solutions(done, known)
        place = self._context.scratch_dir / ROLLOUTS / f"step-{self.step:06d}"
        target = place / "solutions.parquet"
        rank = f"parts-{distributed.rank()}"
        write_solutions(
            self._engine,
            distributed.split_between_processes(problems),
            settings.num_generations,
            self._setup.decoding,
            (settings.seed << 32) + self.step,
            open_store(target, place, rank),
        )
        distributed.wait_for_everyone()
        distributed.run_on_main(lambda: open_store(target, place, rank).merge(known))
        return read_solutions(target, known)

    def _judge(self, rollouts: list[Rollout]) -> list[Rollout]:
        """Each process judges its share; what all have found is in the step's file."""
        own = distributed.split_between_processes(rollouts)
        judge(own, self._grader, shaping_of(self._settings), self._reward, self._learner.budget)
        file = self._context.output_dir / ROLLOUTS / f"step-{self.step:06d}.parquet"
        if distributed.world_size() == 1:
            save_rollouts(file, rollouts)
            return rollouts
        place = self._context.scratch_dir / "judged"
        save_rollouts(place / f"{distributed.rank()}.parquet", own)
        distributed.wait_for_everyone()
        known = {r.problem.id: r.problem for r in rollouts}

        def together() -> None:
            parts = [
                read_rollouts(place / f"{i}.parquet", known)
                for i in range(distributed.world_size())
            ]
            found = {(r.problem.id, r.sample): r for part in parts for r in part}
            save_rollouts(file, [found[r.problem.id, r.sample] for r in rollouts])

        distributed.run_on_main(together)
        return read_rollouts(file, known)

    def _measure(self) -> dict[str, float | None]:
        """Validate, and keep the weights if they are the best so far by the rule."""
        values = distributed.run_on_main(
            lambda: self._setup.validation.measure(self._engine, self._settings.seed)
        )
        self._history.append({"step": self.step, **values})
        chosen = best(self._history, self._settings.checkpoint_rule)
        if distributed.is_main_process() and chosen is not None and chosen["step"] == self.step:
            save_trained(self._actors.policy, self._best(self.step))
        return values

    def _note(self, line: dict[str, Any]) -> None:
        if self._watch is not None:
            self._watch.add(line)

    def _best(self, step: int) -> Path:
        return self._context.scratch_dir / f"best-{step}.safetensors"

    def _save(self) -> None:
        if self._watch is not None:
            state = {"step": self.step, "history": self._history, "lines": self._watch.lines}
            self._checkpoints.save(self._learner, state)
            # A run that goes on from here needs the best of these only.
            chosen = best(self._history, self._settings.checkpoint_rule)
            for file in self._context.scratch_dir.glob("best-*.safetensors"):
                if chosen is None or file != self._best(chosen["step"]):
                    file.unlink()
        self._saved_step, self._saved = self.step, time.monotonic()

    def leave(self) -> None:
        """Save what can be resumed, and the policy as a model that can be used as it is."""
        if not distributed.is_main_process():
            return
        # Whatever stopped the run is told, not what may happen here.
        with contextlib.suppress(RuntimeError, RunError, OSError):
            if not self._learning and self.step > self._saved_step:
                self._save()
        with contextlib.suppress(RuntimeError, RunError, OSError):
            if self._watch is not None:
                self._watch.close()
            if self.step:
                self._save_policy(self._context.output_dir / STOPPED)
                console.print(
                    f"[yellow]the policy as it is now is in {self._context.output_dir / STOPPED}[/yellow]"
                )

    def finish(self) -> dict[str, Any]:
        """Save the best checkpoint, print what each rule would have taken, draw the log."""
        settings = self._settings
        rollouts = settings.rollout_batch_size * self._steps
        lines = self._watch.lines if self._watch is not None else []
        if not distributed.is_main_process():
            return {}
        assert self._watch is not None
        self._watch.close()
        chosen = best(self._history, settings.checkpoint_rule)
        assert chosen is not None  # there are validation problems
        load_weights(self._actors.policy, self._best(chosen["step"]))
        self._save_policy(self._context.output_dir)
        shutil.rmtree(self._context.output_dir / STOPPED, ignore_errors=True)
        choices = side_by_side(self._history, settings.checkpoint_rule, "step")
        for line in choices:
            console.print(line)
        note = f"{self._context.stage}, {self._context.scale} scale; chosen: step {chosen['step']}"
        plot(lines, self._context.output_dir / "training", note=note, unit="step")
        seconds = {
            name: round(sum(line.get(f"{name}_seconds", 0.0) for line in lines), 1)
            for name in ("rollout", "score", "learn")
        }
        total = sum(seconds.values()) or 1.0
        console.print(
            f"{rollouts / total:,.1f} solutions/s; "
            + ", ".join(f"{name} {part / total:.0%}" for name, part in seconds.items())
        )
        return record(
            self._setup,
            {
                "steps": self._steps,
                "rollouts": rollouts,
                "rule": settings.checkpoint_rule,
                "best_step": chosen["step"],
                "best": {k: v for k, v in chosen.items() if k != "step"},
                "choices": choices,
                "seconds_in": seconds,
            },
        )

    def _save_policy(self, folder: Path) -> None:
        model, weights = self._actors.whole_policy()
        model.save_pretrained(folder, state_dict=weights)
        self._actors.tokenizer.save_pretrained(folder)
