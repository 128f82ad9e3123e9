"""Sampling: find which samples are missing, draw them with an engine, store them as part files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from e2h_cli.common.errors import InputError, RunError, reason_of
from e2h_cli.common.parquet_store import SAMPLE_SCHEMA, ShardedParquetStore, read_table
from e2h_cli.data import prompt_styles
from e2h_cli.data.problem import Problem, solved_by_programs
from e2h_cli.data.prompt_styles import (
    E2H,
    PROGRAM,
    STYLES,
    ChatStyle,
    PromptStyle,
    Solved,
    chat_style,
    style_of_metadata,
)
from e2h_cli.inference.engine_stats import EngineClock
from e2h_cli.inference.engines.base import (
    MAX_SAMPLES_PER_REQUEST,
    Generation,
    Request,
    WholeWaves,
    sample_seed,
)
from e2h_cli.inference.worker_pool import gpus_per_engine, run_shared
from e2h_cli.settings.prompt import PROGRAM_SYSTEM, ChatSettings
from e2h_cli.settings.sample import SampleSettings

SAMPLES_FILE = "samples.parquet"
# Samples of chats also have the tokens of their <think> block.
THINK_TOKENS = "think_tokens"
# Of samples without seeds: all of a wave are kept, or none (``WholeWaves``).
REQUESTS_PER_WAVE = 32


@dataclass(frozen=True, slots=True)
class SamplingJob:
    """What one engine draws. Picklable, so that it can be sent to a worker."""

    model: str  # folder or Hub name of the generator
    settings: SampleSettings
    problems: tuple[Problem, ...]  # all of the run, whatever the share of this job
    examples: tuple[Solved, ...]  # shown before every question; empty if zero-shot
    target: Path  # the merged samples file
    folder: Path  # under which all workers write part files
    writer: str  # path of this worker's own folder in ``folder``
    # (index from 0, count) of the shard and of the worker; see ``missing_requests``.
    shares: tuple[tuple[int, int], ...] = ()
    # Problem id -> what its solutions begin with; a problem that is not here begins with nothing.
    begun: Mapping[str, str] = field(default_factory=dict)

    def store(self) -> ShardedParquetStore:
        """The samples on disk, of all workers; new ones go to this worker's folder."""
        style, schema = self.style, SAMPLE_SCHEMA
        if isinstance(style, ChatStyle):
            schema = schema.append(pa.field(THINK_TOKENS, pa.int32()))
        # The file tells the wording of its texts, if it is not e2h's template.
        schema = schema.with_metadata(style.metadata or None)
        flush_seconds = self.settings.flush_seconds
        return ShardedParquetStore(self.target, self.folder, schema, self.writer, flush_seconds)

    def share(self, index: int, count: int, writer: str) -> Self:
        """A share of the samples; see ``missing_requests``."""
        return replace(self, writer=writer, shares=(*self.shares, (index, count)))

    def missing(self, done: Set[tuple[str, int]]) -> list[Request]:
        """Requests for the samples of this job that are not in ``done``."""
        n, seed = self.settings.n, self.settings.seed
        prompt = partial(self.style.prompt, examples=self.examples)
        missing = missing_requests(self.problems, n, done, seed, self.shares, prompt)
        return [replace(r, prompt=r.prompt + self.begun.get(r.id, "")) for r in missing]

    @property
    def style(self) -> PromptStyle:
        """The wording of the prompts. Raises InputError if the model has no chat template."""
        return style_of(self.settings, self.model, programs=solved_by_programs(self.problems))

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end a sample: a few-shot prompt invites a question of the model's own."""
        asks_on = self.settings.shots or self.settings.prompt != "e2h"
        own = [self.style.next_question] if asks_on and self.style.next_question else []
        return tuple(dict.fromkeys([*self.settings.stop, *own]))


def style_of(settings: ChatSettings, model: str, *, programs: bool = False) -> PromptStyle:
    """The wording that the settings name, for a model by folder or Hub name.

    ``programs``: whether the problems are solved by programs. Raises InputError if the tokenizer
    has no chat template and needs one, or for a wording in which no programs are written.
    """
    if settings.is_chat:
        default = type(settings).model_fields["system"].default
        of_programs = programs and settings.system == default
        system = PROGRAM_SYSTEM if of_programs else settings.system
        return _chat_style(model, system, settings.step_separator, programs)
    name = getattr(settings, "prompt", "e2h")
    if not programs:
        return STYLES[name]
    if name != "e2h" or getattr(settings, "shots", 0):
        asked = f"--prompt {name}" if name != "e2h" else "--shots"
        raise InputError(f"{asked}: not for problems that are solved by programs")
    return STYLES[PROGRAM]


@lru_cache(maxsize=1)
def _chat_style(model: str, system: str, step_separator: str, programs: bool) -> ChatStyle:
    from e2h_cli.models.loading import load_tokenizer

    tokenizer = load_tokenizer(model)
    return chat_style(tokenizer, system=system, step_separator=step_separator, programs=programs)


def sample_all(
    job: SamplingJob, missing: int, title: str, in_worker: bool = False
) -> Iterator[dict[str, Any]]:
    """Draw the missing samples of a job with one or more engines; yield the engines' records.

    ``missing``: number of samples that are not on disk yet; ``title``: of the progress bar;
    ``in_worker``: start a process even for one engine, so that its GPU memory is free afterwards.
    """
    return run_shared(
        sample,
        job,
        job.settings,
        title=title,
        total=missing,
        in_worker=in_worker,
        gpus_per_job=gpus_per_engine(job.settings.engine_arg),
    )


