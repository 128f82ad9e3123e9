"""Scoring with a reward model: tables of samples into a folder, or a few solutions in memory."""

from __future__ import annotations

import itertools
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from e2h_cli.common.parquet_store import (
    SCORE_SCHEMA,
    SCORES_FILE,
    ShardedParquetStore,
    clear_if_changed,
    read_table,
    write_table,
)
from e2h_cli.data.problem import Problem
from e2h_cli.inference.batching import Scores, ScoringStats, score_batches, score_in_chunks
from e2h_cli.inference.engine_stats import append_engine_stats
from e2h_cli.inference.engines.select import select_engine
from e2h_cli.inference.worker_pool import gpus_per_engine, run_shared
from e2h_cli.models.reward_formats import RewardModel, open_reward_model
from e2h_cli.settings.base import ScoringEngineName, WorkerSettings

logger = logging.getLogger(__name__)

# A copy of the reward model that vLLM can load, in the folder of a worker.
MODEL_COPY = "vllm-model"
# Folder of the part files, in that of the scores.
PARTS = "parts"
_ONE_PER_GPU = WorkerSettings.model_validate({})


def score_texts(
    reward_model: RewardModel | str, questions: Sequence[str], solutions: Sequence[str]
) -> list[Scores]:
    """Scores of finished solutions, each of the question at the same index.

    ``reward_model``: a loaded one, or a model folder or Hub name.
    """
    if isinstance(reward_model, str):
        reward_model = open_reward_model(reward_model)
    pairs = zip(questions, solutions, strict=True)
    encoded = [reward_model.encode(question, text, True) for question, text in pairs]
    scores: dict[int, Scores] = {}
    for indices, batch in score_batches(reward_model, encoded, problems=questions):
        scores.update(zip(indices, batch, strict=True))
    return [scores[i] for i in range(len(encoded))]


def token_scores(
    reward_model: RewardModel, question: str, text: str, finished: bool
) -> list[tuple[str, float | None]]:
    """Each token of an encoded solution, with P(correct) at the positions that are scored."""
    encoded = reward_model.encode(question, text, finished)
    [(_, [scores])] = score_batches(reward_model, [encoded])
    values = dict(zip(encoded.step_positions, scores.steps, strict=True))
    values[encoded.outcome_position] = scores.outcome
    tokens = [reward_model.tokenizer.decode([token]) for token in encoded.input_ids]
    return [(token, values.get(position)) for position, token in enumerate(tokens)]


@dataclass(frozen=True, slots=True)
class DistinctSolution:
    """A solution that is scored once for all samples with this text."""

    problem_id: str
    question: str
    text: str
    finished: bool


@dataclass(frozen=True, slots=True)
class ScoringJob:
    """What one reward model scores. Picklable, so that it can be sent to a worker.

    ``folder``: of all scores; ``solutions``: scored or not, by problem, with the numbers of the
    samples that have this text; ``writer``: path of this worker's own folder of part files.
    """

    reward_model: str
    family: str
    precision: str
    batch_tokens: int | None
    folder: Path
    engine: ScoringEngineName = "transformers"
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    flush_seconds: float = 5.0
    solutions: dict[str, dict[DistinctSolution, list[int]]] = field(default_factory=dict)
    writer: str = "whole"

    def store(self) -> ShardedParquetStore:
        """The scores on disk, of all workers; new ones go to this worker's folder."""
        target, folder = self.folder / SCORES_FILE, self.folder / PARTS
        return ShardedParquetStore(target, folder, SCORE_SCHEMA, self.writer, self.flush_seconds)

    def share(self, index: int, count: int, writer: str) -> Self:
        """Every ``count``-th problem: all its solutions are in one share, and share its prompt."""
        own = list(self.solutions)[index::count]
        return replace(self, writer=writer, solutions={key: self.solutions[key] for key in own})

    def missing(self) -> dict[DistinctSolution, list[int]]:
        """The texts that have no score on disk, and the numbers of their samples."""
        done = self.store().keys()
        every = itertools.chain.from_iterable(of.items() for of in self.solutions.values())
        left = {s: [n for n in numbers if (s.problem_id, n) not in done] for s, numbers in every}
        return {solution: numbers for solution, numbers in left.items() if numbers}

    @property
    def samples(self) -> int:
        """Number of samples, scored or not."""
        return sum(len(numbers) for of in self.solutions.values() for numbers in of.values())


