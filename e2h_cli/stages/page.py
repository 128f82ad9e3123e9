"""``e2h page``: one HTML file that shows a run. Reads the run folder and makes nothing anew.

Shows stages and their lineage, tables and figures of views, solutions and votes, and trainings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from e2h_cli import __version__
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import make_folder, read_jsonl, write_atomic
from e2h_cli.data.split_files import PAPER_MAX_LEVEL, SPLIT_INFO, max_level
from e2h_cli.pipeline.iteration import made_by, stage_of
from e2h_cli.pipeline.lineage import lineage_of
from e2h_cli.pipeline.recipe import Recipe
from e2h_cli.pipeline.recipe_file import scale_in_words
from e2h_cli.pipeline.run_folder import STAGE_RECORD, RunFolder, StageFolder
from e2h_cli.reports.page.html_document import Document
from e2h_cli.reports.page.training_data import log_json, rollouts_json, shown_steps
from e2h_cli.reports.page.view_data import (
    claims_json,
    figure_json,
    metrics_json,
    study_json,
    tables_json,
)
from e2h_cli.reports.tables import read_markdown
from e2h_cli.reports.tidy_metrics import METRICS, ROC, read_metrics
from e2h_cli.rl.run_log import LOG, ROLLOUTS
from e2h_cli.stages.page_samples import SamplePages, limit_of, sample_sources
from e2h_cli.stages.report import collect, eval_stage

Json = dict[str, Any]
_RESULTS = "results.md"


@dataclass(slots=True)
class MadePage:
    """What a page shows, for the terminal.

    Attributes:
        size: of the file in bytes.
        stages: number of stages.
        views: names of the views.
        sets: number of sample sets.
        limit: solutions of each problem, beside those chosen by the rule.
        notes: what is not shown, and why.
    """

    size: int = 0
    stages: int = 0
    views: list[str] = field(default_factory=list)
    sets: int = 0
    limit: int = 0
    notes: list[str] = field(default_factory=list)


def write_page(
    run: RunFolder, recipes: Sequence[Recipe], target: Path, limit: int | None
) -> MadePage:
    """Write the page of a run.

    Args:
        recipes: views that are shown if their eval stage is there.
        limit: solutions of each problem; if None, as many as keep the page small.

    Raises:
        InputError: no stage is finished.
    """
    stages = [StageFolder(file.parent) for file in sorted(run.path.glob(f"*/{STAGE_RECORD}"))]
    finished = [stage for stage in stages if stage.status == "finished"]
    if not finished:
        raise InputError("no finished stage here", where=run.path, hint="e2h run makes them")
    made = MadePage(stages=len(stages))
    document = Document()
    sources = sample_sources(finished)
    samples = SamplePages(limit or limit_of(sources))
    for name, content in samples.chunks(sources):
        document.add(name, content)
    document.add("metrics", {
        stage.path.name: metrics_json(read_metrics(stage.path))
        for stage in finished
        if (stage.path / METRICS).is_file()
    })  # fmt: skip
    views = list(_views(run, recipes))
    trainings = []
    for stage in finished:
        if (stage.path / LOG).is_file():
            trainings.append(_training(stage, document))
    about = run.about
    document.add("run", {
        "e2h": __version__,
        "name": run.path.resolve().name,
        **about,
        "scale_in_words": scale_in_words(about["scale"]) if about else "",
        "stages": [_stage(stage) for stage in stages],
        "views": views,
        "results": list(_results(finished)),
        "sets": samples.sets,
        "trainings": trainings,
        "notes": samples.notes,
    })  # fmt: skip
    html = document.html(f"{run.path.resolve().name} · e2h")
    make_folder(target.parent)
    write_atomic(target, html)
    made.size, made.sets, made.limit = len(html.encode()), len(samples.sets), samples.limit
    made.views, made.notes = [view["name"] for view in views], samples.notes
    return made


def _stage(stage: StageFolder) -> Json:
    """A stage: its record without hashes, what it reads, and its lineage."""
    record, known = stage.record, ("settings", "overrides", "tags", "recipe", "counts", "versions")
    found: Json = {key: record.get(key) for key in (*known, "started", "finished", "error")}
    host = record.get("host", {})
    found |= {
        "name": stage.path.name,
        "command": record.get("command"),
        "status": stage.status,
        "seconds": record.get("seconds", 0.0),
        "host": {key: host.get(key) for key in ("platform", "cores")},
        "files": [[name, size[0]] for name, size in record.get("output_stats", {}).items()],
        "inputs": [
            {"name": name, **_input(stage, given)}
            for name, many in record.get("inputs", {}).items()
            for given in many
        ],
    }
    lineage = lineage_of(stage.path)
    found["lineage"] = {
        "seen": {kind: sorted(levels) for kind, levels in lineage.seen.items()},
        "bases": sorted(lineage.bases),
        "unknown": sorted(lineage.unknown),
        "reads_hard": lineage.reads_hard_answers(_levels(stage.path.parent)),
    }
    return found


def _levels(run: Path) -> int:
    """The last easy level of the run's split."""
    split = next((file.parent for file in sorted(run.glob(f"*/{SPLIT_INFO}"))), None)
    return PAPER_MAX_LEVEL if split is None else max_level(split)


