"""Reinforcement learning of a generator: PPO, GRPO, ReST-EM and iterative DPO.

``rewards``: step scores and answers to rewards; ``advantages`` and ``losses``: pure functions of
PPO and GRPO; ``preference_data``: training data of ReST-EM and DPO; ``on_policy`` and ``iterated``:
the training loops; ``checkpoint_selection``: which checkpoint is the best.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "rewards": ("Rewards", "rewards_of", "running_minimum", "differences", "format_cost"),
    "advantages": ("gae", "whiten", "token_kl", "group_advantages", "group_step_advantages"),
    "preference_data": ("ScoredSolution", "right_solutions", "preference_pairs"),
    "checkpoint_selection": ("ValidationSet", "best_checkpoint", "compare_rules"),
    "run_log": ("plot_training",),
    "on_policy": ("OnPolicyTrainer",),
    "ppo": ("PPOUpdater",),
    "grpo": ("GRPOUpdater",),
    "rest_em": ("RestEMTrainer",),
    "dpo": ("IterativeDPOTrainer",),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    # Loaded when used, since most modules import torch.
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
