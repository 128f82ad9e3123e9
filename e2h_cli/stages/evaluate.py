"""``e2h eval``: the accuracy of all samples and votes of a run, in tables, a plot and a sentence.

Reads the problems, sample stages (accuracy of single samples), rerank stages (accuracy of voting)
and, with ``--reward-metrics``, the scores of these. Writes results.{json,csv,md} and the plots to
its own folder, and all but the plots of reward models to the run folder as well.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2h_cli.common import parquet_store
from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem
from e2h_cli.data.split_files import max_level, read_answered_problems
from e2h_cli.evaluation.labelled_scores import (
    ScoredSamples,
    grade_scored_samples,
    labelled_outcomes,
    labelled_steps,
)
from e2h_cli.evaluation.measurements import Measurement, contrasts
from e2h_cli.evaluation.rm_report import reward_metrics
from e2h_cli.evaluation.sample_groups import group_samples
from e2h_cli.grading import Grader, get_grader
from e2h_cli.inference import scoring
from e2h_cli.inference.sampling import read_samples
from e2h_cli.pipeline.lineage import input_path, input_record
from e2h_cli.pipeline.run_folder import StageFolder
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.reports import table5
from e2h_cli.reports.figures import plot_accuracy_against_n, plot_reward_model
from e2h_cli.reports.result_files import read_measurements, write_results
from e2h_cli.reports.results import (
    BY,
    Comparison,
    Metric,
    Results,
    finding,
    problem_groups,
    several_reward_models,
    summarise,
)
from e2h_cli.reports.rm_tables import diagnostics_table, reward_model_tables
from e2h_cli.reports.tables import markdown_of, result_tables
from e2h_cli.settings.evaluate import EvalSettings
from e2h_cli.stages.rerank import IMPORTED, SCORES

PLOT = "accuracy-against-n"


@dataclass(frozen=True, slots=True)
class _Measured:
    """Measurements of one sample or rerank stage, on the problems ``ids``."""

    ids: list[str]
    measurements: list[Measurement]


def run(context: StageContext[EvalSettings]) -> dict[str, Any]:
    """Measure, compare, print, plot; write the results here and into the run folder."""
    settings = context.settings
    problems = read_answered_problems(context.input_path("problems"))
    levels = max_level(context.input_path("problems"))
    with get_grader(settings.grader, cache=context.verdict_cache) as grader:
        measured = _generators(context, problems, grader)
        diagnostics: list[dict[str, Any]] = []
        if settings.reward_metrics:
            for stage in context.inputs["votes"]:
                diagnostics += _reward_model(context, Path(stage), problems, grader, levels)
    measured += [_Measured(*read_measurements(Path(p))) for p in context.inputs["votes"]]
    if not measured:
        raise InputError("nothing to evaluate", hint="give --samples or --votes")
    results = _summarise(context, measured, problems, levels, f"{grader.name} {grader.version}")
    about: dict[str, Any] = {"scale": context.scale}
    sentence = ""
    if settings.table is None:
        tables = result_tables(results, context.scale, settings.confidence)
        tables += reward_model_tables(results.metrics, diagnostics, context.scale)
        for table in tables:
            console.print(table)
        about["finding"] = sentence = finding(results, context.scale, levels)
        markdown = f"{markdown_of(tables)}\n{sentence}\n"
    else:
        markdown, about[settings.table] = _table5(context, measured, problems, levels)
    if diagnostics:
        about["diagnostics"] = diagnostics
    for folder in (context.output_dir, context.run_dir):
        write_results(folder, results, about, markdown)
    if any(metric.method == "majority" for metric in results.metrics):
        _plot(context, results.metrics, levels)
    if sentence:
        console.print(f"[bold]{sentence}[/bold]")
    return {"metrics": len(results.metrics), "comparisons": len(results.comparisons)}


def _generators(
    context: StageContext[EvalSettings], problems: Mapping[str, Problem], grader: Grader
) -> list[_Measured]:
    """Accuracy of single samples: greedy decoding, or the mean over random samples."""
    found = []
    names = context.input_names["samples"]
    for path, name in zip(map(Path, context.inputs["samples"]), names, strict=True):
        groups = group_samples(read_samples(path), problems, grader)
        greedy = StageFolder(path).record.get("settings", {}).get("temperature") == 0
        method = "greedy" if greedy else "single sample"
        accuracy = np.array([group.right_samples.mean() for group in groups])
        measurement = Measurement(Path(name).name, "", method, "", 1, accuracy)
        found.append(_Measured([group.problem.id for group in groups], [measurement]))
    return found


def _summarise(
    context: StageContext[EvalSettings],
    measured: Sequence[_Measured],
    problems: Mapping[str, Problem],
    levels: int,
    grader: str,
) -> Results:
    """Metrics and comparisons of all stages; these name the reward model if there are several."""
    several = several_reward_models(m for stage in measured for m in stage.measurements)
    metrics: list[Metric] = []
    comparisons: list[Comparison] = []
    for stage in measured:
        results = summarise(
            stage.measurements,
            contrasts(stage.measurements),
            problem_groups([problems[i] for i in stage.ids], levels),
            grader=grader,
            confidence=context.settings.confidence,
            seed=context.settings.seed,
        )
        metrics += results.metrics
        name = next((m.reward_model for m in stage.measurements if m.reward_model), "")
        suffix = BY + name if several else ""
        comparisons += [replace(c, a=c.a + suffix) for c in results.comparisons]
    return Results(metrics, comparisons)


def _plot(context: StageContext[EvalSettings], metrics: Sequence[Metric], levels: int) -> None:
    """Plot accuracy against N, here and in the run folder."""
    confidence = context.settings.confidence
    note = f"{context.scale} scale; bands: {confidence:.0%} intervals over problems"
    if several_reward_models(metrics):
        note += f"; reward model: {next(m.reward_model for m in metrics if m.reward_model)}"
    target = context.output_dir / PLOT
    paths = plot_accuracy_against_n(metrics, target, max_level=levels, note=note)
    for path in paths:
        shutil.copyfile(path, context.run_dir / path.name)
    console.print(f"Plot: {context.run_dir / paths[0].name} (and .svg)")


def _table5(
    context: StageContext[EvalSettings],
    measured: Sequence[_Measured],
    problems: Mapping[str, Problem],
    levels: int,
) -> tuple[str, dict[str, Any]]:
    """Print our rows beside the paper's Table 5; return Markdown, and the rows for results.json."""
    if not measured or context.inputs["votes"]:
        raise InputError("table 5 is made of samples alone", hint="give --samples, and no --votes")
    ids = measured[0].ids
    if any(stage.ids != ids for stage in measured):
        raise InputError("the sample stages answer different problems", where=context.output_dir)
    lines = [table5_line(Path(path)) for path in context.inputs["samples"]]
    orderings = table5.add_numbers(
        lines,
        [stage.measurements[0] for stage in measured],
        problem_groups([problems[i] for i in ids], levels),
        confidence=context.settings.confidence,
        seed=context.settings.seed,
    )
    others = table5.other_seeds(context.inputs["others"])
    tables, notes = table5.as_tables(lines, orderings, others, context.scale)
    for table in tables:
        console.print(table)
    for note in notes:
        console.print(f"[dim]{note}[/dim]")
    return table5.as_markdown(tables, notes), table5.as_json(lines, orderings)


