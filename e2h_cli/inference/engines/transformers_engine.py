"""Batched sampling with transformers, for machines without vLLM.

Five things make it faster than ``model.generate(num_return_sequences=N)``: samples of a problem are
computed once as long as they are the same, prompt and first tokens (``Rows``); keys and values are
written into preallocated blocks instead of being concatenated at every token; finished samples
leave the batch; and on a CPU the attention of a single new token is two plain matrix products, and
large weight matrices are in oneDNN's layout.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
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

from e2h_cli.common.errors import InputError
from e2h_cli.inference.engines.base import (
    Generation,
    Request,
    SamplingParameters,
    decode_samples,
    sample_seed,
)
from e2h_cli.inference.engines.block_cache import new_cache
from e2h_cli.inference.engines.packed_weights import PackedWeights
from e2h_cli.inference.engines.prefix_rows import Rows

Prompts = list[tuple[Request, list[int]]]  # with their tokens
# Finished samples leave when a quarter of the batch is finished.
_LEAVE_BELOW = 0.75
# Most samples at a time, as a multiple of the rows of the KV cache, where they are few of one kind.
_MOST_PER_ROW = 16


class TransformersEngine:
    """Samples from a causal language model, with ``batch_size`` rows of the KV cache.

    Samples share a row as long as they have the same tokens. How many are generated at a time
    follows from how many rows those before have needed. Where they need more after all, the samples
    of some prompts are put off, and lose what they have.

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
        than underestimated. Raises InputError for a stop text that the model cannot write.
        """
        texts = list(parameters.stop)
        try:
            stop = StopStringCriteria(self.tokenizer, texts) if texts else None
        except ValueError as error:
            raise InputError(
                f"the model has no tokens for a stop text: {', '.join(map(repr, texts))}",
                hint="take another --stop or --prompt, or another model",
            ) from error
        weights = PackedWeights(self.model)
        prompts = [(r, self.tokenizer(r.prompt).input_ids) for r in requests]
        prompts.sort(key=lambda item: -len(item[1]))
        capacity = self.batch_size
        while prompts:
            batch: Prompts = [prompts.pop(0)]
            size = len(batch[0][0].samples)
            while prompts and size + len(prompts[0][0].samples) <= capacity:
                batch.append(prompts.pop(0))
                size += len(batch[-1][0].samples)
            rows, put_off = yield from self._generate_batch(batch, parameters, stop, weights)
            prompts = put_off + prompts
            # Half of the rows stay free for prompts whose samples differ more.
            expected = self.batch_size * size // (2 * rows)
            capacity = max(min(expected, _MOST_PER_ROW * self.batch_size), self.batch_size)

    @torch.inference_mode()
    def _generate_batch(
        self,
        prompts: Prompts,
        parameters: SamplingParameters,
        stop: StopStringCriteria | None,
        weights: PackedWeights,
    ) -> Generator[list[Generation], None, tuple[int, Prompts]]:
        """Yield the samples; return the most rows that were used, and prompts that were put off."""
        eos, most = self._end_tokens(parameters), 1
        put_off: Prompts = []
        batch, rows, logits = self._prefill(prompts, parameters, weights)
        for step in range(parameters.max_tokens):
            token, logprob = choose(logits, batch.noise[:, step], parameters, batch.row)
            batch.append(token, logprob, eos)
            if stop is not None:
                batch.done = batch.done | stop(batch.ids, None)
            unfinished = int((~batch.done).sum())
            if step + 1 == parameters.max_tokens or unfinished == 0:
                yield self._generations(batch, torch.ones_like(batch.done), parameters)
                break
            if unfinished < _LEAVE_BELOW * len(batch.keys):
                yield self._generations(batch, batch.done, parameters)
                batch = batch.select((~batch.done).nonzero().squeeze(1))
            while (
                len(batch.keys)
                > self.batch_size
                < rows.needed(batch.row, batch.ids[:, -1], batch.done)
            ):
                batch, later = _put_off_half(batch, prompts)
                if not later:
                    break  # one prompt: its samples stay together
                put_off = later + put_off
            batch.row, last = rows.advance(batch.row, batch.ids[:, -1], batch.done)
            most = max(most, len(last))
            logits = self._forward(last, rows.mask, rows.position, rows.cache, weights)
        return most, put_off

    def _end_tokens(self, parameters: SamplingParameters) -> torch.Tensor:
        """The tokens that end a sample."""
        return torch.cat([self._eos, self._eos.new_tensor(parameters.stop_token_ids)])

    def _prefill(
        self, prompts: Prompts, parameters: SamplingParameters, weights: PackedWeights
    ) -> tuple[_Batch, Rows, torch.Tensor]:
        """Compute each prompt once.

        Returns the batch, a row per prompt, and the logits of the first token, (rows, vocabulary).
        """
        cache = new_cache(self.model)
        device, pad = self.model.device, self.tokenizer.pad_token_id or 0
        ids = pad_sequence([torch.tensor(ids) for _, ids in prompts], True, pad, "left").to(device)
        lengths = torch.tensor([len(ids) for _, ids in prompts], device=device).unsqueeze(1)
        mask = (torch.arange(-ids.shape[1], 0, device=device) >= -lengths).long()
        padded = not bool(mask.all())
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = self._forward(ids, mask if padded else None, positions, cache, weights)
        # The prompt of each sample.
        owners = [i for i, (request, _) in enumerate(prompts) for _ in request.samples]
        batch = _Batch(
            keys=[(r.id, sample) for r, _ in prompts for sample in r.samples],
            noise=torch.cat([_noise(r, parameters) for r, _ in prompts]).to(device),
            row=torch.tensor(owners, device=device),
            ids=torch.empty(len(owners), 0, dtype=torch.long, device=device),
            length=torch.zeros(len(owners), dtype=torch.long, device=device),
            logprob=torch.zeros(len(owners), device=device),
            done=torch.zeros(len(owners), dtype=torch.bool, device=device),
        )
        return batch, Rows(cache, mask if padded else None, positions[:, -1:]), logits

    def _forward(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor | None,
        positions: torch.Tensor,
        cache: Cache,
        weights: PackedWeights,
    ) -> torch.Tensor:
        """Logits at the last position, float32, shape (batch, vocabulary)."""
        with weights.used():
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
        keys = [batch.keys[row] for row in which.nonzero().squeeze(1).tolist()]
        ids, lengths, done = (c[which].tolist() for c in (batch.ids, batch.length, batch.done))
        logprobs = batch.logprob[which].tolist() if parameters.logprob else [None] * len(keys)
        eos = self._end_tokens(parameters).cpu()
        tokens = [row[:length] for row, length in zip(ids, lengths, strict=True)]
        by_eos = torch.isin(torch.tensor([row[-1] for row in tokens]), eos).tolist()
        samples = list(zip(keys, tokens, by_eos, done, logprobs, strict=True))
        return decode_samples(self.tokenizer, samples, parameters.stop)


@dataclass
class _Batch:
    """The samples that are being generated. First dimension of all tensors: the samples."""

    keys: list[tuple[str, int]]  # (problem id, sample number)
    noise: torch.Tensor  # (batch, max_tokens), uniform in [0, 1)
    row: torch.Tensor  # (batch,), the row of ``Rows`` that holds all tokens of the sample
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

    def select(self, keep: torch.Tensor) -> _Batch:
        """The samples with indices ``keep``."""
        tensors = {name: value for name, value in vars(self).items() if name != "keys"}
        selected: dict[str, Any] = {name: tensor[keep] for name, tensor in tensors.items()}
        return _Batch([self.keys[row] for row in keep.tolist()], **selected)


def _put_off_half(batch: _Batch, prompts: Prompts) -> tuple[_Batch, Prompts]:
    """The samples of the first half of the prompts; the other prompts with the samples they lose.

    No prompt is put off if only one is left.
    """
    owner = {(r.id, sample): i for i, (r, _) in enumerate(prompts) for sample in r.samples}
    owners = [owner[key] for key in batch.keys]
    left = sorted(set(owners))
    later = dict.fromkeys(left[-(-len(left) // 2) :])
    samples: dict[int, list[int]] = {i: [] for i in later}
    for (_, sample), i in zip(batch.keys, owners, strict=True):
        if i in later:
            samples[i].append(sample)
    kept = [row for row, i in enumerate(owners) if i not in later]
    put_off = [
        (replace(prompts[i][0], samples=tuple(numbers)), prompts[i][1])
        for i, numbers in samples.items()
    ]
    return batch.select(torch.tensor(kept, device=batch.row.device)), put_off


def choose(
    logits: torch.Tensor, noise: torch.Tensor, parameters: SamplingParameters, row: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample one token per sample, by inverting the cumulative distribution at ``noise``.

    Temperature is applied first, then top-k, top-p and min-p, in the order of vLLM. Returns tokens
    (batch,) and their log-probabilities (batch,) at temperature 1, or 0 if they are not wanted.

    Args:
        logits: (rows, vocabulary), float32.
        noise: (batch,), uniform in [0, 1); not used at temperature 0.
        row: (batch,), the row of each sample.
    """
    if parameters.temperature == 0:
        token = logits.argmax(-1)[row]
    else:
        k = min(parameters.top_k or logits.shape[-1], logits.shape[-1])
        top, index = torch.topk(logits, k)
        probability = (top / parameters.temperature).softmax(-1)
        if parameters.top_p < 1:
            before = probability.cumsum(-1) - probability
            probability = probability.masked_fill(before >= parameters.top_p, 0.0)
        if parameters.min_p > 0:
            floor = parameters.min_p * probability[:, :1]
            probability = probability.masked_fill(probability < floor, 0.0)
        cumulative = probability.cumsum(-1)[row]
        target = noise.unsqueeze(1) * cumulative[:, -1:]
        position = torch.searchsorted(cumulative, target, right=True).clamp(max=k - 1)
        token = index[row].gather(1, position).squeeze(1)
    if not parameters.logprob:
        return token, torch.zeros_like(noise)
    return token, logits[row, token] - logits.logsumexp(-1)[row]


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
    """Attention of one new token per sample, shape (batch, heads, 1, size).

    ``attention_mask``: (batch, 1, 1, keys), False at padding. On a CPU the kernel of PyTorch takes
    one and a half times as long, and copies the keys for each query head if there is a mask.
    Everything else (prompts, other masks) goes to that kernel.
    """
    batch, heads, tokens, size = query.shape
    plain = attention_mask is None or attention_mask.dtype == torch.bool
    if tokens > 1 or not plain or kwargs.get("position_bias") is not None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return output, None
    grouped = query.reshape(batch, key.shape[1], heads // key.shape[1], size)
    weights = grouped @ key.transpose(-1, -2) * (size**-0.5 if scaling is None else scaling)
    if attention_mask is not None:
        weights = weights.masked_fill(~attention_mask, -torch.inf)
    mixed = weights.softmax(-1, dtype=torch.float32).to(value.dtype) @ value
    return mixed.reshape(batch, 1, heads, size), None


_ATTENTION = "e2h_single_token"
AttentionInterface.register(_ATTENTION, _attention)
AttentionMaskInterface.register(_ATTENTION, sdpa_mask)


def _noise(request: Request, parameters: SamplingParameters) -> torch.Tensor:
    """Shape (samples, max_tokens), uniform in [0, 1); the same for a sample in every run."""
    if parameters.temperature == 0:
        return torch.zeros(len(request.samples), parameters.max_tokens)
    seeds = (sample_seed(request.run_seed, request.id, sample) for sample in request.samples)
    generators = (torch.Generator().manual_seed(seed) for seed in seeds)
    return torch.stack([torch.rand(parameters.max_tokens, generator=g) for g in generators])
