"""What every engine is given, and what it gives back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["stop", "length"]

MAX_SAMPLES_PER_REQUEST = 64


@dataclass(frozen=True, slots=True)
class Decoding:
    """How tokens are chosen, and when a solution ends.

    ``temperature`` 0 is greedy; ``top_k`` 0, ``top_p`` 1 and ``min_p`` 0 are off. ``stop``: texts
    that end a solution besides the end-of-text token; they are no part of it. ``logprob``: whether
    the samples' log-probabilities are wanted, which costs vLLM a tenth of its speed.
    """

    temperature: float = 0.7
    top_k: int = 20
    top_p: float = 1.0
    min_p: float = 0.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    logprob: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """Samples of one problem, by their numbers, in a run with a seed."""

    id: str
    samples: tuple[int, ...]
    prompt: str
    run_seed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One finished sample.

    ``tokens``: how many were written, those that ended it included; ``logprob``: sum of their
    natural log-probabilities under the model at temperature 1, or None where it was not asked for;
    ``ids``: the tokens themselves, those that ended it included.
    """

    id: str
    sample: int
    text: str
    finish_reason: FinishReason
    tokens: int
    logprob: float | None
    ids: tuple[int, ...] = ()


class Engine(Protocol):
    """Writes samples for requests; yields them as they are finished, in any order."""

    name: str

    def generate(
        self, requests: Iterable[Request], decoding: Decoding
    ) -> Iterator[list[Generation]]:
        """Yield small lists of finished samples until every request is done."""
        ...


def sample_seed(run_seed: int, problem: str, sample: int) -> int:
    """A seed of 63 bits that no other (run, problem, sample number) shares.

    So shards of one run never draw the same noise; in the official code all ranks share one seed
    and write the same samples.
    """
    digest = hashlib.sha256(f"{run_seed}\x00{problem}\x00{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def cut(text: str, stop: tuple[str, ...]) -> str:
    """A text up to the first of the stop texts."""
    ends = [place for mark in stop if (place := text.find(mark)) >= 0]
    return text[: min(ends)] if ends else text
