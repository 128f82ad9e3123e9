"""What a killed run needs to go on with the same trajectory, whole or not there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from e2h_cli.common.errors import RunError
from e2h_cli.common.files import atomic_file, fsync_folder, write_atomic
from e2h_cli.rl.policy_update import Learner
from e2h_cli.training.checkpoints import save_trained

_STATE = "state.json"


class Checkpoints:
    """Trained weights, optimisers and the log so far; the newest whole one is kept.

    Data order and the noise of solutions depend on seed and step alone, so they need no state.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, learner: Learner, state: dict[str, Any]) -> None:
        """Write everything under ``state["step"]``, then drop what is older.

        Raises:
            RunError: it cannot be written. The older checkpoint is still there.
        """
        try:
            self._save(learner, state)
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(
                f"cannot write a checkpoint: {reason}",
                where=self._folder,
                hint="free space; the same command goes on from the one before",
            ) from error

    def _save(self, learner: Learner, state: dict[str, Any]) -> None:
        name = f"checkpoint-{state['step']}"
        place = self._folder / f"{name}.partial"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        for model, weights in learner.models().items():
            save_trained(weights, place / f"{model}.safetensors")
            with atomic_file(place / f"{model}.optimiser.pt") as file:
                torch.save(learner.optimisers[model].state_dict(), file)
        write_atomic(place / _STATE, json.dumps({**state, "update": learner.update}))
        shutil.rmtree(self._folder / name, ignore_errors=True)
        place.rename(self._folder / name)
        fsync_folder(self._folder)
        for old in self._folder.glob("checkpoint-*"):
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)

    def load(self, learner: Learner) -> dict[str, Any] | None:
        """Put the newest whole checkpoint into models and optimisers; its state, or None."""
        whole = {
            int(match[1]): path
            for path in self._folder.glob("checkpoint-*")
            if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
        }
        if not whole:
            return None
        place = whole[max(whole)]
        for name, model in learner.models().items():
            load_weights(model, place / f"{name}.safetensors")
            held = torch.load(place / f"{name}.optimiser.pt", weights_only=True, map_location="cpu")
            learner.optimisers[name].load_state_dict(held)
        state: dict[str, Any] = json.loads((place / _STATE).read_text())
        learner.update = state.pop("update")
        return state


def load_weights(model: Any, file: Path) -> None:
    """Put weights that ``save_trained`` wrote into a model; what was not trained stays."""
    model.load_state_dict(load_file(file), strict=False)
