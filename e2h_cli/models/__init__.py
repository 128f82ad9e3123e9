"""Loading generators and reward models of any family, and encoding solutions for them.

``load_generator``, ``load_tokenizer``: a causal language model and its tokenizer.
``open_reward_model``: a reward model of any family. ``encode``: a solution as tokens, with the
positions at which its steps and its outcome are scored. The names below import torch when they are
first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "EncodedSolution": "reward_formats",
    "RewardModel": "reward_formats",
    "encode": "token_spans",
    "family_of": "reward_formats",
    "kind_of": "reward_formats",
    "load_generator": "loading",
    "load_reward_model": "reward_model",
    "load_tokenizer": "loading",
    "new_reward_model": "reward_model",
    "open_reward_model": "reward_formats",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
