"""``e2h eval --probe``: does a generator write the rest of the test questions from memory?

Reads the problems and the generator. Writes completions.parquet (rows as those of samples),
questions.jsonl (the parts of every question and what was written) and probe.{json,csv,md}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import write_jsonl
from e2h_cli.data.problem import Problem
from e2h_cli.data.split_files import max_level, read_split
from e2h_cli.evaluation.memorization import CutQuestion, cut, rouge_l, writes_exactly
from e2h_cli.evaluation.statistics import mean_interval
from e2h_cli.inference.engine_stats import append_engine_stats, sum_engine_stats
from e2h_cli.inference.partial_prompts import PartialPromptJob
from e2h_cli.inference.sampling import read_samples, sample_all
from e2h_cli.models.loading import load_tokenizer
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.reports.benchmark_tables import write_benchmark
from e2h_cli.reports.results import problem_groups
from e2h_cli.reports.tables import ReportTable
from e2h_cli.settings.base import EngineOptions
from e2h_cli.settings.evaluate import EvalSettings
from e2h_cli.settings.sample import SampleSettings

_COMPLETIONS = "completions.parquet"
# The rest of a question may be tokenized otherwise behind its first part than by itself.
_SPARE_TOKENS = 8


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Percent of the questions whose rest was written, and mean ROUGE-L in percent."""

    group: str
    questions: int
    exact: float
    exact_low: float
    exact_high: float
    rouge_l: float
    rouge_l_low: float
    rouge_l_high: float


def run_probe(context: StageContext[EvalSettings]) -> dict[str, Any]:
    """Cut the test questions, continue them greedily, compare, print and write."""
    settings, model = context.settings, context.model_or_path("generator")
    source = context.input_path("problems")
    problems = read_split(source, "test")
    parts = {p.id: cut(p.problem, settings.probe_fraction) for p in problems}
    cuts = {key: found for key, found in parts.items() if found is not None}
    kept = [problem for problem in problems if problem.id in cuts]
    if not kept:
        raise InputError("no question has a rest", where=source, hint="lower --probe-fraction")
    job = _job(context, model, kept, cuts)
    tokens = job.settings.max_tokens
    _complete(context, job)
    table = read_samples(job.target)
    written = dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    rows = []
    for p in kept:
        rest, text = cuts[p.id].rest, written[p.id]
        compared = {"exact": writes_exactly(text, rest), "rouge_l": round(rouge_l(text, rest), 4)}
        about = {"id": p.id, "level": p.level, **cuts[p.id]._asdict(), "written": text}
        rows.append({**about, **compared})
    write_jsonl(context.output_dir / "questions.jsonl", rows)
    results = _results(rows, kept, max_level(source), settings.confidence)
    name, whole = context.input_name("generator"), len(problems) - len(kept)
    title = (
        f"Rest of the question written by {name}, in percent ({context.made_at}, first "
        f"{settings.probe_fraction:.0%} given, greedy, {tokens} tokens allowed, "
        f"{settings.confidence:.0%} intervals over questions)"
    )
    notes = [f"{whole:,} questions have no rest, and are left out."] if whole else []
    for shown in (table := _table(results, title), *notes):
        console.print(shown)
    about = {
        "scale": context.scale,
        "generator": context.input_names["generator"][0],
        "fraction": settings.probe_fraction,
        "max_tokens": tokens,
        "left_out": whole,
        "confidence": settings.confidence,
    }
    write_benchmark(context.output_dir, "probe", about, results, [table], notes)
    engine = sum_engine_stats(context.output_dir)
    return {"questions": len(kept), "exact": sum(r["exact"] for r in rows), **engine}


def _job(
    context: StageContext[EvalSettings],
    model: str,
    problems: Sequence[Problem],
    cuts: Mapping[str, CutQuestion],
) -> PartialPromptJob:
    """One greedy sample of every question."""
    settings = context.settings
    tokens = settings.max_tokens
    if tokens is None:
        rests = load_tokenizer(model)([found.rest for found in cuts.values()]).input_ids
        tokens = max(map(len, rests)) + _SPARE_TOKENS
    engine = {name: getattr(settings, name) for name in EngineOptions.model_fields}
    greedy: dict[str, Any] = {"n": 1, "temperature": 0, "top_k": 0, "max_tokens": tokens}
    return PartialPromptJob(
        model=model,
        settings=SampleSettings(**engine, **greedy),
        problems=tuple(problems),
        examples=(),
        target=(context.output_dir / _COMPLETIONS).resolve(),
        folder=context.scratch_dir.resolve(),
        writer="parts",
        begun={key: found.given for key, found in cuts.items()},
    )


def _complete(context: StageContext[EvalSettings], job: PartialPromptJob) -> None:
    """Draw what is not on disk yet, and merge it."""
    done = job.store().keys()
    missing = len(job.missing(done))
    if done:
        console.print(f"[cyan]{len(done):,} of {len(job.problems):,} are on disk already[/cyan]")
    if missing:
        for record in sample_all(job, missing, context.stage):
            append_engine_stats(context.output_dir, record)
    job.store().merge(problem.id for problem in job.problems)


def _results(
    rows: Sequence[Mapping[str, Any]],
    problems: Sequence[Problem],
    last_easy: int,
    confidence: float,
) -> list[ProbeResult]:
    """Of every level, of easy and hard ones, and of all questions."""
    values = {key: np.array([float(row[key]) for row in rows]) for key in ("exact", "rouge_l")}
    results = []
    for group, mask in problem_groups(problems, last_easy).items():
        if group.startswith("subject"):
            continue
        numbers = [
            round(100 * number, 2)
            for one in values.values()
            for number in (one[mask].mean(), *mean_interval(one[mask], confidence))
        ]
        results.append(ProbeResult(group, int(mask.sum()), *numbers))
    return results


def _table(results: Sequence[ProbeResult], title: str) -> ReportTable:
    header = ("", "questions", "exact match", "interval", "ROUGE-L", "interval")
    rows = [
        (
            r.group,
            f"{r.questions:,}",
            f"{r.exact:.1f}",
            f"{r.exact_low:.1f}-{r.exact_high:.1f}",
            f"{r.rouge_l:.1f}",
            f"{r.rouge_l_low:.1f}-{r.rouge_l_high:.1f}",
        )
        for r in results
    ]
    return ReportTable(title, header, rows)
