"""Scoring samples with a reward model: each distinct solution once, one forward pass each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.text import Text

from e2h_cli.common import parquet_store
from e2h_cli.common.console import console, progress_bar
from e2h_cli.common.files import ENGINE_STATS, read_json, write_json
from e2h_cli.data.problem import Problem
from e2h_cli.inference.batching import ScoringStats, forward
from e2h_cli.inference.worker_pool import gpu_count, run_in_processes
from e2h_cli.models.reward_formats import RewardModel, open_reward_model

FILE = "scores.parquet"
_CONDITIONS = "conditions.json"


@dataclass(frozen=True, slots=True)
class Distinct:
    """A solution that is scored once, and the samples that it stands for."""

    problem: str
    question: str
    text: str
    finished: bool
    samples: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """What one reward model is to score; can be sent to another process."""

    reward: str
    family: str
    precision: str
    batch_tokens: int | None
    folder: Path
    writer: str
    todo: list[Distinct]

    def store(self) -> parquet_store.ShardedParquetStore:
        """The parts on disk, with a folder of this job's own to write to."""
        return parquet_store.ShardedParquetStore(
            self.folder / FILE,
            self.folder / "parts",
            parquet_store.SCORE_SCHEMA,
            writer=self.writer,
        )


def score_samples(
    samples: pa.Table,
    problems: Mapping[str, Problem],
    reward: str,
    folder: Path,
    *,
    conditions: Mapping[str, Any],
    family: str = "auto",
    batch_tokens: int | None,
    precision: str,
    title: str,
) -> pa.Table:
    """Scores of all samples, from ``folder`` as far as they are there already.

    Args:
        samples: rows of ``parts.SAMPLES``.
        problems: by id.
        reward: place of the reward model.
        folder: keeps scores; emptied when ``conditions`` are not those that it was made under.
        conditions: whatever the scores depend on but the samples themselves.
        family: how the model is read; see ``models.families``.
        batch_tokens: tokens per forward pass, padding included; by the device if None.
        precision: of the model.
        title: of the progress bar.

    Raises:
        RunError: the reward model returned a score that is no number.
    """
    _empty_unless(folder, conditions)
    job = ScoreJob(reward, family, precision, batch_tokens, folder.resolve(), "main", [])
    store = job.store()
    todo = _distinct(samples, problems, store.keys())
    if todo:
        count = sum(len(one.samples) for one in todo)
        console.print(f"{count:,} samples to score, {len(todo):,} distinct")
        job = replace(job, todo=todo)
        for record in _score_all(job, title):
            with (folder / ENGINE_STATS).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({**record, "samples": count}) + "\n")
    store.merge(problems)
    for file in (folder / "parts").rglob("part-*.parquet"):
        file.unlink()
    return parquet_store.read_table(store.target, parquet_store.SCORE_SCHEMA)


def _distinct(
    samples: pa.Table, problems: Mapping[str, Problem], have: parquet_store.SampleKeys
) -> list[Distinct]:
    groups: dict[tuple[str, str, bool], Distinct] = {}
    columns = (samples[name].to_pylist() for name in ("id", "text", "finish_reason", "sample"))
    for problem, text, finish, sample in zip(*columns, strict=True):
        if problem in problems and (problem, sample) not in have:
            key = (problem, text, finish == "stop")
            if key not in groups:
                groups[key] = Distinct(problem, problems[problem].problem, text, finish == "stop")
            groups[key].samples.append(sample)
    return list(groups.values())


def _score_all(job: ScoreJob, title: str) -> Iterator[dict[str, Any]]:
    """Score with one model, or with one per GPU."""
    count = min(gpu_count() or 1, len(job.todo))
    with progress_bar() as bar:
        task = bar.add_task(title, total=len(job.todo), unit="solutions", note="", start=False)

        def advance(done: int) -> None:
            bar.start_task(task)
            bar.advance(task, done)

        if count == 1:
            yield score(job, advance)
            return
        # Whole problems, so that samples of a problem can share its prompt.
        shares: list[list[Distinct]] = [[] for _ in range(count)]
        place = {key: i for i, key in enumerate(dict.fromkeys(one.problem for one in job.todo))}
        for one in job.todo:
            shares[place[one.problem] % count].append(one)
        jobs = [
            replace(job, writer=f"{job.writer}-{i}", todo=share) for i, share in enumerate(shares)
        ]
        store, before = job.store(), job.store().rows_on_disk()
        samples = sum(len(one.samples) for one in job.todo)
        bar.start_task(task)
        bar.update(task, total=samples, unit="samples")
        yield from run_in_processes(
            score, jobs, 1, lambda: bar.update(task, completed=store.rows_on_disk() - before)
        )


