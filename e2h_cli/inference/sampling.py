"""Sampling: find which samples are missing, draw them with an engine, store them as part files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from e2h_cli.common.errors import InputError, RunError
from e2h_cli.common.parquet_store import SAMPLE_SCHEMA, ShardedParquetStore, read_table
from e2h_cli.data import prompt_styles, template
from e2h_cli.data.problem import Problem
from e2h_cli.data.prompt_styles import STYLES, PromptStyle
from e2h_cli.inference.engine_stats import EngineClock
from e2h_cli.inference.engines.base import MAX_SAMPLES_PER_REQUEST, Generation, Request
from e2h_cli.inference.worker_pool import gpu_count, gpus_per_engine, run_with_progress
from e2h_cli.settings.sample import SampleSettings

SAMPLES_FILE = "samples.parquet"
# In the metadata of a file: the wording of its texts, if it is not e2h's template.
_WORDING = b"prompt"


@dataclass(frozen=True, slots=True)
class SamplingJob:
    """What one engine draws. Picklable, so that it can be sent to a worker."""

    model: str  # folder or Hub name of the generator
    settings: SampleSettings
    problems: tuple[Problem, ...]  # all of the run, whatever the share of this job
    prefix: str  # solved examples in front of every prompt; empty if zero-shot
    target: Path  # the merged samples file
    folder: Path  # under which all workers write part files
    writer: str  # path of this worker's own folder in ``folder``
    # (index from 0, count) of the shard and of the worker; see ``missing_requests``.
    shares: tuple[tuple[int, int], ...] = ()
    # Problem id -> what its solutions begin with; a problem that is not here begins with nothing.
    begun: Mapping[str, str] = field(default_factory=dict)

    def store(self) -> ShardedParquetStore:
        """The samples on disk, of all workers; new ones go to this worker's folder."""
        flush_seconds, prompt = self.settings.flush_seconds, self.settings.prompt
        schema = SAMPLE_SCHEMA
        if prompt != "e2h":
            schema = schema.with_metadata({_WORDING: prompt})
        return ShardedParquetStore(self.target, self.folder, schema, self.writer, flush_seconds)

    def missing(self, done: Set[tuple[str, int]]) -> list[Request]:
        """Requests for the samples of this job that are not in ``done``."""
        n, seed = self.settings.n, self.settings.seed
        missing = missing_requests(self.problems, n, done, seed, self.shares, self.style.prompt)
        return [
            replace(r, prompt=self.prefix + r.prompt + self.begun.get(r.id, "")) for r in missing
        ]

    @property
    def style(self) -> PromptStyle:
        """The wording of the prompts."""
        return STYLES[self.settings.prompt]

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end a sample: a few-shot prompt invites a question of the model's own."""
        asks_on = self.settings.shots or self.settings.prompt != "e2h"
        own = [self.style.next_question] if asks_on else []
        return tuple(dict.fromkeys([*self.settings.stop, *own]))


def sample_all(
    job: SamplingJob, missing: int, title: str, in_worker: bool = False
) -> Iterator[dict[str, Any]]:
    """Draw the missing samples of a job with one or more engines; yield the engines' records.

    ``missing``: number of samples that are not on disk yet; ``title``: of the progress bar;
    ``in_worker``: start a process even for one engine, so that its GPU memory is free afterwards.
    """
    settings = job.settings
    gpus = gpus_per_engine(settings.engine_arg)
    count = settings.workers or gpu_count() // gpus or 1
    jobs = [
        replace(job, writer=f"{job.writer}/{i}-of-{count}", shares=(*job.shares, (i, count)))
        for i in range(count)
    ]
    return run_with_progress(
        sample,
        jobs,
        job.store(),
        title=title,
        total=missing,
        in_worker=in_worker,
        gpus_per_job=gpus,
        ray_address=settings.ray,
    )


