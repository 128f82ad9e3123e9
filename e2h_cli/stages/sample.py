"""``e2h sample``: draw the missing samples of every problem, merge the part files, count."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import fingerprint
from e2h_cli.data.few_shot import LevelOf, choose_examples, level_in_split, of_levels
from e2h_cli.data.problem import solved_by_programs
from e2h_cli.data.prompt_styles import Solved
from e2h_cli.data.reference_solutions import sft_rows
from e2h_cli.data.split_files import read_split, read_training_problems, split_file
from e2h_cli.data.training_rows import read_sft_rows
from e2h_cli.inference.engine_stats import append_engine_stats, sum_engine_stats
from e2h_cli.inference.sampling import (
    SAMPLES_FILE,
    SampleStats,
    SamplingJob,
    sample_all,
    style_of,
)
from e2h_cli.pipeline.lineage import SEEN
from e2h_cli.pipeline.shards import finish_shard, refuse_unfinished, share_of_job, start_shard
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.sample import SampleSettings


def run(context: StageContext[SampleSettings]) -> dict[str, Any] | None:
    """Draw the samples that are not on disk yet, and write all of them to ``samples.parquet``.

    Reads the problems, the generator, and for few-shot prompts training problems, or the rows of a
    supervise stage or file. With --shard only
    the part files of a shard are written, and nothing is returned: the stage is not finished.
    """
    settings = context.settings
    settings.refuse_unused()
    split = context.input_path("problems")
    problems = read_split(split, settings.part)[: settings.limit]
    # Refuses a wording in which the problems are not solved.
    style_of(settings, context.model_or_path("model"), programs=solved_by_programs(problems))
    examples, about = _few_shot_examples(context)
    job = SamplingJob(
        model=context.model_or_path("model"),
        settings=settings,
        problems=tuple(problems),
        examples=examples,
        target=(context.output_dir / SAMPLES_FILE).resolve(),
        folder=context.scratch_dir.resolve(),
        writer="parts",
    )
    job = share_of_job(context, job)
    start_shard(context)

    done = job.store().keys()
    missing = sum(len(request.samples) for request in job.missing(done))
    total = settings.n * len(problems)
    refuse_unfinished(context, missing, total, "samples")
    if done:
        console.print(f"[cyan]{len(done):,} of {total:,} samples are on disk already[/cyan]")
    if missing:
        for record in sample_all(job, missing, context.stage):
            append_engine_stats(context.output_dir, record)
    if settings.shard is not None:
        finish_shard(context)
        return None

    stats = SampleStats(job.style)
    job.store().merge((problem.id for problem in problems), stats.add)
    _print(stats.counts, len(problems))
    file = split_file(split, settings.part)
    about["read"][file.name] = fingerprint(file)
    engine_stats = sum_engine_stats(context.output_dir)
    return {"problems": len(problems), **stats.counts, **engine_stats, **about}


def _few_shot_examples(
    context: StageContext[SampleSettings],
) -> tuple[tuple[Solved, ...], dict[str, Any]]:
    """Solved examples, and what was read: files and fingerprints, levels."""
    settings, given = context.settings, context.optional_input("examples")
    if not settings.shots:
        if given:
            raise InputError("no example is shown without shots", hint="add --shots 4")
        return (), {"read": {}}
    rows, read, level_of = _solved_rows(context)
    examples = choose_examples(rows, settings.shots, level_of)
    if len(examples) < settings.shots:
        kind = (
            "rows are whole solutions that may be shown"
            if given
            else ("training problems have a solution")
        )
        raise InputError(
            f"{len(examples)} {kind}, {settings.shots} are needed",
            where=given or context.model_or_path("problems"),
            hint="lower --shots",
        )
    solved = tuple((e.question, e.steps, e.answer) for e in examples)
    levels = sorted({e.level for e in examples})
    return solved, {"read": read, SEEN: dict.fromkeys(("questions", "labels", "answers"), levels)}


def _solved_rows(
    context: StageContext[SampleSettings],
) -> tuple[Iterator[dict[str, Any]], dict[str, str], LevelOf]:
    """Rows of prompt and completion in a seeded order, fingerprints of what was read, levels."""
    settings, split = context.settings, context.input_path("problems")
    rng = random.Random(f"shots {settings.seed}")
    if context.optional_input("examples"):
        file, rows = read_sft_rows(context.input_path("examples"))
        shuffled = list(rows)
        rng.shuffle(shuffled)
        read = {file.name: fingerprint(file)}
        return iter(shuffled), read, level_in_split(split, settings.shots_from)
    if not split.is_dir():
        raise InputError(
            "few-shot examples would be solutions of the problems that are asked",
            where=split,
            hint="give others with --examples",
        )
    levels = settings.shots_from if settings.shots_from in ("easy", "all") else "hard"
    problems, read = read_training_problems(split, levels)
    problems = of_levels(problems, settings.shots_from)
    level_by_id = {problem.id: problem.level for problem in problems}
    rng.shuffle(problems)
    made = (row for problem in problems for row in sft_rows([problem]))
    return made, read, lambda key, question: level_by_id[key]


def _print(counts: dict[str, Any], problems: int) -> None:
    too_long = counts["finish_reasons"].get("length", 0)
    console.print(
        f"{counts['samples']:,} samples of {problems:,} problems, {counts['tokens']:,} tokens; "
        f"{too_long:,} cut at the token limit, {counts['without_answer']:,} without an answer, "
        f"{counts['repeated']:,} repeat another sample of their problem"
    )
    if (think := counts.get("think")) and think["share"]:
        console.print(
            f"{think['share']:.1%} have a <think> block of {think['mean_tokens']:,.0f} tokens on "
            f"average; {think['unclosed_share']:.1%} do not close it and have no solution"
        )
