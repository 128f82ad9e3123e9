"""The work of ``e2h sample``: what is still missing -> engine -> parts on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from e2h_cli import parts, solution
from e2h_cli.console import console, progress_bar
from e2h_cli.engines.base import MAX_SAMPLES_PER_REQUEST, Decoding, Engine, Generation, Request
from e2h_cli.errors import InputError
from e2h_cli.files import fingerprint
from e2h_cli.pipeline import Work
from e2h_cli.problems.problem import Problem
from e2h_cli.problems.store import part_file, read_part
from e2h_cli.settings import SampleSettings

FILE = "samples.parquet"


def run(work: Work) -> dict[str, Any]:
    """Draw the samples that are not on disk yet; merge; count."""
    settings = work.settings
    assert isinstance(settings, SampleSettings)
    file = part_file(work.path("problems"), settings.part)
    problems = read_part(work.path("problems"), settings.part)[: settings.limit]
    store = parts.Parts(work.folder / FILE, work.scratch, parts.SAMPLES)
    have = store.keys()
    requests = list(missing(problems, settings.n, have, settings.seed))
    total = settings.n * len(problems)
    todo = sum(len(request.samples) for request in requests)
    if todo < total:
        console.print(f"[cyan]{total - todo:,} of {total:,} samples are on disk already[/cyan]")
    if requests:
        engine = _engine(work.place("model"), settings)
        _draw(engine, requests, settings, store, total, work.stage)
    table = store.merge(problem.id for problem in problems)
    counts = count(table)
    _print(counts, len(problems))
    return {"problems": len(problems), **counts, "read": {file.name: fingerprint(file)}}


def missing(
    problems: Sequence[Problem], n: int, have: Collection[tuple[str, int]], seed: int
) -> Iterator[Request]:
    """Requests for the samples 0..n-1 of every problem that are not in ``have``."""
    for problem in problems:
        wanted = [i for i in range(n) if (problem.id, i) not in have]
        for start in range(0, len(wanted), MAX_SAMPLES_PER_REQUEST):
            samples = tuple(wanted[start : start + MAX_SAMPLES_PER_REQUEST])
            yield Request(problem.id, samples, solution.prompt(problem.problem), seed)


def read_samples(place: Path) -> pa.Table:
    """The samples of a stage folder, or of a Parquet file or folder of the user's own."""
    stage_file = place / FILE
    return parts.read(stage_file if stage_file.is_file() else place, parts.SAMPLES)


def count(table: pa.Table) -> dict[str, Any]:
    """What the samples are like: finish reasons, missing answers, tokens, repeated texts."""
    rows = table.num_rows
    distinct = table.group_by(["id", "text"]).aggregate([]).num_rows
    tokens = sum(table["tokens"].to_pylist())
    return {
        "samples": rows,
        "tokens": tokens,
        "finish_reasons": dict(Counter(table["finish_reason"].to_pylist())),
        "without_answer": table["answer"].null_count,
        "repeated": rows - distinct,
    }


def row(generation: Generation) -> dict[str, Any]:
    """The row of a sample, its answer parsed out of the text."""
    done = solution.parse(generation.text, finished=generation.finish_reason == "stop")
    return {
        "id": generation.id,
        "sample": generation.sample,
        "text": generation.text,
        "answer": done.answer,
        "finish_reason": generation.finish_reason,
        "tokens": generation.tokens,
        "logprob": generation.logprob,
    }


def _engine(place: str, settings: SampleSettings) -> Engine:
    from e2h_cli.engines.transformers_engine import TransformersEngine
    from e2h_cli.models.loading import load_generator, load_tokenizer

    model = load_generator(place, settings.precision)
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit is not None and settings.max_tokens >= limit:
        raise InputError(
            f"max_tokens {settings.max_tokens} does not fit into the model's {limit} positions",
            where=place,
            hint="lower --max-tokens",
        )
    return TransformersEngine(model, load_tokenizer(place), rows=settings.rows)


def _draw(
    engine: Engine,
    requests: list[Request],
    settings: SampleSettings,
    store: parts.Parts,
    total: int,
    title: str,
) -> None:
    decoding = Decoding(
        settings.temperature, settings.top_k, settings.top_p, settings.min_p, settings.max_tokens
    )
    todo = sum(len(request.samples) for request in requests)
    with progress_bar() as bar:
        task = bar.add_task(
            title, total=total, unit="samples", note="", completed=total - todo, begin=total - todo
        )
        try:
            for generations in engine.generate(requests, decoding):
                store.add(row(g) for g in generations)
                bar.advance(task, len(generations))
        finally:
            # Whatever stops the engine, what it has finished is kept.
            store.flush()


def _print(counts: dict[str, Any], problems: int) -> None:
    cut = counts["finish_reasons"].get("length", 0)
    console.print(
        f"{counts['samples']:,} samples of {problems:,} problems, {counts['tokens']:,} tokens; "
        f"{cut:,} cut at the token limit, {counts['without_answer']:,} without an answer, "
        f"{counts['repeated']:,} repeat another sample of their problem"
    )
