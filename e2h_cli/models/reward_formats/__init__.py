"""Reward models of e2h and of other projects: how each encodes a solution and where it scores.

A family turns a question and a solution into tokens and positions, and the features at a position
into P(correct). One module per family; to add one, write its ``load`` and name it in
``families.FAMILIES``.
"""

from e2h_cli.models.reward_formats.families import FAMILIES, family_of, kind_of, open_reward_model
from e2h_cli.models.reward_formats.interface import Backbone, EncodedSolution, Head, RewardModel

__all__ = [
    "FAMILIES",
    "Backbone",
    "EncodedSolution",
    "Head",
    "RewardModel",
    "family_of",
    "kind_of",
    "open_reward_model",
]
