"""Reinforcement learning of a generator: PPO, GRPO, ReST-EM and iterative DPO.

``rewards``: step scores and answers to rewards; ``advantages`` and ``losses``: pure functions of
PPO and GRPO; ``on_policy`` and ``iterated``: the training loops; ``checkpoint_selection``: which
checkpoint is the best.
"""

import lazy_loader

# Imported on first use, since most modules import torch.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "rewards": ["Rewards", "rewards_of", "running_minimum", "differences", "format_cost"],
        "advantages": ["gae", "whiten", "token_kl", "group_advantages", "group_step_advantages"],
        "checkpoint_selection": ["ValidationSet", "best_checkpoint", "compare_rules"],
        "run_log": ["plot_training"],
        "on_policy": ["OnPolicyTrainer"],
        "ppo": ["PPOUpdater"],
        "grpo": ["GRPOUpdater"],
        "iterated": ["ScoredSolution"],
        "rest_em": ["RestEMTrainer", "right_solutions"],
        "dpo": ["IterativeDPOTrainer", "preference_pairs"],
    },
)
