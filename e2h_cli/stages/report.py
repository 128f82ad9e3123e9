"""``e2h report``: render tables and figures of the paper from the stages of one run or several.

Reads the metrics of a view's eval stage in each run folder. Writes NAME.md, NAME.tex, NAME.csv,
NAME.json and, for a figure, NAME.png and NAME.svg.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import RenderableType

from e2h_cli import __version__
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import make_folder, read_json, write_atomic, write_json
from e2h_cli.data.split_files import max_level, read_answered_problems
from e2h_cli.grading import get_grader
from e2h_cli.pipeline.lineage import input_path
from e2h_cli.pipeline.recipe import Recipe, at_scale
from e2h_cli.pipeline.recipe_file import RecipeFile, read, scale_in_words
from e2h_cli.pipeline.recipe_stage import Stage
from e2h_cli.pipeline.run_folder import RunFolder, StageFolder
from e2h_cli.reports.case_pages import study_markdown, study_renderable
from e2h_cli.reports.hyper_parameters import SettingsColumn, hyper_parameters, paper_settings
from e2h_cli.reports.spec import ReportSpec
from e2h_cli.reports.tables import ReportTable, latex_text
from e2h_cli.reports.tidy_metrics import ROC, ProblemAccuracy, read_metrics
from e2h_cli.reports.view import Run, check_claims
from e2h_cli.reports.view_figures import draw_bars, draw_curves, draw_roc
from e2h_cli.reports.view_tables import (
    as_csv,
    claims_as_json,
    claims_table,
    curve_tables,
    long_rows,
    view_tables,
)


@dataclass
class Report:
    """What a view shows.

    Attributes:
        tables: of numbers, and of claims.
        texts: case studies as Markdown.
        shown: the same for the terminal.
        notes: lines below.
        figures: files that were drawn.
        rows: every cell, for CSV and JSON.
        claims: for JSON.
        made_from: all that the figures depend on.
    """

    name: str
    title: str
    tables: list[ReportTable] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    shown: list[RenderableType] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: list[Path] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    made_from: dict[str, Any] = field(default_factory=dict)


def eval_stage(recipe: Recipe) -> Stage | None:
    """The eval stage of a view; None for a view that needs no run."""
    if recipe.report and recipe.report.kind == "settings":
        return None
    shown = [recipe.stages[name] for name in recipe.show or recipe.stages]
    return next((stage for stage in shown if stage.command.name == "eval"), None)


def render(recipe: Recipe, folders: Mapping[int, RunFolder], target: Path) -> Report:
    """Render a view over the runs of these seeds; ``target``: the folder for its files.

    Raises:
        InputError: the view has no report, or a run has no metrics.
    """
    spec = recipe.report
    if spec is None:
        raise InputError(
            f"{recipe.name} has no report", where=recipe.path, hint="its results are results.md"
        )
    seeds = ", ".join(map(str, folders))
    made_at = f"{scale_in_words(recipe.scale)}, seed{'s' * (len(folders) > 1)} {seeds}"
    report = Report(recipe.name, f"{spec.title} (paper p.{spec.page})")
    stage = eval_stage(recipe)
    evals = {} if stage is None else {seed: f.stage(stage.name) for seed, f in folders.items()}
    runs = [_run(seed, folder) for seed, folder in evals.items()]
    report.made_from = {
        "e2h": __version__,
        "made_at": made_at,
        "report": spec.model_dump(mode="json"),
        "runs": [folder.fingerprint for folder in evals.values()],
    }
    make_folder(target)
    report.figures = _drawn(report, target) or _draw(
        runs, spec, [folder.path for folder in evals.values()], target / recipe.name, made_at
    )
    if spec.kind in ("table", "roc"):
        report.tables = view_tables(runs, spec, made_at)
    elif spec.kind == "curves":
        report.tables = curve_tables(runs, spec, made_at)
    elif spec.kind == "settings":
        file = read(recipe.path)
        report.tables = _settings_tables(recipe, spec, file)
        if recipe.scale != "paper" and "paper" in file.entry.scales:
            report.tables += _settings_tables(at_scale(file, "paper"), spec, file)
    elif spec.kind == "cases":
        first = next(iter(folders.items()))
        _add_cases(report, recipe, spec, *first)
    if runs:
        report.rows = list(long_rows(runs, spec))
    if spec.claims:
        checked = check_claims(runs, spec)
        report.tables.append(claims_table(checked, runs, made_at))
        report.claims = claims_as_json(checked)
    report.notes += _notes(spec, recipe.scale)
    _write(report, target, made_at)
    return report


def _drawn(report: Report, target: Path) -> list[Path]:
    """The figures that are there already and were made from the same; drawing takes seconds."""
    file = target / f"{report.name}.json"
    figures = [file.with_suffix(suffix) for suffix in (".png", ".svg")]
    if not all(path.is_file() for path in (file, *figures)):
        return []
    return figures if read_json(file).get("made_from") == report.made_from else []


def _draw(
    runs: Sequence[Run], spec: ReportSpec, evals: Sequence[Path], target: Path, made_at: str
) -> list[Path]:
    """Draw the figure of a view, if it is one."""
    if spec.kind == "curves":
        return draw_curves(runs, spec, target, made_at)
    if spec.kind == "bars":
        return draw_bars(runs, spec, target, made_at)
    if spec.kind == "roc":
        return draw_roc(runs, spec, pq.read_table(evals[0] / ROC), target, made_at)
    return []


def _settings_tables(recipe: Recipe, spec: ReportSpec, file: RecipeFile) -> list[ReportTable]:
    """Training settings beside the paper's, a table for each of its sizes."""
    scaled, tables = file.entry.scales.get(recipe.scale), []
    instead = scaled.substitutes if scaled else {}
    for size in dict.fromkeys(column.paper.size for column in spec.settings):
        columns = [
            SettingsColumn(
                column.name,
                recipe.stages[stage].settings.model_dump(),
                paper_settings(**column.paper.model_dump()),
            )
            for column in spec.settings
            if column.paper.size == size
            and (stage := instead.get(column.stage, column.stage)) in recipe.stages
        ]
        if columns:
            tables.append(hyper_parameters(columns, f"{scale_in_words(recipe.scale)}, {size}"))
    return tables


