"""``e2h sample``: draw the missing samples of every problem, merge them, count them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import ENGINE_STATS, fingerprint, read_jsonl, write_atomic
from e2h_cli.data import template
from e2h_cli.data.split_files import read_split, read_training_problems, split_file
from e2h_cli.inference.sampling import FILE, SampleStats, SamplingJob
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.sample import SampleSettings


def run(context: StageContext[SampleSettings]) -> dict[str, Any] | None:
    """Draw the samples that are not on disk yet; merge; count. None where shards are missing."""
    settings = context.settings
    file = split_file(context.input_path("problems"), settings.part)
    problems = read_split(context.input_path("problems"), settings.part)[: settings.limit]
    prefix, read = _shots(context, settings)
    job = SamplingJob(
        model=context.model_or_path("model"),
        settings=settings,
        problems=tuple(problems),
        prefix=prefix,
        target=(context.output_dir / FILE).resolve(),
        folder=context.scratch_dir.resolve(),
        writer=settings.shard_name or "parts",
        shares=((settings.shard[0] - 1, settings.shard[1]),) if settings.shard else (),
    )
    store = job.store()
    have = store.keys()
    todo = sum(len(request.samples) for request in job.missing(have))
    total = settings.n * len(problems)
    if settings.merge and todo:
        raise InputError(
            f"cannot merge: {todo:,} of {total:,} samples are missing{_which(context.scratch_dir)}",
            where=context.output_dir,
            hint="draw them with the --shard that is missing, or all that is left without --merge",
        )
    if len(have):
        console.print(f"[cyan]{len(have):,} of {total:,} samples are on disk already[/cyan]")
    if todo:
        from e2h_cli.inference.worker_pool import sample_all

        for record in sample_all(job, todo, context.stage):
            if record:
                _note(context.output_dir / ENGINE_STATS, record)
    if settings.shard is not None:
        write_atomic(context.scratch_dir / f"{settings.shard_name}.whole", "")
        console.print("when all shards are drawn, put them together with --merge")
        return None
    counted = SampleStats()
    store.merge((problem.id for problem in problems), counted.add)
    counts = counted.counts
    _print(counts, len(problems))
    engines = _engines(context.output_dir / ENGINE_STATS)
    return {
        "problems": len(problems),
        **counts,
        **engines,
        "read": {file.name: fingerprint(file)} | read,
    }


def _shots(
    context: StageContext[SampleSettings], settings: SampleSettings
) -> tuple[str, dict[str, str]]:
    """Solved training problems as text, and fingerprints of the files that they come from."""
    if not settings.shots:
        return "", {}
    import random

    from e2h_cli.data.sft_rows import sft_rows

    problems, read = read_training_problems(context.input_path("problems"), settings.shots_from)
    random.Random(f"shots {settings.seed}").shuffle(problems)
    rows = sft_rows(problems[: 4 * settings.shots])[: settings.shots]
    if len(rows) < settings.shots:
        raise InputError(
            f"{len(rows)} training problems have a solution, {settings.shots} are needed",
            where=context.model_or_path("problems"),
            hint="lower --shots",
        )
    blocks = [shot["prompt"] + shot["completion"] + template.SEPARATOR for shot in rows]
    return "".join(blocks), read


def _which(scratch: Path) -> str:
    """Which shards have been begun and are not whole, for a message."""
    begun = {p.name for p in scratch.glob("shard-*") if p.is_dir()}
    whole = {p.stem for p in scratch.glob("shard-*.whole")}
    counts = {name.rpartition("-")[2] for name in begun}
    if len(counts) != 1:
        return ""
    count = int(counts.pop())
    absent = [i for i in range(1, count + 1) if f"shard-{i}-of-{count}" not in whole]
    return f" (not done: {', '.join(f'--shard {i}/{count}' for i in absent)})" if absent else ""


def _note(file: Path, record: dict[str, Any]) -> None:
    """Append a line; shards do so side by side, and a line is written in one piece."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")


def _engines(file: Path) -> dict[str, Any]:
    """Sums over the engines that worked here and were not killed."""
    if not file.is_file():
        return {}
    records = [record for _, record in read_jsonl(file)]
    seconds = sum(r["busy_seconds"] + r["idle_seconds"] for r in records) or 1e-9
    return {
        "engines": sorted({r["engine"] for r in records}),
        "engine_seconds": round(seconds, 1),
        "idle_share": round(sum(r["idle_seconds"] for r in records) / seconds, 4),
        "tokens_per_engine_second": round(sum(r["tokens"] for r in records) / seconds, 1),
        "samples_per_engine_second": round(sum(r["samples"] for r in records) / seconds, 2),
        "gpu_gib": max((r["gpu_gib"] or 0 for r in records), default=0) or None,
    }


def _print(counts: dict[str, Any], problems: int) -> None:
    too_long = counts["finish_reasons"].get("length", 0)
    console.print(
        f"{counts['samples']:,} samples of {problems:,} problems, {counts['tokens']:,} tokens; "
        f"{too_long:,} cut at the token limit, {counts['without_answer']:,} without an answer, "
        f"{counts['repeated']:,} repeat another sample of their problem"
    )
