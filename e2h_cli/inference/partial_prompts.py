"""Sampling that continues the first parts of questions, as plain text without a template."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

from e2h_cli.inference.engines.base import Request
from e2h_cli.inference.sampling import SamplingJob


@dataclass(frozen=True, slots=True)
class PartialPromptJob(SamplingJob):
    """A job whose prompts are what its problems begin with (``begun``), and nothing else."""

    def missing(self, done: Set[tuple[str, int]]) -> list[Request]:
        """Requests for the samples of this job that are not in ``done``."""
        requests = SamplingJob.missing(self, done)
        return [replace(request, prompt=self.begun[request.id]) for request in requests]
