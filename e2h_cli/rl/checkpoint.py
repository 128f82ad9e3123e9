"""Checkpoints of PPO and GRPO, from which a killed run continues as if it had not been killed."""

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
from e2h_cli.rl.policy_update import PolicyUpdater
from e2h_cli.training.early_stopping import save_trained

_STATE = "state.json"


class Checkpoints:
    """Trained weights, optimizer states and the log; only the newest complete checkpoint is kept.

    The order of the data and the seeds of the samples depend on seed and step alone, so that no
    random state is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, updater: PolicyUpdater[Any], state: dict[str, Any]) -> None:
        """Write a checkpoint of step ``state["step"]``, then remove the older one.

        Raises:
            RunError: it cannot be written. The older checkpoint is still there.
        """
        try:
            self._save(updater, state)
        except (OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(
                f"cannot write a checkpoint: {reason}",
                where=self._folder,
                hint="free space; the same command goes on from the one before",
            ) from error

    def _save(self, updater: PolicyUpdater[Any], state: dict[str, Any]) -> None:
        folder = self._folder / f"checkpoint-{state['step']}"
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, model in updater.models.trained.items():
            save_trained(model, partial / f"{name}.safetensors")
            with atomic_file(partial / f"{name}.optimizer.pt") as file:
                torch.save(updater.optimizers[name].state_dict(), file)
        state = {**state, "optimizer_steps": updater.optimizer_steps}
        write_atomic(partial / _STATE, json.dumps(state))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        fsync_folder(self._folder)
        for other in self._folder.glob("checkpoint-*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)

    def load(self, updater: PolicyUpdater[Any]) -> dict[str, Any] | None:
        """Load the newest checkpoint into models and optimizers; its state, or None."""
        complete = {
            int(match[1]): path
            for path in self._folder.glob("checkpoint-*")
            if (match := re.fullmatch(r"checkpoint-(\d+)", path.name))
        }
        if not complete:
            return None
        folder = complete[max(complete)]
        for name, model in updater.models.trained.items():
            load_weights(model, folder / f"{name}.safetensors")
            saved = torch.load(
                folder / f"{name}.optimizer.pt", weights_only=True, map_location="cpu"
            )
            updater.optimizers[name].load_state_dict(saved)
        state: dict[str, Any] = json.loads((folder / _STATE).read_text())
        updater.optimizer_steps = state.pop("optimizer_steps")
        return state


def load_weights(model: Any, file: Path) -> None:
    """Load weights that ``save_trained`` wrote; weights that are not trained stay."""
    model.load_state_dict(load_file(file), strict=False)