def sample(
    job: SamplingJob, on_progress: Callable[[int], None] = lambda count: None
) -> dict[str, Any]:
    """Draw the missing samples of a job with one engine; return the engine's record.

    ``on_progress`` is called with 0 when the engine is loaded, then with numbers of new samples.

    Raises:
        RunError: the engine failed. The samples that it had finished are on disk.
    """
    from e2h_cli.inference.engines.select import (
        open_engine,
        sampling_parameters,
        select_engine,
    )

    settings = job.settings
    store = job.store()
    requests = job.missing(store.keys())
    if not requests:
        return {}
    style, seeded = job.style, settings.seed_per_sample
    if seeded is None:
        seeded = select_engine(settings.engine, settings.engine_arg) != "vllm"
    parameters = replace(
        sampling_parameters(settings),
        stop=job.stop,
        logprob=settings.logprob,
        stop_token_ids=style.stop_token_ids,
        seed_per_sample=seeded,
    )
    begin = time.monotonic()
    prompts = list({request.id: request.prompt for request in requests}.values())
    seed = None if seeded else _engine_seed(job, requests)
    engine = open_engine(job.model, settings, prompts, store.writer_folder, seed)
    waves = None if seeded else WholeWaves(requests, REQUESTS_PER_WAVE)
    clock = EngineClock(engine.name, load_seconds=time.monotonic() - begin)
    on_progress(0)
    try:
        for generations in clock.timed(engine, requests, parameters):
            kept = waves.add(generations) if waves else generations
            store.add(sample_row(g, style, job.begun.get(g.id, "")) for g in kept)
            on_progress(len(generations))
    except (RuntimeError, MemoryError) as error:
        raise RunError(
            f"the engine failed: {reason_of(error)}",
            where=job.model,
            hint="finished samples are kept; the same command goes on from there",
        ) from error
    finally:
        # Whatever stops the engine, finished samples are kept.
        store.flush()
    return clock.record()


def _engine_seed(job: SamplingJob, requests: Sequence[Request]) -> int:
    """The seed of an engine's own noise: another for each worker, and after each kill."""
    missing = sum(len(request.samples) for request in requests)
    first = requests[0]
    name = f"{job.writer} {missing} {first.id}"
    # vLLM takes seeds of 32 bits.
    return sample_seed(job.settings.seed, name, first.samples[0]) % 2**32


class SampleStats:
    """Counts over all samples: tokens, finish reasons, missing answers, repeated texts.

    Of chats also the ``<think>`` blocks: shares of samples with one and with one that is not
    closed, and the mean tokens of a block.
    """

    def __init__(self, style: PromptStyle = E2H) -> None:
        self._style = style
        self._thoughts = Counter(blocks=0, unclosed=0, tokens=0)
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
        if isinstance(self._style, ChatStyle):
            starts = map(self._style.solution_start, table["text"].to_pylist())
            self._thoughts.update(
                blocks=pc.sum(pc.greater(table[THINK_TOKENS], 0)).as_py() or 0,
                unclosed=sum(start is None for start in starts),
                tokens=pc.sum(table[THINK_TOKENS]).as_py() or 0,
            )

    @property
    def counts(self) -> dict[str, Any]:
        """All counts."""
        found = {**self._numbers, "finish_reasons": dict(self._reasons)}
        if isinstance(self._style, ChatStyle):
            samples, blocks = max(self._numbers["samples"], 1), self._thoughts["blocks"]
            found["think"] = {
                "share": round(blocks / samples, 4),
                "unclosed_share": round(self._thoughts["unclosed"] / samples, 4),
                "mean_tokens": round(self._thoughts["tokens"] / max(blocks, 1), 1),
            }
        return found


def missing_requests(
    problems: Sequence[Problem],
    n: int,
    done: Set[tuple[str, int]],
    seed: int,
    shares: Sequence[tuple[int, int]] = (),
    prompt: Callable[[str], str] = E2H.prompt,
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
    table = read_table(_samples_file(path), SAMPLE_SCHEMA)
    return in_template(table, read_style(path))


def read_style(path: Path) -> PromptStyle:
    """The wording of samples, from the metadata of their file."""
    file = _samples_file(path)
    found = pq.ParquetDataset(file).schema.metadata or {}
    metadata = {key.decode(): value.decode(errors="replace") for key, value in found.items()}
    return style_of_metadata(metadata, file)


def in_template(samples: pa.Table, style: PromptStyle) -> pa.Table:
    """Samples of a wording with their texts in e2h's template."""
    if style is E2H:
        return samples
    texts = pa.array(map(style.in_template, samples["text"].to_pylist()), pa.string())
    return samples.set_column(samples.schema.get_field_index("text"), "text", texts)


def _samples_file(path: Path) -> Path:
    file = path / SAMPLES_FILE
    return file if file.is_file() else path


def sample_row(generation: Generation, style: PromptStyle = E2H, begun: str = "") -> dict[str, Any]:
    """A row of a samples file; the answer is parsed from the text.

    ``begun``: what the prompt ended in, if it was a part of the solution.
    """
    text = style.completed(begun, generation.text)
    finished = generation.finish_reason == "stop"
    row: dict[str, Any] = {"answer": prompt_styles.parse(style, text, finished=finished).answer}
    if isinstance(style, ChatStyle):
        row[THINK_TOKENS] = style.think_tokens(text)
    columns = ("id", "sample", "text", "finish_reason", "tokens", "logprob")
    return row | {name: getattr(generation, name) for name in columns}
