"""Batched sampling with plain transformers, for machines without vLLM.

Four things make it faster than ``model.generate(num_return_sequences=N)``: the prompt of a problem
is computed once, not N times; keys and values are written into preallocated blocks instead of being
concatenated at every token; rows that are finished leave the batch; and on a CPU the attention of a
single new token is two plain matrix products.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    Cache,
    DynamicCache,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    StopStringCriteria,
)
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from e2h_cli.inference.engines.base import Decoding, Generation, Request, cut, sample_seed

# Rows leave when a quarter of the batch is finished: compacting moves the whole cache.
_COMPACT_BELOW = 0.75
_BLOCK = 32


class TransformersEngine:
    """Samples from a causal language model, ``rows`` samples at a time.

    Each row draws its tokens from noise that depends on run seed, problem and sample number alone.
    So a resumed run draws what an unbroken one would have drawn (up to the rounding of differently
    shaped batches), and the short solutions that a killed run kept bias nothing.
    """

    name = "transformers"

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, *, rows: int = 1024
    ) -> None:
        self.model = model.eval()
        if model.device.type == "cpu" and model.config._attn_implementation == "sdpa":
            model.set_attn_implementation(_ATTENTION)
        self.tokenizer = tokenizer
        self.rows = rows
        eos = model.generation_config.eos_token_id
        if eos is None:
            eos = tokenizer.eos_token_id
        self._eos = torch.tensor(eos, device=model.device).reshape(-1)

    def generate(
        self, requests: Iterable[Request], decoding: Decoding
    ) -> Iterator[list[Generation]]:
        """Yield finished samples as they leave the batch; see ``engines.base.Engine``.

        Requests of equal prompt length share a batch without padding where there are enough of
        them, so they are sorted by length, the longest first: what does not fit into memory fails
        at once, and the time left is rather over- than underestimated.
        """
        self._stopped = (
            StopStringCriteria(self.tokenizer, list(decoding.stop)) if decoding.stop else None
        )
        prompts = [
            (r, self.tokenizer(r.prompt, add_special_tokens=True).input_ids) for r in requests
        ]
        prompts.sort(key=lambda item: -len(item[1]))
        wave: list[tuple[Request, list[int]]] = []
        size = 0
        for request, ids in prompts:
            if wave and size + len(request.samples) > self.rows:
                yield from self._wave(wave, decoding)
                wave, size = [], 0
            wave.append((request, ids))
            size += len(request.samples)
        if wave:
            yield from self._wave(wave, decoding)

    @torch.inference_mode()
    def _wave(
        self, wave: list[tuple[Request, list[int]]], decoding: Decoding
    ) -> Iterator[list[Generation]]:
        device = self.model.device
        length = max(len(ids) for _, ids in wave)
        padded = any(len(ids) < length for _, ids in wave)
        pad = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[pad] * (length - len(i)) + i for _, i in wave], device=device)
        mask = torch.tensor(
            [[0] * (length - len(i)) + [1] * len(i) for _, i in wave], device=device
        )
        positions = (mask.cumsum(1) - 1).clamp(min=0)

        cache = _new_cache(self.model)
        logits = self._forward(ids, mask if padded else None, positions, cache)
        counts = torch.tensor([len(request.samples) for request, _ in wave], device=device)
        owner = torch.repeat_interleave(torch.arange(len(wave), device=device), counts)
        cache.batch_select_indices(owner)
        batch = _Batch(
            key=[(r.id, sample) for r, _ in wave for sample in r.samples],
            noise=torch.cat([_noise(r, decoding) for r, _ in wave]).to(device),
            mask=mask[owner] if padded else None,
            position=positions[owner, -1],
            written=torch.empty(len(owner), 0, dtype=torch.long, device=device),
            length=torch.zeros(len(owner), dtype=torch.long, device=device),
            logprob=torch.zeros(len(owner), device=device),
            done=torch.zeros(len(owner), dtype=torch.bool, device=device),
        )
        logits = logits[owner]
        for step in range(decoding.max_tokens):
            token, logprob = choose(logits, batch.noise[:, step], decoding)
            batch.append(token, logprob, self._eos)
            if self._stopped is not None:
                batch.done = batch.done | self._stopped(batch.written, None)
            last = step + 1 == decoding.max_tokens
            alive = int((~batch.done).sum())
            if last or alive == 0:
                yield self._finished(batch, torch.ones_like(batch.done), decoding)
                return
            if alive < _COMPACT_BELOW * len(batch.key):
                yield self._finished(batch, batch.done, decoding)
                keep = (~batch.done).nonzero().squeeze(1)
                cache.batch_select_indices(keep)
                batch = batch.select(keep)
            logits = self._forward(
                batch.written[:, -1:], batch.mask, batch.position.unsqueeze(1), cache
            )

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor, cache: Cache
    ) -> torch.Tensor:
        """Logits of the last position, float32, shape (rows, vocabulary)."""
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()

    def _finished(self, batch: _Batch, which: torch.Tensor, decoding: Decoding) -> list[Generation]:
        rows = which.nonzero().squeeze(1).tolist()
        eos = set(self._eos.tolist())
        columns = (batch.written, batch.length, batch.logprob, batch.done)
        written, lengths, logprobs, stopped = (column[which].tolist() for column in columns)
        ids = [tokens[:length] for tokens, length in zip(written, lengths, strict=True)]
        texts = self.tokenizer.batch_decode(
            [tokens[:-1] if tokens[-1] in eos else tokens for tokens in ids],
            skip_special_tokens=True,
        )
        return [
            Generation(
                id=batch.key[row][0],
                sample=batch.key[row][1],
                text=cut(text, decoding.stop),
                finish_reason="stop" if done else "length",
                tokens=length,
                logprob=logprob if decoding.logprob else None,
                ids=tuple(tokens),
            )
            for row, text, tokens, length, logprob, done in zip(
                rows, texts, ids, lengths, logprobs, stopped, strict=True
            )
        ]


@dataclass
class _Batch:
    """The rows that are being written. All tensors have one entry per row."""

    key: list[tuple[str, int]]
    noise: torch.Tensor  # (rows, max_tokens) uniform in [0, 1)
    mask: torch.Tensor | None  # (rows, tokens so far), None where no prompt is padded
    position: torch.Tensor
    written: torch.Tensor  # (rows, tokens written)
    length: torch.Tensor  # tokens up to the one that ended the row, itself included
    logprob: torch.Tensor
    done: torch.Tensor

    def append(self, token: torch.Tensor, logprob: torch.Tensor, eos: torch.Tensor) -> None:
        self.written = torch.cat([self.written, token.unsqueeze(1)], dim=1)
        self.length = self.length + ~self.done
        self.logprob = self.logprob + logprob.masked_fill(self.done, 0.0)
        self.done = self.done | torch.isin(token, eos)
        self.position = self.position + 1
        if self.mask is not None:
            self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)

    def select(self, keep: torch.Tensor) -> _Batch:
        return _Batch(
            key=[self.key[row] for row in keep.tolist()],
            noise=self.noise[keep],
            mask=None if self.mask is None else self.mask[keep],
            position=self.position[keep],
            written=self.written[keep],
            length=self.length[keep],
            logprob=self.logprob[keep],
            done=self.done[keep],
        )


def choose(
    logits: torch.Tensor, noise: torch.Tensor, decoding: Decoding
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pick one token per row by inverting the cumulative distribution at ``noise``.

    Args:
        logits: (rows, vocabulary), float32.
        noise: (rows,), uniform in [0, 1); not used at temperature 0.
        decoding: temperature, then top-k, top-p and min-p in that order, as vLLM applies them.

    Returns:
        Tokens (rows,) and their log-probabilities (rows,) under the model at temperature 1.
    """
    if decoding.temperature == 0:
        token = logits.argmax(-1)
    else:
        k = min(decoding.top_k or logits.shape[-1], logits.shape[-1])
        top, index = torch.topk(logits / decoding.temperature, k)
        probability = top.softmax(-1)
        if decoding.top_p < 1:
            before = probability.cumsum(-1) - probability
            probability = probability.masked_fill(before >= decoding.top_p, 0.0)
        if decoding.min_p > 0:
            floor = decoding.min_p * probability[:, :1]
            probability = probability.masked_fill(probability < floor, 0.0)
        cumulative = probability.cumsum(-1)
        target = noise.unsqueeze(1) * cumulative[:, -1:]
        place = torch.searchsorted(cumulative, target, right=True).clamp(max=k - 1)
        token = index.gather(1, place).squeeze(1)
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
    """Attention of one new token per row, (rows, heads, 1, size), over unpadded keys.

    On a CPU the library's kernel takes one and a half times as long for it. Everything else (whole
    prompts, padded rows) goes to that kernel.
    """
    rows, heads, tokens, size = query.shape
    if tokens > 1 or attention_mask is not None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return output, None
    grouped = query.reshape(rows, key.shape[1], heads // key.shape[1], size)
    weights = grouped @ key.transpose(-1, -2) * (size**-0.5 if scaling is None else scaling)
    mixed = weights.softmax(-1, dtype=torch.float32).to(value.dtype) @ value
    return mixed.reshape(rows, 1, heads, size), None


_ATTENTION = "e2h_single_token"
AttentionInterface.register(_ATTENTION, _attention)
AttentionMaskInterface.register(_ATTENTION, sdpa_mask)


def _noise(request: Request, decoding: Decoding) -> torch.Tensor:
    """(samples, max_tokens) uniform in [0, 1)."""
    if decoding.temperature == 0:
        return torch.zeros(len(request.samples), decoding.max_tokens)
    rows = []
    for sample in request.samples:
        seed = sample_seed(request.run_seed, request.id, sample)
        rows.append(torch.rand(decoding.max_tokens, generator=torch.Generator().manual_seed(seed)))
    return torch.stack(rows)


def _new_cache(model: PreTrainedModel) -> Cache:
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"} or getattr(config, "sliding_window", None):
        return DynamicCache(config=config)
    return Cache(layers=[_BlockLayer() for _ in range(config.num_hidden_layers)])


class _BlockLayer(DynamicLayer):
    """A dynamic layer that grows by blocks: most tokens are written in place, not concatenated."""

    keys: torch.Tensor
    values: torch.Tensor

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._room: tuple[torch.Tensor, torch.Tensor] | None = None
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if self._room is None or end > self._room[0].shape[-2]:
            self._room = (
                self._grown(self.keys, key_states, start, end),
                self._grown(self.values, value_states, start, end),
            )
        keys, values = self._room
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    @staticmethod
    def _grown(old: torch.Tensor, new: torch.Tensor, start: int, end: int) -> torch.Tensor:
        capacity = -(-(end + 1) // _BLOCK) * _BLOCK
        room = new.new_empty(*new.shape[:2], capacity, new.shape[-1])
        if start:
            room[:, :, :start] = old
        return room

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        super().batch_select_indices(indices)
        self._room = None
