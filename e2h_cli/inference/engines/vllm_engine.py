"""Sampling with vLLM, with enough requests queued that it never waits for e2h."""

from __future__ import annotations

import dataclasses
import difflib
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError, reason_of
from e2h_cli.inference.engines.base import (
    FinishedSample,
    Generation,
    Request,
    SamplingParameters,
    decode_samples,
    sample_seed,
)
from e2h_cli.models.loading import dtype, load_config, load_generator
from e2h_cli.models.wide_heads import with_head_size

# Requests in the engine, as a multiple of max_num_seqs: a finished one is replaced at once.
_QUEUE_FACTOR = 2
# Engine arguments that e2h sets itself.
_RESERVED_ARGS = ("model", "tokenizer", "seed")


class VLLMEngine:
    """Samples from a causal language model with vLLM, in this process.

    Every sample is a request of its own with a seed of its own. vLLM splits requests of ``n=64``
    into single ones anyway; this way a sample is returned when it is finished, not with the slowest
    of its 64, and a resumed run draws with the noise that an unbroken one would have used. The
    prompt is still computed once per problem, by prefix caching.

    Args:
        model_name_or_path, tokenizer: of the generator.
        max_model_len: length in tokens of the longest prompt and its solution together.
        precision: "auto", "fp32" or "bf16".
        engine_args: more arguments of ``vllm.EngineArgs``, by name.
        scratch_dir: for a copy of the model with wider heads, if vLLM needs one.

    Raises:
        InputError: an unknown engine argument, or vLLM cannot run this model.
    """

    name = "vllm"

    def __init__(
        self,
        model_name_or_path: str,
        tokenizer: PreTrainedTokenizerFast,
        *,
        max_model_len: int,
        precision: str,
        engine_args: Mapping[str, Any],
        scratch_dir: Path,
        seed: int | None = None,
    ) -> None:
        vllm = import_vllm()
        from vllm.platforms import current_platform
        from vllm.v1.engine.llm_engine import LLMEngine

        check_engine_args(engine_args)
        path, size = model_name_or_path, supported_head_size(load_config(model_name_or_path))
        if size is not None:
            path = str(scratch_dir / "wide-heads")
            with_head_size(load_generator(model_name_or_path, "fp32"), size).save_pretrained(path)
            tokenizer.save_pretrained(path)
        defaults = default_args(precision, max_model_len) | {"enable_prefix_caching": True}
        if seed is not None:
            defaults["seed"] = seed
        elif current_platform.is_cpu():
            # On a CPU, chunked prefill does not support seeds per request.
            defaults["enable_chunked_prefill"] = False
        with refusals_in_one_line(model_name_or_path):
            options = vllm.EngineArgs(model=path, tokenizer=path, **{**defaults, **engine_args})
            self._engine = LLMEngine.from_engine_args(options)
        self._tokenizer = tokenizer
        self._max_queued = _QUEUE_FACTOR * self._engine.vllm_config.scheduler_config.max_num_seqs
        self._request_count = 0
        self._sleep_enabled = bool(options.enable_sleep_mode)
        self._asleep = False

    def generate(
        self, requests: Iterable[Request], parameters: SamplingParameters
    ) -> Iterator[list[Generation]]:
        """Yield finished samples as vLLM returns them; see ``engines.base.Engine``."""
        prompts = ((r, self._tokenizer(r.prompt).input_ids) for r in requests)
        waiting = ((r, sample, ids) for r, ids in prompts for sample in r.samples)
        queued: dict[str, tuple[str, int]] = {}
        try:
            while True:
                for request, sample, ids in islice(waiting, self._max_queued - len(queued)):
                    self._request_count += 1
                    request_id = str(self._request_count)
                    seed = None
                    if parameters.seed_per_sample:
                        seed = sample_seed(request.run_seed, request.id, sample)
                    params = _vllm_parameters(parameters, seed)
                    self._engine.add_request(request_id, {"prompt_token_ids": ids}, params)
                    queued[request_id] = request.id, sample
                if not queued:
                    return
                done = [output for output in self._engine.step() if output.finished]
                samples = [_finished_sample(queued.pop(o.request_id), o.outputs[0]) for o in done]
                if samples:
                    yield decode_samples(self._tokenizer, samples, parameters.stop)
        finally:
            if queued:
                self._engine.abort_request(list(queued))

    def load_weights(self, model: PreTrainedModel, weights: Mapping[str, torch.Tensor]) -> None:
        """Replace the weights, clear the prefix cache, and wake up from ``sleep``.

        Args:
            model: of the same architecture as the one that was loaded.
            weights: by their names in the model.
        """
        size = supported_head_size(model.config)
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
            # Last, so that the cache is not in memory together with both copies of the weights.
            self._engine.wake_up(tags=["kv_cache"])
            self._asleep = False
        self._engine.reset_prefix_cache()

    def sleep(self) -> None:
        """Free the GPU's memory until ``load_weights``, if ``enable_sleep_mode`` is set."""
        if self._sleep_enabled and not self._asleep:
            self._engine.sleep(level=1)
            self._asleep = True


