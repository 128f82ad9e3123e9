"""``e2h eval``: the accuracy of all samples and votes of a run, in tables, a plot and a sentence.

With ``--benchmark`` or ``--probe`` something else: ``stages/benchmark.py``, ``stages/probe.py``.

Reads the problems, sample stages (accuracy of single samples and majority voting), rerank stages
(accuracy of voting) and, with ``--reward-metrics``, the scores of these. Writes tidy metrics
(metrics.{parquet,csv}), the accuracy on every problem (accuracy.parquet) and, unless --no-tables,
results.{json,csv,md,tex} and plots, which are copied to the run folder as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem
from e2h_cli.data.split_files import max_level, read_answered_problems
from e2h_cli.evaluation.measurements import (
    Measurement,
    contrasts,
    measure,
    metrics_of,
    values_of_n,
    voting_methods,
)
from e2h_cli.evaluation.sample_groups import group_samples
from e2h_cli.grading import Grader
from e2h_cli.inference.sampling import read_samples
from e2h_cli.pipeline.lineage import facets_of, input_path, level_range, lineage_of_input
from e2h_cli.pipeline.run_folder import StageFolder
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.reports import results as reported
from e2h_cli.reports.figures import plot_accuracy_against_n
from e2h_cli.reports.paper_numbers import curves_on_the_same_problems
from e2h_cli.reports.result_files import read_measurements, write_results
from e2h_cli.reports.results import (
    Metric,
    Results,
    ScoreOrigin,
    problem_groups,
    several_reward_models,
)
from e2h_cli.reports.rm_tables import reward_model_tables
from e2h_cli.reports.tables import result_tables
from e2h_cli.reports.tidy_metrics import write_metrics, write_problems
from e2h_cli.settings.evaluate import EvalSettings
from e2h_cli.stages.judging import judging
from e2h_cli.stages.reward_model_metrics import agreements_of, judge, write_roc

PLOT = "accuracy-against-n"


class _Measured(NamedTuple):
    """A sample or rerank stage, its problems, and its measurements on them."""

    stage: Path
    ids: list[str]
    measurements: list[Measurement]


def run(context: StageContext[EvalSettings]) -> dict[str, Any]:
    """Measure, write tidy metrics; unless --no-tables, compare, print, plot, write the results.

    With --benchmark and --probe: ``run_benchmark``, ``run_probe``.
    """
    if context.settings.task:
        return _other_task(context)
    settings, votes = context.settings, list(map(Path, context.inputs["votes"]))
    problems = read_answered_problems(context.input_path("problems"))
    levels = max_level(context.input_path("problems"))
    with judging(context, problems.values()) as grader:
        measured = _from_samples(context, problems, grader)
        judged = [
            judge(context, stage, problems, grader, levels)
            for stage in (votes if settings.reward_metrics else ())
        ]
    diagnostics = [row for one in judged for row in one.diagnostics]
    for stage in votes:
        ids, measurements = read_measurements(stage)
        if strangers := [key for key in ids if key not in problems]:
            raise InputError(
                f"{strangers[0]!r} is none of the problems",
                where=stage,
                hint="give the --problems that it voted on",
            )
        measured.append(_Measured(stage, ids, measurements))
    if not measured:
        raise InputError("nothing to evaluate", hint="give --samples or --votes")
    name = f"{grader.name} {grader.version}"
    results, stages = _summarise(context, measured, problems, levels, name)
    metrics = list(zip(results.metrics, stages, strict=True))
    if judged:
        write_roc(context.output_dir, judged)
        agreed = [_Measured(*one) for one in agreements_of(judged, levels)]
        agreement, stages = _summarise(context, agreed, problems, levels, name)
        metrics += zip(agreement.metrics, stages, strict=True)
        measured += agreed
    rows = _tidy_rows(context, metrics, diagnostics, levels)
    write_metrics(context.output_dir, rows)
    answered = {key: problems[key] for one in measured for key in one.ids}
    about = {key: [getattr(p, key) for p in answered.values()] for key in ("level", "subject")}
    write_problems(
        context.output_dir,
        [(one.stage.name, one.ids, one.measurements) for one in measured],
        pa.table({"id": list(answered), **about}),
    )
    if settings.tables:
        _report(context, results, measured, diagnostics, levels)
    return {"metrics": len(rows), "max_level": levels}


def _other_task(context: StageContext[EvalSettings]) -> dict[str, Any]:
    # They load models; accuracies alone do without torch.
    if context.settings.probe:
        from e2h_cli.stages.probe import run_probe

        return run_probe(context)
    from e2h_cli.stages.benchmark import run_benchmark

    return run_benchmark(context)


def _report(
    context: StageContext[EvalSettings],
    results: Results,
    measured: Sequence[_Measured],
    diagnostics: Sequence[dict[str, Any]],
    levels: int,
) -> None:
    """Print and write the tables, the plot and the sentence of all results."""
    tables = result_tables(results, context.made_at, context.settings.confidence)
    tables += reward_model_tables(results.metrics, diagnostics, context.made_at)
    for table in tables:
        console.print(table)
    scored = {m.reward_model: one.stage for one in measured for m in one.measurements}
    origins = {name: score_origin(stage, levels) for name, stage in scored.items() if name}
    sentence = reported.finding(results, context.made_at, levels, origins)
    about: dict[str, Any] = {
        "scale": context.scale,
        "origins": {name: asdict(origin) for name, origin in origins.items()},
        "finding": sentence,
    }
    if diagnostics:
        about["diagnostics"] = diagnostics
    write_results(context.output_dir, results, about, tables, [sentence])
    if any(metric.method == "majority" for metric in results.metrics):
        _plot(context, results.metrics, levels)
    console.print(f"[bold]{sentence}[/bold]")


def _from_samples(
    context: StageContext[EvalSettings], problems: Mapping[str, Problem], grader: Grader
) -> list[_Measured]:
    """Accuracy of greedy decoding; of random samples their mean, majority voting and pass@N."""
    measured = []
    for path, name in zip(context.inputs["samples"], context.input_names["samples"], strict=True):
        groups = group_samples(read_samples(Path(path)), problems, grader)
        greedy = StageFolder(Path(path)).record.get("settings", {}).get("temperature") == 0
        method, generator = "greedy" if greedy else "single sample", Path(name).name
        measurements = []
        for metric in metrics_of(groups):
            accuracy = np.array([group.values(metric).mean() for group in groups])
            measurements.append(Measurement(generator, "", method, "", 1, accuracy, metric))
        if not greedy and groups[0].size > 1:
            measurements += measure(
                groups,
                voting_methods(groups, None, method="majority", aggregates=None),
                values_of_n(groups[0].size, None),
                draws=context.settings.draws,
                seed=context.settings.seed,
                generator=generator,
                reward_model="",
            )
        measured.append(_Measured(Path(path), [g.problem.id for g in groups], measurements))
    return measured


def _tidy_rows(
    context: StageContext[EvalSettings],
    metrics: Iterable[tuple[Metric, str]],
    diagnostics: Sequence[dict[str, Any]],
    levels: int,
) -> list[dict[str, Any]]:
    """Metrics, each with its stage, as tidy rows; facets are by the lineage of the stage."""
    folders = {Path(p).name: Path(p) for key in ("samples", "votes") for p in context.inputs[key]}
    common = {
        name: {
            "seed": context.settings.seed,
            "scale": context.scale,
            "stage": name,
            **facets_of(folder, levels),
        }
        for name, folder in folders.items()
    }
    rows = []
    for metric, stage in metrics:
        about = {key: getattr(metric, key) for key in ("group", "method", "aggregate", "n")}
        about |= {"metric": metric.metric, "problems": metric.problems, "grader": metric.grader}
        numbers = {"value": metric.accuracy, "low": metric.low, "high": metric.high}
        rows.append({**common[stage], **about, **numbers})
    for d in diagnostics:
        percent = 100 if "accuracy" in d["metric"] else 1
        about = {"metric": f"{d['item']} {d['metric']}", "method": "", "group": d["group"]}
        about |= {"aggregate": "" if d["score"] == "step" else d["score"]}
        scaled = {k: d[k] and percent * d[k] for k in ("value", "low", "high")}
        rows.append({**common[d["stage"]], **about, "problems": d["problems"], **scaled})
    return rows


def _summarise(
    context: StageContext[EvalSettings],
    measured: Sequence[_Measured],
    problems: Mapping[str, Problem],
    levels: int,
    grader: str,
) -> tuple[Results, list[str]]:
    """Metrics and comparisons of all stages, and the stage of each metric.

    Comparisons name the reward model if there are several.
    """
    several = several_reward_models(m for one in measured for m in one.measurements)
    combined, stages = Results([], []), []
    for stage, ids, measurements in measured:
        results = reported.summarise(
            measurements,
            contrasts(measurements),
            problem_groups([problems[i] for i in ids], levels),
            grader=grader,
            confidence=context.settings.confidence,
        )
        combined.metrics.extend(results.metrics)
        stages += [stage.name] * len(results.metrics)
        name = next((m.reward_model for m in measurements if m.reward_model), "")
        suffix = reported.BY + name if several else ""
        combined.comparisons.extend(replace(c, a=c.a + suffix) for c in results.comparisons)
    return reported.with_holm(combined), stages


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
