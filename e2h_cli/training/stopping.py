"""Early stopping: measure the model every so often, keep the best weights."""

from __future__ import annotations

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

from e2h_cli import team
from e2h_cli.files import read_json, write_atomic, write_json


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
        if value > best and team.is_main():
            write_atomic(self._best(state.global_step), trained_weights(model))
        self.history.append({"step": state.global_step, "validation": value})
        if team.is_main():
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


def trained_weights(model: Any) -> bytes:
    """The weights that training changes, as safetensors."""
    from safetensors.torch import save

    return save(
        {
            name: p.detach().cpu().contiguous()
            for name, p in model.named_parameters()
            if p.requires_grad
        }
    )
