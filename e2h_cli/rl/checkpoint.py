"""Checkpoints of PPO and GRPO, from which a killed run continues as if it had not been killed.

The order of the data and the seeds of the samples depend on seed and step alone, so that no random
state is saved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from e2h_cli.common.errors import RunError
from e2h_cli.common.files import atomic_file
from e2h_cli.rl.policy_update import PolicyUpdater


def save_checkpoint(file: Path, updater: PolicyUpdater[Any], state: dict[str, Any]) -> None:
    """Write trained weights, optimizer states and ``state``, in place of an older checkpoint.

    Raises:
        RunError: it cannot be written. The older checkpoint is still there.
    """
    checkpoint = {
        "state": state,
        "optimizer_steps": updater.optimizer_steps,
        "optimizers": {name: o.state_dict() for name, o in updater.optimizers.items()},
        "weights": {
            name: {key: p.detach() for key, p in model.named_parameters() if p.requires_grad}
            for name, model in updater.models.trained.items()
        },
    }
    try:
        with atomic_file(file) as stream:
            torch.save(checkpoint, stream)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"cannot write: {reason}", where=file, hint="free space") from error


def load_checkpoint(file: Path, updater: PolicyUpdater[Any]) -> dict[str, Any] | None:
    """Load a checkpoint into models and optimizers; returns its ``state``, or None without one."""
    if not file.is_file():
        return None
    checkpoint = torch.load(file, weights_only=True, map_location="cpu")
    for name, model in updater.models.trained.items():
        model.load_state_dict(checkpoint["weights"][name], strict=False)
        updater.optimizers[name].load_state_dict(checkpoint["optimizers"][name])
    updater.optimizer_steps = checkpoint["optimizer_steps"]
    state: dict[str, Any] = checkpoint["state"]
    return state


def load_weights(model: Any, file: Path) -> None:
    """Load weights that ``save_trained`` wrote; weights that are not trained stay."""
    model.load_state_dict(load_file(file), strict=False)
