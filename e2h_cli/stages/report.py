"""``e2h report``: render tables and figures of the paper from the stages of one run or several.

Reads the metrics of a view's eval stage in each run folder. Writes NAME.md, NAME.tex, NAME.csv,
NAME.json and, for a figure, NAME.png and NAME.svg.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import RenderableType

from e2h_cli import __version__
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import make_folder, read_json, write_atomic, write_json
from e2h_cli.data.split_files import max_level, read_answered_problems
from e2h_cli.grading import grader_for
from e2h_cli.pipeline.lineage import input_path
from e2h_cli.pipeline.recipe import Recipe, at_scale
from e2h_cli.pipeline.recipe_file import RecipeFile, read, scale_in_words
from e2h_cli.pipeline.recipe_stage import Stage
from e2h_cli.pipeline.run_folder import RunFolder, StageFolder
from e2h_cli.reports.case_pages import study_markdown, study_renderable
from e2h_cli.reports.cases import CaseStudy
from e2h_cli.reports.hyper_parameters import SettingsColumn, hyper_parameters, paper_settings
from e2h_cli.reports.spec import ReportSpec
from e2h_cli.reports.tables import ReportTable, latex_text
from e2h_cli.reports.tidy_metrics import ROC, ProblemAccuracy, read_metrics
from e2h_cli.reports.view import Checked, Run, check_claims
from e2h_cli.reports.view_figures import draw_bars, draw_curves, draw_roc
from e2h_cli.reports.view_tables import (
    as_csv,
    claims_as_json,
    claims_table,
    curve_tables,
    long_rows,
    view_tables,
)
from e2h_cli.settings.evaluate import EvalSettings


@dataclass
class Report:
    """What a view shows.

    Attributes:
        spec: how it is rendered.
        made_at: scale and seeds, in words.
        runs: what is shown, of each seed.
        evals: folders of their eval stages.
        tables: of numbers, and of claims.
        checked: the claims.
        studies: case studies.
        texts: the same as Markdown.
        shown: the same for the terminal.
        notes: lines below.
        figures: files that were drawn.
        rows: every cell, for CSV and JSON.
        claims: for JSON.
        made_from: all that the figures depend on.
        files: that were written.
    """

    name: str
    title: str
    spec: ReportSpec
    made_at: str
    runs: list[Run] = field(default_factory=list)
    evals: list[Path] = field(default_factory=list)
    tables: list[ReportTable] = field(default_factory=list)
    checked: list[Checked] = field(default_factory=list)
    studies: list[CaseStudy] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    shown: list[RenderableType] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: list[Path] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    made_from: dict[str, Any] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    @property
    def as_json(self) -> dict[str, Any]:
        """The content of NAME.json, the notes, and the paths of all files."""
        content = read_json(next(file for file in self.files if file.suffix == ".json"))
        return {**content, "notes": self.notes, "files": list(map(str, self.files))}


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
    report = collect(recipe, folders)
    make_folder(target)
    report.figures = _drawn(report, target) or _draw(report, target / recipe.name)
    _write(report, target)
    return report


def collect(recipe: Recipe, folders: Mapping[int, RunFolder]) -> Report:
    """What a view shows over the runs of these seeds; draws and writes nothing.

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
    stage = eval_stage(recipe)
    evals = {} if stage is None else {seed: f.stage(stage.name) for seed, f in folders.items()}
    runs = [_run(seed, folder) for seed, folder in evals.items()]
    title = f"{spec.title} (paper p.{spec.page})"
    report = Report(recipe.name, title, spec, made_at, runs, [one.path for one in evals.values()])
    report.made_from = {
        "e2h": __version__,
        "made_at": made_at,
        "report": spec.model_dump(mode="json"),
        "runs": [folder.fingerprint for folder in evals.values()],
    }
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
        report.checked = check_claims(runs, spec)
        report.tables.append(claims_table(report.checked, runs, made_at))
        report.claims = claims_as_json(report.checked)
    report.notes += _notes(spec, recipe)
    return report


def _drawn(report: Report, target: Path) -> list[Path]:
    """The figures that are there already and were made from the same; drawing takes seconds."""
    file = target / f"{report.name}.json"
    figures = [file.with_suffix(suffix) for suffix in (".png", ".svg")]
    if not all(path.is_file() for path in (file, *figures)):
        return []
    return figures if read_json(file).get("made_from") == report.made_from else []


def _draw(report: Report, target: Path) -> list[Path]:
    """Draw the figure of a view, if it is one."""
    runs, spec, made_at = report.runs, report.spec, report.made_at
    if spec.kind == "curves":
        return draw_curves(runs, spec, target, made_at)
    if spec.kind == "bars":
        return draw_bars(runs, spec, target, made_at)
    if spec.kind == "roc":
        return draw_roc(runs, spec, pq.read_table(report.evals[0] / ROC), target, made_at)
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
    settings = recipe.of_command("eval").settings
    assert isinstance(settings, EvalSettings)
    with grader_for(problems.values(), settings, settings.grader) as grader:
        count = spec.skip + spec.count
        study = read_cases(spec.case, stages, problems, levels, grader, count)
    study = replace(study, cases=study.cases[spec.skip :])
    report.studies.append(study)
    report.texts.append(study_markdown(study))
    report.shown.append(study_renderable(study))
    report.notes.append(f"of the run with seed {seed}")


def _run(seed: int, stage: StageFolder) -> Run:
    if stage.status != "finished":
        raise InputError("is not made", where=stage.path, hint="e2h run makes it")
    levels = int(stage.record["counts"]["max_level"])
    return Run(seed, read_metrics(stage.path), ProblemAccuracy(stage.path, levels))


def _notes(spec: ReportSpec, recipe: Recipe) -> list[str]:
    notes = [spec.note] if spec.note else []
    if recipe.scale == "tiny" and spec.kind != "settings":
        ours, model, theirs = ("chain arithmetic", "Llemma", "MATH500")
        if recipe.experiment == "programs":
            ours, model, theirs = ("made-up tasks on lists of digits", "Code Llama", "APPS")
        notes.append(
            f"tiny scale: {ours}; the small and the large model stand for {model} 7b and 34b; the "
            f"paper's numbers are on {theirs}"
        )
    return notes


def _write(report: Report, target: Path) -> None:
    base = target / report.name
    heading = f"# {report.name}: {report.title}\n\n"
    images = [f"![{report.title}]({path.name})\n" for path in report.figures[:1]]
    parts = [*images, *(table.markdown for table in report.tables), *report.texts]
    parts += [f"{note}\n" for note in report.notes]
    write_atomic(base.with_suffix(".md"), heading + "\n".join(parts))
    latex = [*(t.latex for t in report.tables), *(f"{latex_text(n)}\n" for n in report.notes)]
    write_atomic(base.with_suffix(".tex"), "\n".join(["% Needs the package booktabs.", *latex]))
    write_atomic(base.with_suffix(".csv"), as_csv(report.rows))
    content: dict[str, Any] = {"name": report.name, "title": report.title}
    content |= {"made_at": report.made_at, "rows": report.rows, "claims": report.claims}
    content["made_from"] = report.made_from
    write_json(base.with_suffix(".json"), content)
    written = [base.with_suffix(f".{suffix}") for suffix in ("md", "tex", "csv", "json")]
    report.files = [*written, *report.figures]
