"""``e2h eval``: the accuracy of all samples and votes of a run, in tables, a plot and a sentence.

Reads the problems, sample stages (accuracy of single samples), rerank stages (accuracy of voting)
and, with ``--reward-metrics``, the scores of these. Writes results.{json,csv,md,tex} and the plots
to its own folder; all but the plots of reward models are copied to the run folder as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
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
from e2h_cli.evaluation import labelled_scores
from e2h_cli.evaluation.measurements import Measurement, contrasts
from e2h_cli.evaluation.rm_report import reward_metrics
from e2h_cli.evaluation.sample_groups import group_samples
from e2h_cli.grading import Grader, get_grader
from e2h_cli.inference import scoring
from e2h_cli.inference.sampling import read_samples
from e2h_cli.pipeline.lineage import input_path, input_record, level_range, lineage_of_input
from e2h_cli.pipeline.run_folder import StageFolder
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.reports import results as reported
from e2h_cli.reports import table5
from e2h_cli.reports.figures import plot_accuracy_against_n, plot_reward_model
from e2h_cli.reports.paper_numbers import curves_on_the_same_problems
from e2h_cli.reports.result_files import read_measurements, write_results
from e2h_cli.reports.results import (
    Metric,
    Results,
    ScoreOrigin,
    problem_groups,
    several_reward_models,
)
from e2h_cli.reports.rm_tables import diagnostics_table, reward_model_tables
from e2h_cli.reports.tables import ReportTable, result_tables
from e2h_cli.settings.evaluate import EvalSettings
from e2h_cli.stages.rerank import IMPORTED, SCORES

PLOT = "accuracy-against-n"

# Problem ids of a sample or rerank stage, and its measurements on these problems.
_Measured = tuple[list[str], list[Measurement]]


def run(context: StageContext[EvalSettings]) -> dict[str, Any]:
    """Measure, compare, print, plot, write the results."""
    settings, votes = context.settings, list(map(Path, context.inputs["votes"]))
    problems = read_answered_problems(context.input_path("problems"))
    levels = max_level(context.input_path("problems"))
    diagnostics: list[dict[str, Any]] = []
    with get_grader(settings.grader, cache=context.verdict_cache) as grader:
        measured = _single_samples(context, problems, grader)
        for stage in votes if settings.reward_metrics else ():
            diagnostics += _reward_model(context, stage, problems, grader, levels)
    scored: dict[str, Path] = {}  # reward model -> the stage that voted with its scores
    for stage in votes:
        ids, measurements = read_measurements(stage)
        if strangers := [key for key in ids if key not in problems]:
            raise InputError(
                f"{strangers[0]!r} is none of the problems",
                where=stage,
                hint="give the --problems that it voted on",
            )
        measured.append((ids, measurements))
        scored |= {m.reward_model: stage for m in measurements if m.reward_model}
    if not measured:
        raise InputError("nothing to evaluate", hint="give --samples or --votes")
    results = _summarise(context, measured, problems, levels, f"{grader.name} {grader.version}")
    about: dict[str, Any] = {"scale": context.scale}
    sentence = ""
    if settings.table is None:
        tables = result_tables(results, context.made_at, settings.confidence)
        tables += reward_model_tables(results.metrics, diagnostics, context.made_at)
        for table in tables:
            console.print(table)
        origins = {name: score_origin(stage, levels) for name, stage in scored.items()}
        about["origins"] = {name: asdict(origin) for name, origin in origins.items()}
        about["finding"] = sentence = reported.finding(results, context.made_at, levels, origins)
        notes = [sentence]
    else:
        tables, notes, about[settings.table] = _table5(context, measured, problems, levels)
    if diagnostics:
        about["diagnostics"] = diagnostics
    write_results(context.output_dir, results, about, tables, notes)
    if any(metric.method == "majority" for metric in results.metrics):
        _plot(context, results.metrics, levels)
    if sentence:
        console.print(f"[bold]{sentence}[/bold]")
    return {"metrics": len(results.metrics), "comparisons": len(results.comparisons)}


def _single_samples(
    context: StageContext[EvalSettings], problems: Mapping[str, Problem], grader: Grader
) -> list[_Measured]:
    """Accuracy of single samples: greedy decoding, or the mean over random samples."""
    measured = []
    for path, name in zip(context.inputs["samples"], context.input_names["samples"], strict=True):
        groups = group_samples(read_samples(Path(path)), problems, grader)
        greedy = StageFolder(Path(path)).record.get("settings", {}).get("temperature") == 0
        method = "greedy" if greedy else "single sample"
        accuracy = np.array([group.right_samples.mean() for group in groups])
        measurement = Measurement(Path(name).name, "", method, "", 1, accuracy)
        measured.append(([group.problem.id for group in groups], [measurement]))
    return measured


def _summarise(
    context: StageContext[EvalSettings],
    measured: Sequence[_Measured],
    problems: Mapping[str, Problem],
    levels: int,
    grader: str,
) -> Results:
    """Metrics and comparisons of all stages; these name the reward model if there are several."""
    several = several_reward_models(m for _, measurements in measured for m in measurements)
    combined = Results([], [])
    for ids, measurements in measured:
        results = reported.summarise(
            measurements,
            contrasts(measurements),
            problem_groups([problems[i] for i in ids], levels),
            grader=grader,
            confidence=context.settings.confidence,
        )
        combined.metrics.extend(results.metrics)
        name = next((m.reward_model for m in measurements if m.reward_model), "")
        suffix = reported.BY + name if several else ""
        combined.comparisons.extend(replace(c, a=c.a + suffix) for c in results.comparisons)
    return reported.with_holm(combined)


def _plot(context: StageContext[EvalSettings], metrics: Sequence[Metric], levels: int) -> None:
    """Plot accuracy against N."""
    confidence = context.settings.confidence
    note = f"{context.made_at}; bands: {confidence:.0%} intervals over problems"
    if several_reward_models(metrics):
        note += f"; reward model: {next(m.reward_model for m in metrics if m.reward_model)}"
    paper = [] if context.scale == "tiny" else curves_on_the_same_problems(metrics)
    target = context.output_dir / PLOT
    paths = plot_accuracy_against_n(metrics, target, max_level=levels, note=note, paper=paper)
    console.print(f"Plot: {context.run_dir / paths[0].name} (and .svg)")


def _table5(
    context: StageContext[EvalSettings],
    measured: Sequence[_Measured],
    problems: Mapping[str, Problem],
    levels: int,
) -> tuple[list[ReportTable], list[str], dict[str, Any]]:
    """Print our rows beside the paper's Table 5; return tables, notes, rows for results.json."""
    if not measured or context.inputs["votes"]:
        raise InputError("table 5 is made of samples alone", hint="give --samples, and no --votes")
    ids, _ = measured[0]
    if any(other != ids for other, _ in measured):
        raise InputError("the sample stages answer different problems", where=context.output_dir)
    lines = [table5_line(Path(path), levels) for path in context.inputs["samples"]]
    orderings = table5.add_numbers(
        lines,
        [measurement for _, (measurement,) in measured],
        problem_groups([problems[i] for i in ids], levels),
        confidence=context.settings.confidence,
    )
    tables, notes = table5.as_tables(lines, orderings, context.made_at)
    for line in [*tables, *(f"[dim]{note}[/dim]" for note in notes)]:
        console.print(line)
    return tables, notes, table5.as_json(lines, orderings)


