"""Batched sampling with transformers, for machines without vLLM.

Four things make it faster than ``model.generate(num_return_sequences=N)``: the prompt of a problem
is computed once, not N times; keys and values are written into preallocated blocks instead of being
concatenated at every token; finished samples leave the batch; and on a CPU the attention of a
single new token is two plain matrix products.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    Cache,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    StopStringCriteria,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from e2h_cli.inference.engines.base import (
    Generation,
    Request,
    SamplingParameters,
    cut_at_stop,
    sample_seed,
)
from e2h_cli.inference.engines.block_cache import new_cache

# Finished samples leave when a quarter of the batch is finished: that copies the whole KV cache.
_COMPACT_BELOW = 0.75


class TransformersEngine:
    """Samples from a causal language model, ``batch_size`` samples at a time.

    A sample's noise depends on run seed, problem id and sample number only. So a resumed run draws
    what an unbroken one would have drawn (up to the rounding of batches of other shapes), and it is
    not biased by the short samples that a killed run has finished.
    """

    name = "transformers"

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, *, batch_size: int = 1024
    ) -> None:
        self.model = model.eval()
        if model.device.type == "cpu" and model.config._attn_implementation == "sdpa":
            model.set_attn_implementation(_ATTENTION)
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        eos = model.generation_config.eos_token_id
        if eos is None:
            eos = tokenizer.eos_token_id
        self._eos = torch.tensor(eos, device=model.device).reshape(-1)

    def generate(
        self, requests: Iterable[Request], parameters: SamplingParameters
    ) -> Iterator[list[Generation]]:
        """Yield finished samples as they leave the batch; see ``engines.base.Engine``.

        Requests are sorted by prompt length, so that a batch has little padding. The longest come
        first: what does not fit into memory fails at once, and the remaining time is rather over-
        than underestimated.
        """
        stop = (
            StopStringCriteria(self.tokenizer, list(parameters.stop)) if parameters.stop else None
        )
        prompts = [
            (r, self.tokenizer(r.prompt, add_special_tokens=True).input_ids) for r in requests
        ]
        prompts.sort(key=lambda item: -len(item[1]))
        batch: list[tuple[Request, list[int]]] = []
        size = 0
        for request, ids in prompts:
            if batch and size + len(request.samples) > self.batch_size:
                yield from self._generate_batch(batch, parameters, stop)
                batch, size = [], 0
            batch.append((request, ids))
            size += len(request.samples)
        if batch:
            yield from self._generate_batch(batch, parameters, stop)

    @torch.inference_mode()
    def _generate_batch(
        self,
        prompts: list[tuple[Request, list[int]]],
        parameters: SamplingParameters,
        stop: StopStringCriteria | None,
    ) -> Iterator[list[Generation]]:
        """Samples of requests, given with their prompts' tokens."""
        cache = new_cache(self.model)
        batch, logits = self._prefill(prompts, parameters, cache)
        for step in range(parameters.max_tokens):
            token, logprob = choose(logits, batch.noise[:, step], parameters)
            batch.append(token, logprob, self._eos)
            if stop is not None:
                batch.done = batch.done | stop(batch.ids, None)
            unfinished = int((~batch.done).sum())
            if step + 1 == parameters.max_tokens or unfinished == 0:
                yield self._generations(batch, torch.ones_like(batch.done), parameters)
                return
            if unfinished < _COMPACT_BELOW * len(batch.keys):
                yield self._generations(batch, batch.done, parameters)
                keep = (~batch.done).nonzero().squeeze(1)
                cache.batch_select_indices(keep)
                batch = batch.select(keep)
            logits = self._forward(
                batch.ids[:, -1:], batch.mask, batch.position.unsqueeze(1), cache
            )

    def _prefill(
        self,
        prompts: list[tuple[Request, list[int]]],
        parameters: SamplingParameters,
        cache: Cache,
    ) -> tuple[_Batch, torch.Tensor]:
        """Compute each prompt once into ``cache``, and repeat it for each of its samples.

        Returns:
            The batch, and the logits of the first token, shape (batch, vocabulary).
        """
        device = self.model.device
        length = max(len(ids) for _, ids in prompts)
        padded = any(len(ids) < length for _, ids in prompts)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[pad] * (length - len(i)) + i for _, i in prompts], device=device)
        mask = torch.tensor(
            [[0] * (length - len(i)) + [1] * len(i) for _, i in prompts], device=device
        )
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = self._forward(ids, mask if padded else None, positions, cache)
        counts = torch.tensor([len(request.samples) for request, _ in prompts], device=device)
        # The prompt of each sample.
        owner = torch.repeat_interleave(torch.arange(len(prompts), device=device), counts)
        cache.batch_select_indices(owner)
        batch = _Batch(
            keys=[(r.id, sample) for r, _ in prompts for sample in r.samples],
            noise=torch.cat([_noise(r, parameters) for r, _ in prompts]).to(device),
            mask=mask[owner] if padded else None,
            position=positions[owner, -1],
            ids=torch.empty(len(owner), 0, dtype=torch.long, device=device),
            length=torch.zeros(len(owner), dtype=torch.long, device=device),
            logprob=torch.zeros(len(owner), device=device),
            done=torch.zeros(len(owner), dtype=torch.bool, device=device),
        )
        return batch, logits[owner]

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor, cache: Cache
    ) -> torch.Tensor:
        """Logits at the last position, float32, shape (batch, vocabulary)."""
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()

    def _generations(
        self, batch: _Batch, which: torch.Tensor, parameters: SamplingParameters
    ) -> list[Generation]:
        """Decode the samples of a batch that the boolean mask ``which`` selects."""
        rows = which.nonzero().squeeze(1).tolist()
        eos = set(self._eos.tolist())
        columns = (batch.ids, batch.length, batch.logprob, batch.done)
        all_ids, lengths, logprobs, stopped = (column[which].tolist() for column in columns)
        ids = [tokens[:length] for tokens, length in zip(all_ids, lengths, strict=True)]
        texts = self.tokenizer.batch_decode(
            [tokens[:-1] if tokens[-1] in eos else tokens for tokens in ids],
            skip_special_tokens=True,
        )
        return [
            Generation(
                id=batch.keys[row][0],
                sample=batch.keys[row][1],
                text=cut_at_stop(text, parameters.stop),
                finish_reason="stop" if done else "length",
                tokens=length,
                logprob=logprob if parameters.logprob else None,
                ids=tuple(tokens),
            )
            for row, text, tokens, length, logprob, done in zip(
                rows, texts, ids, lengths, logprobs, stopped, strict=True
            )
        ]


