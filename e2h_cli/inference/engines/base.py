"""The interface of all engines: requests and sampling parameters in, generations out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

FinishReason = Literal["stop", "length"]

MAX_SAMPLES_PER_REQUEST = 64


@dataclass(frozen=True, slots=True)
class SamplingParameters:
    """How tokens are sampled; the words are those of vLLM's ``SamplingParams``.

    Attributes:
        temperature: 0 is greedy.
        top_k: 0 is off.
        top_p: 1 is off.
        min_p: 0 is off.
        max_tokens: longest sample in tokens.
        stop: texts that end a sample besides the end-of-text token; cut off from it.
        logprob: compute log-probabilities; costs vLLM a tenth of its speed.
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
    """Samples to draw for one problem: its id, the samples' numbers, prompt, seed of the run."""

    id: str
    samples: tuple[int, ...]
    prompt: str
    run_seed: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One finished sample.

    Attributes:
        id: of the problem.
        sample: its number among the samples of the problem.
        text: without end-of-text token or stop text.
        finish_reason: "length" if it was cut off at ``max_tokens``.
        tokens: number of generated tokens, including those that ended it.
        logprob: sum of the tokens' log-probabilities at temperature 1; None if not computed.
        ids: the generated tokens, including those that ended it.
    """

    id: str
    sample: int
    text: str
    finish_reason: FinishReason
    tokens: int
    logprob: float | None
    ids: tuple[int, ...] = ()


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


def decode_samples(
    tokenizer: PreTrainedTokenizerFast,
    samples: Sequence[tuple[tuple[str, int], list[int], bool, bool, float | None]],
    stop: Iterable[str],
) -> list[Generation]:
    """Decode finished samples.

    ``samples``: ((problem id, sample number), tokens, whether the last token is the end-of-text
    token, whether it has ended before ``max_tokens``, log-probability).
    """
    ids = [tokens[:-1] if by_eos else tokens for _, tokens, by_eos, _, _ in samples]
    generations = []
    for text, (key, tokens, _, done, logprob) in zip(
        tokenizer.batch_decode(ids, skip_special_tokens=True), samples, strict=True
    ):
        end = min((i for s in stop if (i := text.find(s)) >= 0), default=len(text))
        reason: FinishReason = "stop" if done else "length"
        generations.append(
            Generation(*key, text[:end], reason, len(tokens), logprob, tuple(tokens))
        )
    return generations
