"""Reward models of e2h and of other projects: how each encodes a solution and where it scores.

A family turns a question and a solution into tokens and positions, and the features at a position
into P(correct). To add one, write its head and its encoder (``classifiers``, ``causal_models``) and
name them in ``families.FAMILIES``.
"""

from e2h_cli.models.reward_formats.families import FAMILIES, family_of, kind_of, open_reward_model
from e2h_cli.models.reward_formats.interface import EncodedSolution, RewardModel

__all__ = [
    "FAMILIES",
    "EncodedSolution",
    "RewardModel",
    "family_of",
    "kind_of",
    "open_reward_model",
]
