"""Callbacks of the Trainer: progress bar, checkpoints by the clock, NaN check, order of rows."""

from __future__ import annotations

import math
import time
from typing import Any

from transformers import TrainerCallback

from e2h_cli.common import distributed
from e2h_cli.common.console import progress_bar
from e2h_cli.common.errors import RunError
from e2h_cli.common.tracking import Tracker
from e2h_cli.training.token_rows import LengthGrouped

_STEPS_PER_CLOCK_CHECK = 10
# Of what the Trainer logs. Its summary at the end is of speed, and left out.
_TRACKED = ("loss", "grad_norm", "learning_rate", "epoch", "validation")


class Progress(TrainerCallback):
    """Draws the bar, requests checkpoints by the clock, stops if the loss is NaN or infinite."""

    def __init__(self, title: str, checkpoint_seconds: float) -> None:
        self.bar = progress_bar()
        self._title = title
        self._seconds = checkpoint_seconds
        self._saved = time.monotonic()
        self._due = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: D102
        # The checkpoint remembers the path of the best one, but the run may have been moved.
        _name_best_checkpoint(args, state)
        self._task = self.bar.add_task(
            self._title,
            total=state.max_steps,
            completed=state.global_step,
            begin=state.global_step,
            unit="steps",
            note="",
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: D102
        self.bar.update(self._task, completed=state.global_step)
        # The clocks of several processes differ, and all must save at the same step.
        if distributed.world_size() == 1 or state.global_step % _STEPS_PER_CLOCK_CHECK == 0:
            self._due = distributed.run_on_main(
                lambda: time.monotonic() - self._saved > self._seconds
            )
        if self._due and state.global_step < state.max_steps:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: D102
        self._saved = time.monotonic()
        self._due = False
        # With parts of models the Trainer looks for the folder before it is there, so that some
        # processes or all would not load the best weights.
        _name_best_checkpoint(args, state)

    def on_log(self, args: Any, state: Any, control: Any, **event: Any) -> None:  # noqa: D102
        loss = event["logs"].get("loss")
        if loss is None:
            return
        if not math.isfinite(loss):
            raise RunError(
                f"the loss is {loss} at step {state.global_step}", hint="lower --learning-rate"
            )
        self.bar.update(self._task, note=f"loss {loss:.4f}")


def _name_best_checkpoint(args: Any, state: Any) -> None:
    if state.best_global_step:
        state.best_model_checkpoint = f"{args.output_dir}/checkpoint-{state.best_global_step}"


class Tracking(TrainerCallback):
    """Tells a tracker the losses, learning rates and validations."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def on_log(self, args: Any, state: Any, control: Any, **event: Any) -> None:  # noqa: D102
        named = {name.removeprefix("eval_"): value for name, value in event["logs"].items()}
        if "loss" in named or "validation" in named:
            told = {name: named[name] for name in _TRACKED if name in named}
            self._tracker.log(state.global_step, told)


class EpochOrder(TrainerCallback):
    """Sets the epoch of the sampler; with several processes a resumed Trainer does not do that."""

    def __init__(self, sampler: LengthGrouped) -> None:
        self._sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: D102
        self._sampler.set_epoch(int(state.epoch or 0))
