"""Sampling with engines, scoring with reward models, and the processes that share the work."""