def table5_line(samples: Path, levels: int) -> table5.Line:
    """The row of a sample stage by how its generator was trained; ``levels``: the last easy one."""
    record = input_record(samples, "model")
    if not record:
        message = "nothing is known of the generator of these samples"
        raise InputError(message, where=samples, hint="give sample stages of the same run")
    reads_hard = lineage_of_input(samples, "model").reads_hard_answers(levels)
    return table5.line_of(record, samples, reads_hard)


def score_origin(stage: Path, levels: int) -> ScoreOrigin:
    """Where the scores of a rerank stage are from; ``levels``: the last easy level."""
    given = input_path(stage, "reward_model") or input_path(stage, "imported") or Path("none")
    training = lineage_of_input(stage, "reward_model")
    seen = training.answers_seen
    if training.unknown or not min(seen, default=0):
        return ScoreOrigin(f"scores of unknown training ({given.name})")
    notes = []
    if generator := lineage_of_input(stage, "samples").answers_seen - seen:
        notes.append(f"The generator saw answers of {level_range(generator)}, too.")
    if documents := training.levels("documents"):
        notes.append(f"The pre-training corpus holds solutions of {level_range(documents)}.")
    if training.bases:
        bases = ", ".join(sorted(training.bases))
        notes.append(f"It started from {bases}, of whose training nothing is recorded.")
    easy_only = max(seen) <= levels
    name = f"a reward model that saw labels of {level_range(seen)}{' only' * easy_only}"
    return ScoreOrigin(name, easy_only, " ".join(notes))


def _reward_model(
    context: StageContext[EvalSettings],
    stage: Path,
    problems: Mapping[str, Problem],
    grader: Grader,
    levels: int,
) -> list[dict[str, Any]]:
    """Print the metrics of the scores of a rerank stage, plot ROC and calibration.

    The rows that it returns for results.json hold shares, correlations or errors, not percent.
    """
    scored = labelled_scores.grade_scored_samples(*_samples_and_scores(stage), problems, grader)
    groups = problem_groups(scored.problems, levels)
    diagnostics = reward_metrics(scored, groups, confidence=context.settings.confidence)
    console.print(diagnostics_table(diagnostics, stage.name))
    items = {"Outcomes": labelled_scores.labelled_outcomes(scored.scores, scored.right, "last")}
    if scored.step_labels is not None:
        steps = labelled_scores.labelled_steps(scored.scores, scored.step_labels)
        items = {"Steps": steps, **items}
    if items := {key: i for key, i in items.items() if i.right.any() and not i.right.all()}:
        target, note = context.output_dir / f"reward-of-{stage.name}", context.made_at
        paths = plot_reward_model(items, target, note=f"{note}, all problems")
        console.print(f"Plot: {paths[0]} (and .svg)")
    return [{"stage": stage.name, **asdict(row)} for row in diagnostics]


def _samples_and_scores(stage: Path) -> tuple[pa.Table, pa.Table]:
    """Samples and scores that a rerank stage voted with."""
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
