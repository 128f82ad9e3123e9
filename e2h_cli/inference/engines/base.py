"""The interface of all engines: requests and sampling parameters in, generations out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FinishReason = Literal["stop", "length"]

# ((problem id, sample number), tokens, whether the last one is the end-of-text token, whether the
# sample has ended before ``max_tokens``, log-probability)
FinishedSample = tuple[tuple[str, int], list[int], bool, bool, float | None]

MAX_SAMPLES_PER_REQUEST = 64


@dataclass(frozen=True, slots=True)
class SamplingParameters:
    """How tokens are sampled; the words are those of vLLM's ``SamplingParams``."""

    temperature: float = 0.7  # 0 is greedy
    top_k: int = 20  # 0 is off
    top_p: float = 1.0  # 1 is off
    min_p: float = 0.0  # 0 is off
    max_tokens: int = 512
    stop: tuple[str, ...] = ()  # texts that end a sample besides the end-of-text token
    stop_token_ids: tuple[int, ...] = ()  # tokens that end a sample besides the model's own
    logprob: bool = False  # compute log-probabilities; costs vLLM a tenth of its speed
    # Whether each sample has its own seed, which vLLM's fast samplers do not take. Without, the
    # noise is the engine's own.
    seed_per_sample: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """Samples to draw for one problem."""

    id: str  # of the problem
    samples: tuple[int, ...]  # their numbers
    prompt: str
    run_seed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One finished sample. Its tokens include those that ended it, its text does not."""

    id: str  # of the problem
    sample: int  # its number among the samples of the problem
    text: str
    finish_reason: FinishReason  # "length" if it was cut off at ``max_tokens``
    tokens: int  # number of generated tokens
    logprob: float | None  # sum over the tokens, at temperature 1; None if not computed
    ids: tuple[int, ...] = ()  # the generated tokens


class Engine(Protocol):
    """Generates samples; yields them as they are finished, in any order."""

    name: str

    def generate(
        self, requests: Iterable[Request], parameters: SamplingParameters
    ) -> Iterator[list[Generation]]:
        """Yield small lists of finished samples until all requests are done."""
        ...


def sample_seed(run_seed: int, problem_id: str, sample: int) -> int:
    """A 63-bit seed for one sample: a hash of run seed, problem id and sample number.

    So shards never share noise. In the official code all ranks have one seed and draw the same.
    """
    digest = hashlib.sha256(f"{run_seed}\x00{problem_id}\x00{sample}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class WholeWaves:
    """Keeps finished samples back until all samples of their wave of requests are finished.

    Samples without a seed of their own are drawn anew after a kill. If single samples were kept,
    the short ones would be: they are finished sooner. Of waves of some thousand samples all take
    about as long, so that what is kept does not depend on lengths.
    """

    def __init__(self, requests: Sequence[Request], size: int) -> None:
        # All samples of a request are of one block of numbers.
        self._wave = {_block(r.id, r.samples[0]): i // size for i, r in enumerate(requests)}
        self._missing: Counter[int] = Counter()
        for request in requests:
            self._missing[self._wave[_block(request.id, request.samples[0])]] += len(
                request.samples
            )
        self._finished: dict[int, list[Generation]] = {}

    def add(self, generations: Iterable[Generation]) -> list[Generation]:
        """Finished samples of waves that are whole now."""
        whole = []
        for generation in generations:
            wave = self._wave[_block(generation.id, generation.sample)]
            self._finished.setdefault(wave, []).append(generation)
            self._missing[wave] -= 1
            if not self._missing[wave]:
                whole += self._finished.pop(wave)
        return whole


def _block(problem_id: str, sample: int) -> tuple[str, int]:
    return problem_id, sample // MAX_SAMPLES_PER_REQUEST


def decode_samples(
    tokenizer: PreTrainedTokenizerFast, samples: Sequence[FinishedSample], stop: Iterable[str]
) -> list[Generation]:
    """Decode finished samples, and cut them at the first of the ``stop`` texts."""
    ids = [tokens[:-1] if by_eos else tokens for _, tokens, by_eos, _, _ in samples]
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    generations = []
    for text, (key, tokens, _, done, logprob) in zip(texts, samples, strict=True):
        text = text[: min((i for s in stop if (i := text.find(s)) >= 0), default=None)]
        reason: FinishReason = "stop" if done else "length"
        generations.append(Generation(*key, text, reason, len(tokens), logprob, tuple(tokens)))
    return generations
