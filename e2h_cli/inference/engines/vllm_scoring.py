"""Scoring with vLLM: the logits of a classifier, read where the encoder of its family says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from e2h_cli.common.errors import InputError, RunError, reason_of
from e2h_cli.inference.batching import Scores, ScoringStats, require_finite
from e2h_cli.inference.engines.vllm_engine import (
    default_args,
    import_vllm,
    refusals_in_one_line,
    supported_head_size,
)
from e2h_cli.models.loading import load_config, load_generator, load_tokenizer
from e2h_cli.models.reward_formats import FAMILIES, family_of
from e2h_cli.models.reward_formats.shared_heads import probability
from e2h_cli.models.reward_model import require_template
from e2h_cli.models.token_spans import EncodedSolution
from e2h_cli.models.wide_heads import with_head_size

# Solutions that are sent together. Their scores are stored when all of them are there.
_CHUNK = 2048
# Architectures that vLLM loads from the folder of the reward model; others it is given as a copy.
_LOADED_AS_THEY_ARE = (
    "ForTokenClassification",
    "ForSequenceClassification",
    "ForProcessRewardModel",
)
# Engine arguments that scoring sets itself.
RESERVED_ARGS = ("runner", "convert", "pooler_config", "max_model_len")

Encoder = Callable[[str, str, bool], EncodedSolution]


def open_encoder(name_or_path: str, family: str = "auto") -> tuple[str, Encoder]:
    """The family of a reward model and its encoder, without its weights.

    Raises:
        InputError: vLLM cannot score models of this family.
    """
    name = family_of(name_or_path) if family == "auto" else family
    if FAMILIES[name].load is load_generator:
        raise InputError(
            f"vLLM scores classifiers, and {name} reads its scores from an LM head",
            where=name_or_path,
            hint="take --engine transformers",
        )
    config = load_config(name_or_path)
    if name == "e2h":
        require_template(config, name_or_path)
    return name, partial(FAMILIES[name].encode, load_tokenizer(name_or_path))


class LogitsEngine(Protocol):
    """What ``score_chunks`` needs of vLLM."""

    def logits(self, prompts: Sequence[list[int]], use_cache: bool) -> list[tuple[Any, int]]:
        """Per prompt its logits, and the tokens that the prefix cache had.

        The logits have shape (tokens that were computed, labels), or (labels,) if they are of the
        last token only. ``use_cache``: read the prefix cache if the engine has one.
        """
        ...


def score_chunks(
    engine: LogitsEngine,
    encoded: Sequence[EncodedSolution],
    problems: Sequence[str],
    stats: ScoringStats,
    chunk: int = _CHUNK,
) -> Iterator[tuple[list[int], list[Scores]]]:
    """Yield (indices into ``encoded``, their scores) per chunk, problem by problem.

    Where vLLM reads its prefix cache it returns no logits of the cached tokens. Solutions that are
    scored at one of them, or whose number of logits is wrong, are sent again, past the cache.

    Raises:
        RunError: logits are missing again, or a score is NaN or infinite.
    """
    # Solutions that begin alike follow one another, for the prefix cache.
    order = sorted(range(len(encoded)), key=lambda i: (problems[i], encoded[i].input_ids))
    for start in range(0, len(order), chunk):
        indices = order[start : start + chunk]
        found: dict[int, torch.Tensor] = {}
        for use_cache in (True, False):
            missing = [i for i in indices if i not in found]
            outputs = engine.logits([encoded[i].input_ids for i in missing], use_cache)
            for i, (logits, cached) in zip(missing, outputs, strict=True):
                stats.tokens += len(encoded[i].input_ids) - cached
                stats.shared += cached
                if (rows := _scored_rows(encoded[i], logits, cached)) is not None:
                    found[i] = rows
            if len(found) == len(indices):
                break
        if lost := len(indices) - len(found):
            raise RunError(
                f"vLLM returned too few logits for {lost} of {len(indices)} solutions, twice",
                hint="take --engine transformers; finished scores are kept",
            )
        values = probability(torch.cat([found[i] for i in indices]).float())
        require_finite(values)
        parts = values.split([len(found[i]) for i in indices])
        yield indices, [Scores(v[:-1].tolist(), float(v[-1])) for v in parts]


def _scored_rows(encoded: EncodedSolution, logits: Any, cached: int) -> torch.Tensor | None:
    """Logits at the scored positions, shape (positions, labels); None if some are not there."""
    positions = [*encoded.step_positions, encoded.outcome_position]
    last = len(encoded.input_ids) - 1
    if logits.ndim == 1:
        return logits[None] if positions == [last] else None
    if len(logits) != last + 1 - cached or min(positions) < cached:
        return None
    rows: torch.Tensor = logits[[position - cached for position in positions]]
    return rows


class VLLMClassifier:
    """A reward model in vLLM, in this process.

    Args:
        name_or_path, family: of the reward model.
        max_model_len: length in tokens of the longest encoded solution.
        precision: "auto", "fp32" or "bf16".
        engine_args: more arguments of ``vllm.EngineArgs``, by name; none of ``RESERVED_ARGS``.
        copy: folder for a copy of the model, if vLLM cannot load the model itself.

    Raises:
        InputError: vLLM cannot run this model, or a solution is too long for it.
    """

    def __init__(
        self,
        name_or_path: str,
        family: str,
        *,
        max_model_len: int,
        precision: str,
        engine_args: Mapping[str, Any],
        copy: Path,
    ) -> None:
        config = load_config(name_or_path)
        limit = getattr(config, "max_position_embeddings", None)
        if limit is not None and max_model_len >= limit:
            raise InputError(
                f"vLLM scores up to {limit - 1} tokens, and a solution has {max_model_len}",
                where=name_or_path,
                hint="take --engine transformers",
            )
        vllm = import_vllm()
        from vllm.config import PoolerConfig

        path, size = name_or_path, supported_head_size(config)
        if size is not None or not config.architectures[0].endswith(_LOADED_AS_THEY_ARE):
            model = FAMILIES[family].load(name_or_path, precision).cpu()
            path = str(copy)
            (with_head_size(model, size) if size is not None else model).save_pretrained(path)
        whole = family == "sequence-classification"
        self._task = "classify" if whole else "token_classify"
        pooler = PoolerConfig(task=self._task, tok_pooling_type=None if whole else "ALL")
        # vLLM keeps a place for a token to sample. Without one, a prompt as long as max_model_len
        # that is prefilled in chunks never gets its last token, and the engine waits forever.
        defaults = default_args(precision, max_model_len + 1)
        # One score for the whole text loses nothing by the prefix cache; scores of tokens do.
        options = {**defaults, "enable_prefix_caching": whole, **engine_args}
        self._reads_cache = bool(options["enable_prefix_caching"])
        with refusals_in_one_line(name_or_path):
            self._llm = vllm.LLM(
                path, runner="pooling", pooler_config=pooler, tokenizer=name_or_path, **options
            )

    def logits(self, prompts: Sequence[list[int]], use_cache: bool) -> list[tuple[Any, int]]:
        """See ``LogitsEngine``. Raises RunError if vLLM fails."""
        from vllm import PoolingParams

        skip = not (use_cache and self._reads_cache)
        try:
            outputs = self._llm.encode(
                [{"prompt_token_ids": ids} for ids in prompts],
                PoolingParams(use_activation=False, skip_reading_prefix_cache=skip),
                pooling_task=self._task,
                use_tqdm=False,
            )
        except (RuntimeError, MemoryError) as error:
            hint = "finished scores are kept; the same command goes on from there"
            raise RunError(f"the engine failed: {reason_of(error)}", hint=hint) from error
        return [(output.outputs.data, output.num_cached_tokens) for output in outputs]

    def forget(self) -> None:
        """Empty the prefix cache."""
        self._llm.reset_prefix_cache()