def _input(stage: StageFolder, given: dict[str, str]) -> Json:
    """An input, the stage of this run that it is, and whether that was made anew since."""
    name = stage_of(given["path"])
    maker = stage.path.parent / name
    if not (maker / STAGE_RECORD).is_file():
        return {"path": given["path"], "stage": None, "changed": False}
    folder, ending = made_by(stage.path.parent / given["path"])
    changed = folder.fingerprint + ending != given["fingerprint"]
    return {"path": given["path"], "stage": name, "changed": changed}


def _views(run: RunFolder, recipes: Sequence[Recipe]) -> Iterator[Json]:
    """Tables, figures and case studies of the views whose stages are there."""
    for recipe in recipes:
        stage = eval_stage(recipe)
        needed = [stage.name] if stage else list(recipe.show)
        if any(run.stage(name).status != "finished" for name in needed):
            continue
        report = collect(recipe, {recipe.seed: run})
        roc = report.evals[0] / ROC if report.evals else Path()
        curves = pq.read_table(roc) if report.spec.kind == "roc" and roc.is_file() else None
        yield {
            "name": report.name,
            "title": report.title,
            "kind": report.spec.kind,
            "stages": needed,
            "tables": tables_json(report.tables),
            "verdicts": claims_json(report.checked),
            "figure": figure_json(report.runs, report.spec, report.made_at, curves),
            "studies": [
                {**study_json(study), "sources": list(recipe.show)} for study in report.studies
            ],
            "notes": report.notes,
        }


def _results(stages: Sequence[StageFolder]) -> Iterator[Json]:
    """The tables that eval and rerank stages have written by themselves."""
    for stage in stages:
        file = stage.path / _RESULTS
        if file.is_file():
            tables, notes = read_markdown(file.read_text(encoding="utf-8"))
            command = stage.record["command"]
            about = {"name": stage.path.name, "command": command, "notes": notes}
            yield {**about, "tables": tables_json(tables)}


def _training(stage: StageFolder, document: Document) -> Json:
    """The log of a training; rollouts are a part of the page of their own."""
    record = stage.record
    lines = [row for _, row in read_jsonl(stage.path / LOG)]
    counts = record.get("counts", {})
    found: Json = {"stage": stage.path.name, "command": record["command"], **log_json(lines)}
    found |= {key: counts.get(key) for key in ("best_step", "checkpoint_rule", "choices")}
    files = {
        int(file.stem.removeprefix("step-")): file
        for file in (stage.path / ROLLOUTS).glob("step-*.parquet")
    }
    found["steps"] = shown_steps(files, [counts.get("best_step") or 0])
    found["steps_on_disk"] = len(files)
    if files:
        rollouts = {step: rollouts_json(pq.read_table(files[step])) for step in found["steps"]}
        document.add(f"rollouts-{stage.path.name}", rollouts)
    return found
