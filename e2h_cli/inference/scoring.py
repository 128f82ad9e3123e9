"""Scoring with a reward model: tables of samples into a folder, or a few solutions in memory."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from e2h_cli.common.parquet_store import (
    SCORE_SCHEMA,
    SampleKeys,
    ShardedParquetStore,
    clear_if_changed,
    read_table,
    write_table,
)
from e2h_cli.data.problem import Problem
from e2h_cli.inference.batching import Scores, ScoringStats, score_batches
from e2h_cli.inference.engine_stats import append_engine_stats
from e2h_cli.inference.engines.select import select_engine
from e2h_cli.inference.worker_pool import gpu_count, gpus_per_engine, run_with_progress
from e2h_cli.models.reward_formats import RewardModel, open_reward_model
from e2h_cli.settings.base import ScoringEngineName

logger = logging.getLogger(__name__)

SCORES_FILE = "scores.parquet"
# A copy of the reward model that vLLM can load, in the folder of a worker.
MODEL_COPY = "vllm-model"


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

    ``folder``: of all scores; ``solutions``: with the numbers of the samples that have this text;
    ``writer``: name of this worker's own folder of part files.
    """

    reward_model: str
    family: str
    precision: str
    batch_tokens: int | None
    folder: Path
    engine: ScoringEngineName = "transformers"
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    solutions: dict[DistinctSolution, list[int]] = field(default_factory=dict)
    writer: str = ""

    def store(self) -> ShardedParquetStore:
        """The scores on disk, of all workers; new ones go to this worker's folder."""
        target, folder = self.folder / SCORES_FILE, self.folder / "parts"
        return ShardedParquetStore(target, folder, SCORE_SCHEMA, self.writer)


def score_samples(
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
) -> pa.Table:
    """Scores of all samples, rows of ``SCORE_SCHEMA``; those in ``folder`` are not computed again.

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

    Raises:
        InputError: the engine cannot score this reward model.
        RunError: a score is NaN or infinite.
    """
    args = engine_args or {}
    check_engine(engine, args, reward_model, family)
    clear_if_changed(folder, conditions)
    job = ScoringJob(reward_model, family, precision, batch_tokens, folder.resolve(), engine, args)
    store = job.store()
    solutions = _distinct_solutions(samples, problems, store.keys())
    if solutions:
        for record in _score_all(replace(job, solutions=solutions)):
            append_engine_stats(folder, record)
    store.merge(problems)
    for file in (folder / "parts").rglob("part-*.parquet"):
        file.unlink()
    for copy in (folder / "parts").glob(f"*/{MODEL_COPY}"):
        shutil.rmtree(copy)
    return read_table(store.target, SCORE_SCHEMA)


def _score_all(job: ScoringJob) -> Iterator[dict[str, Any]]:
    """Score all solutions of a job with one or more engines; yield the engines' records."""
    count = sum(map(len, job.solutions.values()))
    logger.info(f"{count:,} samples to score, {len(job.solutions):,} distinct")
    gpus = gpus_per_engine(job.engine_args)
    return run_with_progress(
        score,
        _split_by_problem(job, gpu_count() // gpus or 1),
        job.store(),
        title="scoring",
        total=count,
        in_worker=job.engine == "vllm",  # its memory is free when the worker ends
        gpus_per_job=gpus,
    )


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
    samples: pa.Table, problems: Mapping[str, Problem], done: SampleKeys
) -> dict[DistinctSolution, list[int]]:
    """The texts that have no score yet, and the numbers of their samples."""
    solutions: dict[DistinctSolution, list[int]] = {}
    columns = (samples[name].to_pylist() for name in ("id", "text", "finish_reason", "sample"))
    for problem_id, text, reason, sample in zip(*columns, strict=True):
        if problem_id in problems and (problem_id, sample) not in done:
            question = problems[problem_id].problem
            solution = DistinctSolution(problem_id, question, text, reason == "stop")
            solutions.setdefault(solution, []).append(sample)
    return solutions


def _split_by_problem(job: ScoringJob, engines: int) -> list[ScoringJob]:
    """A job per engine. All solutions of a problem are in one, to share its prompt."""
    count = min(engines, len(job.solutions))
    ids = list(dict.fromkeys(solution.problem_id for solution in job.solutions))
    worker = {problem_id: i % count for i, problem_id in enumerate(ids)}
    parts: list[dict[DistinctSolution, list[int]]] = [{} for _ in range(count)]
    for solution, numbers in job.solutions.items():
        parts[worker[solution.problem_id]][solution] = numbers
    return [replace(job, solutions=part, writer=str(i)) for i, part in enumerate(parts)]


def score(
    job: ScoringJob, on_progress: Callable[[int], None] = lambda count: None
) -> dict[str, Any]:
    """Score the solutions of a job and store their samples' scores; return counts and speed.

    ``on_progress`` is called with 0 when the model is loaded, then with numbers of new samples.

    Raises:
        RunError: a score is NaN or infinite.
    """
    begin = time.monotonic()
    solutions, stats, store = list(job.solutions), ScoringStats(), job.store()
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
                for n in job.solutions[solutions[i]]
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
    encoded = [model.encode(s.question, s.text, s.finished) for s in solutions]
    batches = score_batches(model, encoded, job.batch_tokens, problems=problems, stats=stats)
    return model.family, batches


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