def score(job: ScoreJob, done: Callable[[int], None] = lambda count: None) -> dict[str, Any]:
    """Score a job's solutions, write them down, return how fast it went.

    Raises:
        RunError: the reward model returned a score that is no number.
    """
    begin = time.monotonic()
    model = open_reward_model(job.reward, job.family, job.precision)
    loaded = time.monotonic()
    readings = [model.encode(one.question, one.text, one.finished) for one in job.todo]
    tally = ScoringStats()
    # Larger passes leave the cache of a CPU: 16,384 tokens are 1.4 to 1.9 times slower than 2,048.
    budget = job.batch_tokens or (16384 if model.device.type == "cuda" else 2048)
    store = job.store()
    done(0)
    try:
        for batch, scores in forward(model.backbone, model.head, readings, budget,
                                     device=model.device, pad=model.pad_token_id, tally=tally,
                                     problems=[one.problem for one in job.todo]):  # fmt: skip
            rows = []
            for index, found in zip(batch, scores, strict=True):
                one = job.todo[index]
                rows += [
                    {
                        "id": one.problem,
                        "sample": sample,
                        "step_scores": found.steps,
                        "outcome_score": found.outcome,
                    }
                    for sample in one.samples
                ]
            store.add(rows)
            done(len(batch))
    finally:
        store.flush()
    seconds = max(time.monotonic() - loaded, 1e-9)
    return {
        "family": model.family,
        "distinct": len(readings),
        "load_seconds": round(loaded - begin, 2),
        "seconds": round(seconds, 2),
        "tokens": tally.tokens,
        "tokens_saved_by_sharing": tally.shared,
        "padding_share": round(tally.padding / max(tally.tokens + tally.padding, 1), 4),
        "tokens_per_second": round(tally.tokens / seconds, 1),
        "solutions_per_second": round(len(readings) / seconds, 2),
    }


def keep_scores(scores: pa.Table, folder: Path, conditions: Mapping[str, Any]) -> None:
    """Put scores that another project made where ``score_samples`` keeps its own."""
    _empty_unless(folder, conditions)
    parquet_store.write_table(folder / FILE, scores)


def _empty_unless(folder: Path, conditions: Mapping[str, Any]) -> None:
    """Drop scores that were made under other conditions, and note those of now."""
    if (folder / _CONDITIONS).is_file() and read_json(folder / _CONDITIONS) == dict(conditions):
        return
    for file in folder.rglob("*.parquet"):
        file.unlink()
    write_json(folder / _CONDITIONS, dict(conditions))


def show(
    problem: Problem, text: str, finished: bool, reward: str, family: str, precision: str
) -> None:
    """Print a solution with the positions that are read and the values that stand there."""
    model = open_reward_model(reward, family, precision)
    reading = model.encode(problem.problem, text, finished)
    found = forward(model.backbone, model.head, [reading], len(reading.input_ids),
                    device=model.device, pad=model.pad_token_id)  # fmt: skip
    _, (scores,) = next(iter(found))
    values = dict(zip(reading.step_positions, scores.steps, strict=True))
    values[reading.outcome_position] = scores.outcome
    console.print(_marked(model, reading.input_ids, values, f"{problem.id} ({model.family}): "))


def _marked(
    model: RewardModel, ids: Iterable[int], values: Mapping[int, float], title: str
) -> Text:
    line = Text(title, style="bold")
    for position, token in enumerate(ids):
        shown = model.tokenizer.decode([token]).replace("\n", "\\n")
        if position in values:
            line.append(f"{shown}[{position}]={values[position]:.3f} ", style="bold cyan")
        else:
            line.append(f"{shown} ", style="dim")
    return line