def table5_line(samples: Path) -> table5.Line:
    """The row of a sample stage by how its generator was trained."""
    record = input_record(samples, "model")
    if not record:
        raise InputError(
            "nothing is known of the generator of these samples",
            where=samples,
            hint="give sample stages of the same run",
        )
    return table5.line_of(record, samples)


def _reward_model(
    context: StageContext[EvalSettings],
    stage: Path,
    problems: Mapping[str, Problem],
    grader: Grader,
    levels: int,
) -> list[dict[str, Any]]:
    """Print the metrics of the scores of a rerank stage, plot ROC and calibration.

    Returns:
        Rows for results.json; values are shares, correlations or errors, not percent.
    """
    scored = grade_scored_samples(*_samples_and_scores(stage), problems, grader)
    groups = problem_groups(scored.problems, levels)
    diagnostics = reward_metrics(scored, groups, confidence=context.settings.confidence)
    console.print(diagnostics_table(diagnostics, stage.name))
    _plot_reward_model(context, scored, f"reward-of-{stage.name}")
    return [{"stage": stage.name, **asdict(row)} for row in diagnostics]


def _samples_and_scores(stage: Path) -> tuple[pa.Table, pa.Table]:
    """What a rerank stage has voted on."""
    file = stage / SCORES / scoring.SCORES_FILE
    if not file.is_file():
        raise InputError("no scores here", where=stage, hint="make them with: e2h rerank")
    scores = parquet_store.read_table(file, parquet_store.SCORE_SCHEMA)
    if (stage / IMPORTED).is_file():
        return pq.read_table(stage / IMPORTED), scores
    samples = input_path(stage, "samples")
    if samples is None:
        raise InputError("the record of this stage names no samples", where=stage)
    return read_samples(samples), scores


def _plot_reward_model(
    context: StageContext[EvalSettings], scored: ScoredSamples, name: str
) -> None:
    """Plot step and outcome scores where there are right and wrong ones."""
    items = {"Outcomes": labelled_outcomes(scored.scores, scored.right, "last")}
    if scored.step_labels is not None:
        items = {"Steps": labelled_steps(scored.scores, scored.step_labels), **items}
    items = {key: i for key, i in items.items() if i.right.any() and not i.right.all()}
    if items:
        note = f"{context.scale} scale, all problems"
        paths = plot_reward_model(items, context.output_dir / name, note=note)
        console.print(f"Plot: {paths[0]} (and .svg)")