def sample(
    job: SamplingJob, on_progress: Callable[[int], None] = lambda count: None
) -> dict[str, Any]:
    """Draw the missing samples of a job with one engine; return the engine's record.

    ``on_progress`` is called with 0 when the engine is loaded, then with numbers of new samples.

    Raises:
        RunError: the engine failed. The samples that it had finished are on disk.
    """
    from e2h_cli.inference.engines.select import open_engine, sampling_parameters

    settings = job.settings
    store = job.store()
    requests = job.missing(store.keys())
    if not requests:
        return {}
    parameters = replace(sampling_parameters(settings), stop=job.stop, logprob=settings.logprob)
    begin = time.monotonic()
    prompts = list({request.id: request.prompt for request in requests}.values())
    engine = open_engine(job.model, settings, prompts, store.writer_folder)
    clock = EngineClock(engine.name, load_seconds=time.monotonic() - begin)
    on_progress(0)
    try:
        for generations in clock.timed(engine, requests, parameters):
            store.add(sample_row(g, job.style) for g in generations)
            on_progress(len(generations))
    except (RuntimeError, MemoryError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RunError(
            f"the engine failed: {reason}",
            where=job.model,
            hint="finished samples are kept; the same command goes on from there",
        ) from error
    finally:
        # Whatever stops the engine, finished samples are kept.
        store.flush()
    return clock.record()


class SampleStats:
    """Counts over all samples: tokens, finish reasons, missing answers, repeated texts."""

    def __init__(self) -> None:
        self._numbers = Counter(samples=0, tokens=0, without_answer=0, repeated=0)
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
        """All counts."""
        return {**self._numbers, "finish_reasons": dict(self._reasons)}


def missing_requests(
    problems: Sequence[Problem],
    n: int,
    done: Set[tuple[str, int]],
    seed: int,
    shares: Sequence[tuple[int, int]] = (),
    prompt: Callable[[str], str] = template.prompt,
) -> Iterator[Request]:
    """Requests for the samples 0..n-1 of every problem that are not in ``done``.

    Args:
        problems: in a fixed order, which decides the share that a sample belongs to.
        n: samples per problem.
        done: (problem id, sample number) pairs.
        seed: of the run.
        shares: (index from 0, count) pairs, one per level of sharding; a request must be in all.
            Blocks of 64 samples are dealt out in turn, at each level those of the level before. A
            block stays in its share when n grows.
        prompt: question -> prompt.
    """
    for position, problem in enumerate(problems):
        for block in range(-(-n // MAX_SAMPLES_PER_REQUEST)):
            if not _in_shares(position + block, shares):
                continue
            start = block * MAX_SAMPLES_PER_REQUEST
            numbers = range(start, min(start + MAX_SAMPLES_PER_REQUEST, n))
            samples = tuple(i for i in numbers if (problem.id, i) not in done)
            if samples:
                yield Request(problem.id, samples, prompt(problem.problem), seed)


def _in_shares(turn: int, shares: Sequence[tuple[int, int]]) -> bool:
    for index, count in shares:
        if turn % count != index:
            return False
        turn //= count
    return True


def read_samples(path: Path) -> pa.Table:
    """The samples of a stage folder, or of a Parquet file or folder of the user's own.

    Texts of another wording, which the metadata of the file name, are turned into e2h's template.
    """
    stage_file = path / SAMPLES_FILE
    file = stage_file if stage_file.is_file() else path
    table = read_table(file, SAMPLE_SCHEMA)
    wording = (pq.ParquetDataset(file).schema.metadata or {}).get(_WORDING)
    if wording is None:
        return table
    style = next((s for name, s in STYLES.items() if name == wording.decode()), None)
    if style is None:
        raise InputError(
            f"samples of the prompts {wording.decode()!r}, which this e2h does not know",
            where=file,
            hint="read them with the e2h that drew them",
        )
    texts = pa.array(map(style.in_template, table["text"].to_pylist()), pa.string())
    return table.set_column(table.schema.get_field_index("text"), "text", texts)


def sample_row(generation: Generation, style: PromptStyle = STYLES["e2h"]) -> dict[str, Any]:
    """A row of ``SAMPLE_SCHEMA``; the answer is parsed from the text."""
    finished = generation.finish_reason == "stop"
    solution = prompt_styles.parse(style, generation.text, finished=finished)
    columns = ("id", "sample", "text", "finish_reason", "tokens", "logprob")
    return {"answer": solution.answer} | {name: getattr(generation, name) for name in columns}
