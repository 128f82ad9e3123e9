"""Early stopping: measure the model every so often, keep the best weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from e2h_cli.common import distributed
from e2h_cli.common.errors import RunError
from e2h_cli.common.files import fsync_folder, make_folder, read_json, write_json


@dataclass(frozen=True, slots=True)
class Validation:
    """When to stop: after ``patience`` measurements, one every so many steps, without a new best.

    ``measure``: a number that grows as the model gets better.
    """

    measure: Callable[[PreTrainedModel], float]
    every: int
    patience: int


class EarlyStopping(TrainerCallback):
    """Measures the model every so often, keeps the best weights, stops when none are better.

    What was measured and the best weights lie in a folder, so that a resumed training knows them.
    Measurements after the step that it goes on from are made again.
    """

    def __init__(self, validation: Validation, folder: Path) -> None:
        self._validation = validation
        self._folder = folder
        self._log = folder / "measured.json"
        self.history: list[dict[str, float]] = []

    def on_train_begin(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        held = read_json(self._log) if self._log.is_file() else []
        self.history = [entry for entry in held if entry["step"] <= state.global_step]
        while self.history and not self._best(self._best_step).is_file():
            self.history = [entry for entry in self.history if entry["step"] < self._best_step]

    def on_step_end(  # noqa: D102
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        last = state.global_step == state.max_steps
        if state.global_step % self._validation.every and not last:
            return
        model.eval()
        value = self._validation.measure(model)
        model.train()
        best = max((entry["validation"] for entry in self.history), default=float("-inf"))
        if value > best and distributed.is_main_process():
            save_trained(model, self._best(state.global_step))
        self.history.append({"step": state.global_step, "validation": value})
        if distributed.is_main_process():
            write_json(self._log, self.history)
            # The best but one stays: a training that resumes from before the best needs it.
            bests = sorted(self._folder.glob("best-*.safetensors"), key=lambda f: int(f.stem[5:]))
            for file in bests[:-2]:
                file.unlink()
        if (
            state.global_step - self._best_step
            >= self._validation.patience * self._validation.every
        ):
            control.should_training_stop = True

    def take_best(self, model: Any) -> dict[str, Any]:
        """Put the best weights into the model; which step they are of, and how good."""
        from safetensors.torch import load_file

        model.load_state_dict(load_file(self._best(self._best_step)), strict=False)
        best = next(e for e in self.history if e["step"] == self._best_step)
        return {"best_step": int(best["step"]), "best_validation": round(best["validation"], 5)}

    @property
    def _best_step(self) -> float:
        """The first step with the best value."""
        return max(self.history, key=lambda e: (e["validation"], -e["step"]))["step"]

    def _best(self, step: float) -> Path:
        return self._folder / f"best-{int(step)}.safetensors"


def save_trained(model: Any, file: Path) -> None:
    """Write the weights that training changes as safetensors; the file appears whole or not at all.

    Raises:
        RunError: it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    weights = {
        name: p.detach().cpu().contiguous()
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    make_folder(file.parent)
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        # By the library into a file: as bytes in memory a large model would stand there twice.
        save_file(weights, temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(file)
        fsync_folder(file.parent)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise RunError(
            f"cannot write: {str(error).splitlines()[0]}", where=file, hint="free space"
        ) from error
