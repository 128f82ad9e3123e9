"""Reinforcement learning of a generator: PPO, GRPO, ReST-EM and iterative DPO.

Rewards: ``rewards_of``, ``running_minimum``, ``differences``, ``format_cost``. Advantages: ``gae``,
``whiten``, ``token_kl``, ``group_advantages``, ``group_step_advantages``. Training data:
``right_solutions``, ``preference_pairs``. Training: ``OnPolicyTrainer`` with ``PPOUpdater`` or
``GRPOUpdater``, ``RestEMTrainer``, ``IterativeDPOTrainer``. Checkpoints: ``ValidationSet``,
``best_checkpoint``, ``compare_rules``, ``plot_training``.
"""

from importlib import import_module
from typing import Any

_MODULES = {
    "OnPolicyTrainer": "on_policy",
    "PPOUpdater": "ppo",
    "GRPOUpdater": "grpo",
    "RestEMTrainer": "rest_em",
    "IterativeDPOTrainer": "dpo",
    "Rewards": "rewards",
    "rewards_of": "rewards",
    "running_minimum": "rewards",
    "differences": "rewards",
    "format_cost": "rewards",
    "gae": "advantages",
    "whiten": "advantages",
    "token_kl": "advantages",
    "group_advantages": "advantages",
    "group_step_advantages": "advantages",
    "ScoredSolution": "preference_data",
    "right_solutions": "preference_data",
    "preference_pairs": "preference_data",
    "ValidationSet": "checkpoint_selection",
    "best_checkpoint": "checkpoint_selection",
    "compare_rules": "checkpoint_selection",
    "plot_training": "run_log",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    # Loaded when used, since most modules import torch.
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
