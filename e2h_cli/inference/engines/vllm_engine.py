"""Sampling with vLLM, fed so that it never waits for us."""

from __future__ import annotations

import dataclasses
import difflib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.inference.engines.base import Decoding, Generation, Request, cut, sample_seed
from e2h_cli.models.wide_heads import with_head_size

# In flight, as a multiple of what vLLM runs at a time: whoever finishes is replaced at once.
_IN_FLIGHT = 2
_OURS = ("model", "tokenizer", "seed")


class VLLMEngine:
    """Samples from a causal language model with vLLM, in this process.

    Every sample is a request of its own with a seed of its own. vLLM makes separate requests of
    ``n=64`` anyway; this way each sample comes back when it is finished, not with the slowest of
    its 64, and a resumed run draws with the noise that an unbroken one would have used. The prompt
    is computed once per problem all the same: the prefix cache is on.

    Args:
        place: model folder or Hub name.
        tokenizer: of the model.
        longest: tokens of the longest prompt and its solution together.
        precision: "fp32" or "bf16".
        arguments: vLLM's own engine arguments, by their names in ``vllm.EngineArgs``; see
            ``check_arguments``.

    Raises:
        InputError: a model that vLLM cannot run with these arguments.
    """

    name = "vllm"

    def __init__(
        self,
        place: str,
        tokenizer: PreTrainedTokenizerFast,
        *,
        longest: int,
        precision: str,
        arguments: Mapping[str, Any],
    ) -> None:
        # In this process, so that kill -9 leaves nothing behind that holds the GPU.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        vllm = import_vllm()
        from vllm.platforms import current_platform
        from vllm.v1.engine.llm_engine import LLMEngine

        chosen: dict[str, Any] = {
            "dtype": {"fp32": "float32", "bf16": "bfloat16"}[precision],
            "max_model_len": longest,
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
        }
        if current_platform.is_cpu():
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
            # Seeds of single requests and prompts in chunks do not go together on a CPU.
            chosen |= {"enforce_eager": True, "enable_chunked_prefill": False}
        try:
            options = vllm.EngineArgs(model=place, tokenizer=place, **{**chosen, **arguments})
            self._engine = LLMEngine.from_engine_args(options)
        except (ValueError, RuntimeError, AssertionError, OSError, TypeError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InputError(
                f"vLLM cannot run this model: {reason}",
                where=place,
                hint="change --engine-arg, or take --engine transformers",
            ) from error
        self._tokenizer = tokenizer
        self._room = _IN_FLIGHT * self._engine.vllm_config.scheduler_config.max_num_seqs
        self._count = 0
        self._sleeps = bool(options.enable_sleep_mode)
        self._asleep = False

    def generate(
        self, requests: Iterable[Request], decoding: Decoding
    ) -> Iterator[list[Generation]]:
        """Yield finished samples as they land; see ``engines.base.Engine``."""
        waiting = self._waiting(requests)
        flying: dict[str, tuple[str, int]] = {}
        try:
            while True:
                for key, ids, seed in islice(waiting, self._room - len(flying)):
                    self._count += 1
                    params = self._params(decoding, seed)
                    name = str(self._count)
                    self._engine.add_request(name, {"prompt_token_ids": ids}, params)
                    flying[name] = key
                if not flying:
                    return
                done = [o for o in self._engine.step() if o.finished]
                if done:
                    yield self._finished(
                        [(flying.pop(o.request_id), o.outputs[0]) for o in done], decoding
                    )
        finally:
            if flying:
                self._engine.abort_request(list(flying))

    def load_weights(self, model: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> None:
        """Take over the weights of a model that has been trained on; forget cached prompts, and
        come back to the GPU from ``sleep``.

        Args:
            model: of the same shape as the one that was loaded.
            weights: by their names in the model.
        """
        size = head_size_for(model.config)
        if size is not None:
            plain = type(model)(model.config)
            plain.load_state_dict(weights, strict=False)
            weights = with_head_size(plain, size).state_dict()
        if self._asleep:
            self._engine.wake_up(tags=["weights"])
        self._engine.collective_rpc(
            "reload_weights", kwargs={"weights_iterator": list(weights.items())}
        )
        if self._asleep:
            # Last, so that the cache need not stand beside the weights that were handed over.
            self._engine.wake_up(tags=["kv_cache"])
            self._asleep = False
        self._engine.reset_prefix_cache()

    def sleep(self) -> None:
        """Leave the GPU's memory to others until the next weights come, if ``enable_sleep_mode``
        allows it.
        """
        if self._sleeps and not self._asleep:
            self._engine.sleep(level=1)
            self._asleep = True

    def _waiting(
        self, requests: Iterable[Request]
    ) -> Iterator[tuple[tuple[str, int], list[int], int]]:
        for request in requests:
            ids = self._tokenizer(request.prompt, add_special_tokens=True).input_ids
            for sample in request.samples:
                seed = sample_seed(request.run_seed, request.id, sample)
                yield (request.id, sample), ids, seed

    def _params(self, decoding: Decoding, seed: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=decoding.temperature,
            top_k=decoding.top_k,
            top_p=decoding.top_p,
            min_p=decoding.min_p,
            max_tokens=decoding.max_tokens,
            stop=list(decoding.stop) or None,
            seed=seed,
            logprobs=0 if decoding.logprob else None,
            flat_logprobs=True,
            # Texts are made at the end, all at once, unless vLLM must look for a stop text.
            detokenize=bool(decoding.stop),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _finished(
        self, outputs: Sequence[tuple[tuple[str, int], Any]], decoding: Decoding
    ) -> list[Generation]:
        ids = [list(output.token_ids) for _, output in outputs]
        # Ended by the end-of-text token (no stop text): that token is no part of the solution.
        texts = self._tokenizer.batch_decode(
            [
                tokens[:-1]
                if output.finish_reason == "stop" and not isinstance(output.stop_reason, str)
                else tokens
                for tokens, (_, output) in zip(ids, outputs, strict=True)
            ],
            skip_special_tokens=True,
        )
        return [
            Generation(
                id=key[0],
                sample=key[1],
                text=cut(text, decoding.stop),
                finish_reason="stop" if output.finish_reason == "stop" else "length",
                tokens=len(tokens),
                logprob=output.cumulative_logprob,
                ids=tuple(tokens),
            )
            for text, tokens, (key, output) in zip(texts, ids, outputs, strict=True)
        ]


def import_vllm() -> Any:
    """vLLM, with its notes to developers left out: they would tear our progress bar apart."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vllm
    return vllm


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise InputError for an argument that vLLM does not know or that e2h sets."""
    fields = dataclasses.fields(import_vllm().EngineArgs)
    known = [field.name for field in fields if field.name not in _OURS]
    for name in arguments:
        if name in _OURS:
            raise InputError(f"--engine-arg {name}: e2h sets it itself")
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "see the engine arguments of vLLM"
            raise InputError(f"--engine-arg {name}: vLLM has no such argument", hint=hint)


def head_size_for(config: Any) -> int | None:
    """The head size that a model must be given on a CPU, or None where its own is supported."""
    import_vllm()
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return None
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    own = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    sizes: list[int] = CPUAttentionBackend.get_supported_head_sizes()
    return None if own in sizes else next((size for size in sizes if size % own == 0), None)


def widened(place: str, folder: Path) -> str:
    """The model of ``place`` if vLLM has a kernel for its heads, else a copy with wider heads."""
    from e2h_cli.models.loading import load_config, load_generator, load_tokenizer

    size = head_size_for(load_config(place))
    if size is None:
        return place
    with_head_size(load_generator(place, "fp32"), size).save_pretrained(folder)
    load_tokenizer(place).save_pretrained(folder)
    return str(folder)