def _vllm_parameters(parameters: SamplingParameters, seed: int | None) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=parameters.temperature,
        top_k=parameters.top_k,
        top_p=parameters.top_p,
        min_p=parameters.min_p,
        max_tokens=parameters.max_tokens,
        stop=list(parameters.stop) or None,
        stop_token_ids=list(parameters.stop_token_ids) or None,
        seed=seed,
        logprobs=0 if parameters.logprob else None,
        flat_logprobs=True,
        # Texts are decoded by ``decode_samples``, unless vLLM must look for a stop text.
        detokenize=bool(parameters.stop),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _finished_sample(key: tuple[str, int], output: Any) -> FinishedSample:
    done = output.finish_reason == "stop"
    # A text that ended without a stop text ended with the end-of-text token.
    by_eos = done and not isinstance(output.stop_reason, str)
    return key, list(output.token_ids), by_eos, done, output.cumulative_logprob


def import_vllm() -> Any:
    """Import vLLM without its log messages, which would break the progress bar."""
    # In this process, so that kill -9 leaves no process behind that holds the GPU.
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import vllm
    return vllm


def default_args(precision: str, max_model_len: int) -> dict[str, Any]:
    """Engine arguments for sampling and scoring, which ``--engine-arg`` may replace."""
    from vllm.platforms import current_platform

    args: dict[str, Any] = {
        "dtype": str(dtype(precision)).removeprefix("torch."),
        "max_model_len": max_model_len,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if current_platform.is_cpu():
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        args["enforce_eager"] = True
    return args


@contextmanager
def refusals_in_one_line(name_or_path: str) -> Iterator[None]:
    """Raise InputError for whatever vLLM raises while it loads a model."""
    # vLLM redirects the descriptor of sys.stdout, which that of a notebook does not have.
    output = sys.stdout if _has_descriptor(sys.stdout) else sys.__stdout__
    try:
        with redirect_stdout(output):
            yield
    except (ValueError, RuntimeError, AssertionError, OSError, TypeError) as error:
        raise InputError(
            f"vLLM cannot run this model: {reason_of(error)}",
            where=name_or_path,
            hint="change --engine-arg, or take --engine transformers",
        ) from error


def _has_descriptor(stream: TextIO) -> bool:
    try:
        return stream.fileno() >= 0
    except (OSError, AttributeError):
        return False


def check_engine_args(engine_args: Mapping[str, Any], reserved: Sequence[str] = ()) -> None:
    """Raise InputError for an argument that vLLM does not know or that e2h sets itself."""
    reserved = [*_RESERVED_ARGS, *reserved]
    fields = dataclasses.fields(import_vllm().EngineArgs)
    known = [field.name for field in fields if field.name not in reserved]
    for name in engine_args:
        if name in reserved:
            raise InputError(f"--engine-arg {name}: e2h sets it itself")
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "see the engine arguments of vLLM"
            raise InputError(f"--engine-arg {name}: vLLM has no such argument", hint=hint)


def supported_head_size(config: Any) -> int | None:
    """The wider head size that vLLM needs on a CPU; None if it supports the model's own."""
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return None
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    supported: list[int] = CPUAttentionBackend.get_supported_head_sizes()
    return None if size in supported else next((s for s in supported if s % size == 0), None)
