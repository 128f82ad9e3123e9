"""Reinforcement learning of a generator against a reward model."""
