"""Training: supervised fine-tuning and reward modeling with transformers' Trainer.

``train_model`` trains on a list of ``Row``s (token ids with one label per token), resumes from the
last checkpoint, and saves the model. ``sft_row``, ``reward_row`` and ``pair_rows`` make the rows,
``token_loss`` and ``pair_loss`` are the losses of reward models, and ``auc_validation`` is what
they stop early by. The names below import torch when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "NO_LOSS": "token_rows",
    "Row": "token_rows",
    "Validation": "trainer",
    "auc_validation": "reward_validation",
    "freeze": "trainer",
    "pair_loss": "reward_losses",
    "pair_rows": "reward_rows",
    "reward_row": "reward_rows",
    "sft_row": "sft",
    "token_loss": "reward_losses",
    "train_model": "trainer",
    "with_lora": "trainer",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
