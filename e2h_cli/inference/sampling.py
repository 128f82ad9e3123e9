"""The work of ``e2h sample``: what is still missing -> engine -> parts on disk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from e2h_cli.common import parquet_store
from e2h_cli.common.errors import RunError
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.inference.engines.base import (
    MAX_SAMPLES_PER_REQUEST,
    Decoding,
    Engine,
    Generation,
    Request,
)
from e2h_cli.settings.sample import SampleSettings

FILE = "samples.parquet"


@dataclass(frozen=True, slots=True)
class SamplingJob:
    """What one engine is to draw; can be sent to another process.

    ``shares``: (number from 0, of how many), one for the shard and one for the worker; the job is
    what lies in both. ``prefix``: solved problems in front of every question.
    """

    model: str
    settings: SampleSettings
    problems: tuple[Problem, ...]
    prefix: str
    target: Path
    folder: Path
    writer: str
    shares: tuple[tuple[int, int], ...] = ()

    def store(self) -> parquet_store.ShardedParquetStore:
        """The parts on disk, with a folder of this job's own to write to."""
        seconds = self.settings.flush_seconds
        return parquet_store.ShardedParquetStore(
            self.target,
            self.folder,
            parquet_store.SAMPLE_SCHEMA,
            writer=self.writer,
            seconds=seconds,
        )

    def missing(self, have: Set[tuple[str, int]]) -> list[Request]:
        """What this job has to draw."""
        return [
            Request(request.id, request.samples, self.prefix + request.prompt, request.run_seed)
            for request in missing_requests(
                self.problems, self.settings.n, have, self.settings.seed, self.shares
            )
        ]


def sample(job: SamplingJob, done: Callable[[int], None] = lambda count: None) -> dict[str, Any]:
    """Draw what is missing of a job; return the engine's record.

    ``done`` is told 0 when the engine is ready, then how many samples have come.

    Raises:
        RunError: the engine failed. What it had finished is on disk.
    """
    from e2h_cli.inference.engines.select import decoding_of, open_engine

    store = job.store()
    requests = job.missing(store.keys())
    if not requests:
        return {}
    settings = job.settings
    begin = time.monotonic()
    prompts = list({request.id: request.prompt for request in requests}.values())
    engine = open_engine(job.model, settings, prompts, store.own)
    stop = [*settings.stop, *([template.QUESTION_HEADER] if settings.shots else [])]
    decoding = replace(
        decoding_of(settings), stop=tuple(dict.fromkeys(stop)), logprob=settings.logprob
    )
    clock = EngineClock(engine.name, load_seconds=time.monotonic() - begin)
    done(0)
    try:
        for generations in clock.timed(engine, requests, decoding):
            store.add(row(g) for g in generations)
            done(len(generations))
    except (RuntimeError, MemoryError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RunError(
            f"the engine failed: {reason}",
            where=job.model,
            hint="what it had finished is kept; the same command goes on from there",
        ) from error
    finally:
        # Whatever stops the engine, what it has finished is kept.
        store.flush()
    return clock.record()


class EngineClock:
    """How long an engine worked, and how long it waited for us."""

    def __init__(self, engine: str, load_seconds: float) -> None:
        self.engine = engine
        self.load_seconds = load_seconds
        self.busy_seconds = self.idle_seconds = 0.0
        self.samples = self.tokens = 0

    def timed(
        self, engine: Engine, requests: Sequence[Request], decoding: Decoding
    ) -> Iterator[list[Generation]]:
        """The engine's samples, on the clock."""
        source = engine.generate(requests, decoding)
        mark = time.monotonic()
        for generations in source:
            self.busy_seconds += time.monotonic() - mark
            self.samples += len(generations)
            self.tokens += sum(g.tokens for g in generations)
            mark = time.monotonic()
            yield generations
            self.idle_seconds += time.monotonic() - mark
            mark = time.monotonic()
        self.busy_seconds += time.monotonic() - mark

    def record(self) -> dict[str, Any]:
        """Seconds, rates, and the memory of the GPU."""
        seconds = max(self.busy_seconds + self.idle_seconds, 1e-9)
        return {
            "engine": self.engine,
            "samples": self.samples,
            "tokens": self.tokens,
            "load_seconds": round(self.load_seconds, 2),
            "busy_seconds": round(self.busy_seconds, 2),
            "idle_seconds": round(self.idle_seconds, 2),
            "samples_per_second": round(self.samples / seconds, 2),
            "tokens_per_second": round(self.tokens / seconds, 1),
            "gpu_gib": _gpu_gib(),
        }


class SampleStats:
    """What samples are like: finish reasons, missing answers, tokens, repeated texts."""

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def add(self, table: pa.Table) -> None:
        """Count the samples of whole problems."""
        distinct = table.group_by(["id", "text"]).aggregate([]).num_rows
        self._numbers.update(
            samples=table.num_rows,
            tokens=pc.sum(table["tokens"]).as_py() or 0,
            without_answer=table["answer"].null_count,
            repeated=table.num_rows - distinct,
        )
        self._reasons.update(table["finish_reason"].to_pylist())

    @property
    def counts(self) -> dict[str, Any]:
        """Everything that was counted."""
        names = ("samples", "tokens", "without_answer", "repeated")
        return {name: self._numbers[name] for name in names} | {
            "finish_reasons": dict(self._reasons)
        }


def missing_requests(
    problems: Sequence[Problem],
    n: int,
    have: Set[tuple[str, int]],
    seed: int,
    shares: Sequence[tuple[int, int]] = (),
) -> Iterator[Request]:
    """Requests for the samples 0..n-1 of every problem that are not in ``have``.

    Args:
        problems: in order; the order decides which share a sample belongs to.
        n: samples per problem.
        have: (problem id, sample) pairs.
        seed: of the run.
        shares: (number from 0, of how many): only what lies in all of them. Blocks of 64 samples
            are dealt out in turn, each share in turn of the one before it; a block stays where it
            is when n grows.
    """
    for place, problem in enumerate(problems):
        for block in range(-(-n // MAX_SAMPLES_PER_REQUEST)):
            if not _in_shares(place + block, shares):
                continue
            start = block * MAX_SAMPLES_PER_REQUEST
            wanted = range(start, min(start + MAX_SAMPLES_PER_REQUEST, n))
            samples = tuple(i for i in wanted if (problem.id, i) not in have)
            if samples:
                yield Request(problem.id, samples, template.prompt(problem.problem), seed)


def _in_shares(turn: int, shares: Sequence[tuple[int, int]]) -> bool:
    for number, count in shares:
        if turn % count != number:
            return False
        turn //= count
    return True


def read_samples(place: Path) -> pa.Table:
    """The samples of a stage folder, or of a Parquet file or folder of the user's own."""
    stage_file = place / FILE
    return parquet_store.read_table(
        stage_file if stage_file.is_file() else place, parquet_store.SAMPLE_SCHEMA
    )


def row(generation: Generation) -> dict[str, Any]:
    """The row of a sample, its answer parsed out of the text."""
    done = template.parse(generation.text, finished=generation.finish_reason == "stop")
    return {
        "id": generation.id,
        "sample": generation.sample,
        "text": generation.text,
        "answer": done.answer,
        "finish_reason": generation.finish_reason,
        "tokens": generation.tokens,
        "logprob": generation.logprob,
    }


def _gpu_gib() -> float | None:
    """Memory in use on this process's GPU, by whomever."""
    import torch

    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info()
    return round((total - free) / 2**30, 2)