def score_samples(
    samples: pa.Table,
    problems: Mapping[str, Problem],
    reward_model: str,
    folder: Path,
    *,
    conditions: Mapping[str, Any],
    workers: WorkerSettings = _ONE_PER_GPU,
    **options: Any,
) -> pa.Table:
    """Scores of all samples, rows of ``SCORE_SCHEMA``; those in ``folder`` are not computed again.

    The arguments are those of ``scoring_job``, and how many engines work.

    Raises:
        InputError: the engine cannot score this reward model.
        RunError: a score is NaN or infinite.
    """
    job = scoring_job(samples, problems, reward_model, folder, conditions=conditions, **options)
    score_missing(job, workers)
    return merge_scores(job, problems)


def scoring_job(
    samples: pa.Table,
    problems: Mapping[str, Problem],
    reward_model: str,
    folder: Path,
    *,
    conditions: Mapping[str, Any],
    family: str = "auto",
    batch_tokens: int | None,
    precision: str,
    engine: ScoringEngineName = "transformers",
    engine_args: Mapping[str, Any] | None = None,
    flush_seconds: float = 5.0,
) -> ScoringJob:
    """What there is to score, and where.

    Args:
        samples: rows of ``SAMPLE_SCHEMA``.
        problems: by id; samples of other problems are left out.
        reward_model: folder or Hub name.
        folder: keeps the scores; emptied if ``conditions`` have changed.
        conditions: all that the scores depend on (fingerprints, settings), as JSON values.
        family: how the model is read; see ``models.reward_formats.FAMILIES``.
        batch_tokens: tokens per forward pass of transformers, padding included; chosen for the
            device if None.
        precision: "auto", "fp32" or "bf16".
        engine, engine_args: what computes the scores, and arguments of vLLM. Scores in ``folder``
            are kept whichever engine they are of.
        flush_seconds: how long a score may stay in memory only.

    Raises:
        InputError: the engine cannot score this reward model.
    """
    args = engine_args or {}
    check_engine(engine, args, reward_model, family)
    clear_if_changed(folder, conditions)
    return ScoringJob(
        reward_model,
        family,
        precision,
        batch_tokens,
        folder.resolve(),
        engine,
        args,
        flush_seconds,
        _distinct_solutions(samples, problems),
    )


def score_missing(job: ScoringJob, workers: WorkerSettings) -> None:
    """Score what has no score on disk yet, with one or more engines.

    Raises:
        RunError: a score is NaN or infinite, or workers died again and again.
    """
    missing = job.missing()
    if not missing:
        return
    count = sum(map(len, missing.values()))
    logger.info(f"{count:,} samples to score, {len(missing):,} distinct")
    records = run_shared(
        score,
        job,
        workers,
        title="scoring",
        total=count,
        in_worker=job.engine == "vllm",  # its memory is free when the worker ends
        gpus_per_job=gpus_per_engine(job.engine_args),
    )
    for record in records:
        append_engine_stats(job.folder, record)
    for copy in job.store().writer_folder.rglob(MODEL_COPY):
        shutil.rmtree(copy)


def merge_scores(job: ScoringJob, problems: Iterable[str]) -> pa.Table:
    """Put the scores of all shares into one file, problem by problem, and read it."""
    store = job.store()
    store.merge(problems)
    shutil.rmtree(store.folder)
    return read_table(store.target, SCORE_SCHEMA)


def check_engine(
    engine: ScoringEngineName, engine_args: Mapping[str, Any], reward_model: str, family: str
) -> None:
    """Raise InputError if the engine is not there or cannot score this reward model."""
    if select_engine(engine, engine_args) == "vllm":
        from e2h_cli.inference.engines.vllm_engine import check_engine_args
        from e2h_cli.inference.engines.vllm_scoring import RESERVED_ARGS, open_encoder

        open_encoder(reward_model, family)
        check_engine_args(engine_args, RESERVED_ARGS)