@dataclass
class _Batch:
    """The samples that are being generated. First dimension of all tensors: the samples."""

    keys: list[tuple[str, int]]  # (problem id, sample number)
    noise: torch.Tensor  # (batch, max_tokens), uniform in [0, 1)
    mask: torch.Tensor | None  # (batch, tokens so far); None if no prompt is padded
    position: torch.Tensor  # (batch,), of the last token
    ids: torch.Tensor  # (batch, tokens generated)
    length: torch.Tensor  # (batch,), tokens up to the one that ended the sample, including it
    logprob: torch.Tensor  # (batch,), sum over these tokens
    done: torch.Tensor  # (batch,), whether the sample has ended

    def append(self, token: torch.Tensor, logprob: torch.Tensor, eos: torch.Tensor) -> None:
        """Add one token per sample; tokens after the end of a sample do not count."""
        self.ids = torch.cat([self.ids, token.unsqueeze(1)], dim=1)
        self.length = self.length + ~self.done
        self.logprob = self.logprob + logprob.masked_fill(self.done, 0.0)
        self.done = self.done | torch.isin(token, eos)
        self.position = self.position + 1
        if self.mask is not None:
            self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)

    def select(self, keep: torch.Tensor) -> _Batch:
        """The samples with indices ``keep``."""
        selected: dict[str, Any] = {"keys": [self.keys[row] for row in keep.tolist()]}
        for field in fields(self)[1:]:
            tensor = getattr(self, field.name)
            selected[field.name] = None if tensor is None else tensor[keep]
        return _Batch(**selected)


def choose(
    logits: torch.Tensor, noise: torch.Tensor, parameters: SamplingParameters
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample one token per row, by inverting the cumulative distribution at ``noise``.

    Args:
        logits: (batch, vocabulary), float32.
        noise: (batch,), uniform in [0, 1); not used at temperature 0.
        parameters: temperature, then top-k, top-p and min-p in that order, as vLLM applies them.

    Returns:
        Tokens (batch,) and their log-probabilities (batch,) at temperature 1.
    """
    if parameters.temperature == 0:
        token = logits.argmax(-1)
    else:
        k = min(parameters.top_k or logits.shape[-1], logits.shape[-1])
        top, index = torch.topk(logits / parameters.temperature, k)
        probability = top.softmax(-1)
        if parameters.top_p < 1:
            before = probability.cumsum(-1) - probability
            probability = probability.masked_fill(before >= parameters.top_p, 0.0)
        if parameters.min_p > 0:
            floor = parameters.min_p * probability[:, :1]
            probability = probability.masked_fill(probability < floor, 0.0)
        cumulative = probability.cumsum(-1)
        target = noise.unsqueeze(1) * cumulative[:, -1:]
        position = torch.searchsorted(cumulative, target, right=True).clamp(max=k - 1)
        token = index.gather(1, position).squeeze(1)
    logprob = logits.gather(1, token.unsqueeze(1)).squeeze(1) - logits.logsumexp(-1)
    return token, logprob


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one new token per sample, shape (batch, heads, 1, size), over unpadded keys.

    On a CPU the kernel of PyTorch takes one and a half times as long. Everything else (prompts,
    padded batches) goes to that kernel.
    """
    batch, heads, tokens, size = query.shape
    if tokens > 1 or attention_mask is not None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return output, None
    grouped = query.reshape(batch, key.shape[1], heads // key.shape[1], size)
    weights = grouped @ key.transpose(-1, -2) * (size**-0.5 if scaling is None else scaling)
    mixed = weights.softmax(-1, dtype=torch.float32).to(value.dtype) @ value
    return mixed.reshape(batch, 1, heads, size), None


_ATTENTION = "e2h_single_token"
AttentionInterface.register(_ATTENTION, _attention)
AttentionMaskInterface.register(_ATTENTION, sdpa_mask)


def _noise(request: Request, parameters: SamplingParameters) -> torch.Tensor:
    """Shape (samples, max_tokens), uniform in [0, 1); the same for a sample in every run."""
    if parameters.temperature == 0:
        return torch.zeros(len(request.samples), parameters.max_tokens)
    rows = []
    for sample in request.samples:
        seed = sample_seed(request.run_seed, request.id, sample)
        rows.append(
            torch.rand(parameters.max_tokens, generator=torch.Generator().manual_seed(seed))
        )
    return torch.stack(rows)