def _add_cases(
    report: Report, recipe: Recipe, spec: ReportSpec, seed: int, folder: RunFolder
) -> None:
    """Add the case studies of a run, chosen by rule, and say by which."""
    # Needs torch, which takes seconds to load.
    from e2h_cli.stages.case_inputs import read_cases

    if not recipe.show:
        hint = "show: [...] names the stages that the cases are from"
        raise InputError("a report of cases needs the key show", where=recipe.path, hint=hint)
    stages = [folder.stage(name).path for name in recipe.show]
    split = input_path(stages[0], "problems")
    if split is None or any(StageFolder(stage).status != "finished" for stage in stages):
        hint = f"make them with: e2h run {recipe.name}"
        raise InputError("its stages are not made yet", where=folder.path, hint=hint)
    problems, levels = read_answered_problems(split), max_level(split)
    rule = str(recipe.of_command("eval").settings.model_dump()["grader"])
    with get_grader(rule) as grader:
        count = spec.skip + spec.count
        study = read_cases(spec.case, stages, problems, levels, grader, count)
    study = replace(study, cases=study.cases[spec.skip :])
    report.texts.append(study_markdown(study))
    report.shown.append(study_renderable(study))
    report.notes.append(f"of the run with seed {seed}")


def _run(seed: int, stage: StageFolder) -> Run:
    if stage.status != "finished":
        raise InputError("is not made", where=stage.path, hint="e2h run makes it")
    levels = int(stage.record["counts"]["max_level"])
    return Run(seed, read_metrics(stage.path), ProblemAccuracy(stage.path, levels))


def _notes(spec: ReportSpec, scale: str) -> list[str]:
    notes = [spec.note] if spec.note else []
    if scale == "tiny" and spec.kind != "settings":
        notes.append(
            "tiny scale: chain arithmetic; the small and the large model stand for Llemma 7b and "
            "34b; the paper's numbers are on MATH500"
        )
    return notes


def _write(report: Report, target: Path, made_at: str) -> None:
    base = target / report.name
    heading = f"# {report.name}: {report.title}\n\n"
    images = [f"![{report.title}]({path.name})\n" for path in report.figures[:1]]
    parts = [*images, *(table.markdown for table in report.tables), *report.texts]
    parts += [f"{note}\n" for note in report.notes]
    write_atomic(base.with_suffix(".md"), heading + "\n".join(parts))
    latex = [*(t.latex for t in report.tables), *(f"{latex_text(n)}\n" for n in report.notes)]
    write_atomic(base.with_suffix(".tex"), "\n".join(["% Needs the package booktabs.", *latex]))
    write_atomic(base.with_suffix(".csv"), as_csv(report.rows))
    content: dict[str, Any] = {"name": report.name, "title": report.title, "made_at": made_at}
    content |= {"rows": report.rows, "claims": report.claims, "made_from": report.made_from}
    write_json(base.with_suffix(".json"), content)