def write_scores(scores: pa.Table, folder: Path, conditions: Mapping[str, Any]) -> None:
    """Write scores of another project to where ``score_samples`` would write its own."""
    clear_if_changed(folder, conditions)
    write_table(folder / SCORES_FILE, scores)


def _distinct_solutions(
    samples: pa.Table, problems: Mapping[str, Problem]
) -> dict[str, dict[DistinctSolution, list[int]]]:
    """Problem id -> its texts, and the numbers of their samples; in the order of the table."""
    found: dict[str, dict[DistinctSolution, list[int]]] = {}
    columns = (samples[name].to_pylist() for name in ("id", "text", "finish_reason", "sample"))
    for key, text, reason, sample in zip(*columns, strict=True):
        if key in problems:
            solution = DistinctSolution(key, problems[key].problem, text, reason == "stop")
            found.setdefault(key, {}).setdefault(solution, []).append(sample)
    return found


def score(
    job: ScoringJob, on_progress: Callable[[int], None] = lambda count: None
) -> dict[str, Any]:
    """Score what is missing of a job and store it; return counts and speed, or nothing.

    ``on_progress`` is called with 0 when the model is loaded, then with numbers of new samples.

    Raises:
        RunError: a score is NaN or infinite.
    """
    begin = time.monotonic()
    missing = job.missing()
    if not missing:
        return {}
    solutions, stats, store = list(missing), ScoringStats(), job.store()
    problems = [s.problem_id for s in solutions]
    opened = _open_vllm if job.engine == "vllm" else _open_transformers
    family, batches = opened(job, solutions, problems, stats)
    loaded = time.monotonic()
    waited, samples = 0.0, 0
    on_progress(0)
    try:
        for indices, scores in batches:
            mark = time.monotonic()
            rows = [
                {"id": problems[i], "sample": n, "step_scores": s.steps, "outcome_score": s.outcome}
                for i, s in zip(indices, scores, strict=True)
                for n in missing[solutions[i]]
            ]
            store.add(rows)
            on_progress(len(rows))
            samples += len(rows)
            waited += time.monotonic() - mark
    finally:
        store.flush()
    seconds = max(time.monotonic() - loaded, 1e-9)
    return {
        "engine": job.engine,
        "family": family,
        "samples": samples,
        "distinct": len(solutions),
        "load_seconds": round(loaded - begin, 2),
        "busy_seconds": round(seconds - waited, 2),
        "idle_seconds": round(waited, 2),
        "tokens": stats.tokens,
        "tokens_saved_by_sharing": stats.shared,
        "padding_share": round(stats.padding / max(stats.tokens + stats.padding, 1), 4),
        "tokens_per_second": round(stats.tokens / seconds, 1),
        "solutions_per_second": round(len(solutions) / seconds, 2),
    }


Batches = Iterator[tuple[list[int], list[Scores]]]


def _open_transformers(
    job: ScoringJob,
    solutions: Sequence[DistinctSolution],
    problems: Sequence[str],
    stats: ScoringStats,
) -> tuple[str, Batches]:
    """Load the reward model; its family, and the scores as they are computed."""
    model = open_reward_model(job.reward_model, job.family, job.precision)
    texts = [(s.question, s.text, s.finished) for s in solutions]
    return model.family, score_in_chunks(model, texts, problems, job.batch_tokens, stats)


def _open_vllm(
    job: ScoringJob,
    solutions: Sequence[DistinctSolution],
    problems: Sequence[str],
    stats: ScoringStats,
) -> tuple[str, Batches]:
    """The same with vLLM."""
    from e2h_cli.inference.engines.vllm_scoring import VLLMClassifier, open_encoder, score_chunks

    family, encode = open_encoder(job.reward_model, job.family)
    encoded = [encode(s.question, s.text, s.finished) for s in solutions]
    engine = VLLMClassifier(
        job.reward_model,
        family,
        max_model_len=max(len(e.input_ids) for e in encoded),
        precision=job.precision,
        engine_args=job.engine_args,
        copy=job.store().writer_folder / MODEL_COPY,
    )
    return family, score_chunks(engine, encoded, problems, stats)
