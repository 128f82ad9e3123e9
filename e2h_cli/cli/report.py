"""``e2h report``: tables and figures of the paper, from what a run has made."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from e2h_cli.cli.options import JsonOption, RunDirOption, ScaleOption
from e2h_cli.cli.run_selection import folder_of_seeds, open_run, parse_seeds, run_dir_of
from e2h_cli.common.errors import InputError

if TYPE_CHECKING:
    from e2h_cli.pipeline.recipe import Recipe
    from e2h_cli.pipeline.run_folder import RunFolder
    from e2h_cli.stages.report import Report

logger = logging.getLogger(__name__)


def report(
    views: Annotated[
        list[str] | None,
        typer.Argument(
            help="Recipes of tables and figures, as table1 fig4; all that come with e2h if not "
            "given."
        ),
    ] = None,
    scale: ScaleOption = None,
    run_dir: RunDirOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the run.")] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds of several runs, as 3,4,5: one report over all.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Render tables and figures of the paper from the stages that are there; trains nothing."""
    from e2h_cli.common.console import leave_output_to_json, print_json

    if as_json:
        leave_output_to_json()
    given = parse_seeds(seed, seeds)
    found: list[dict[str, Any]] = []
    for name in views or packaged_views():
        try:
            recipe, folders, missing = _with_what_is_there(name, scale, run_dir, given)
            made = render_report(recipe, folders)
        except InputError as error:
            if views:
                raise
            logger.warning("%s: %s", name, error.line)
            found.append({"name": name, "error": error.line})
            continue
        if as_json:
            found.append({**made.as_json, "missing": missing})
        else:
            _print(made)
        if missing:
            first, more = missing[:4], len(missing) - 4
            others = f" and {more} more" if more > 0 else ""
            hint = f"e2h run {name} makes the rest"
            logger.warning("not there yet: %s%s; %s", ", ".join(first), others, hint)
    if as_json:
        print_json(found)


def _with_what_is_there(
    name: str, scale: str | None, run_dir: Path | None, seeds: Sequence[int | None]
) -> tuple[Recipe, dict[int, RunFolder], list[str]]:
    """A view, its runs by seed with their eval stage up to date, and the stages that it lacks."""
    from e2h_cli.pipeline.runner import Runner
    from e2h_cli.stages.report import eval_stage

    folders: dict[int, RunFolder] = {}
    missing: set[str] = set()
    for one in seeds:
        recipe, folder = open_run(name, scale, run_dir_of(run_dir, one, seeds), one)
        stage = eval_stage(recipe)
        if stage is not None:
            runner = Runner(recipe, folder, make_inputs=False, replace="none")
            missing.update(runner.run_with_what_is_there(stage))
        folders[recipe.seed] = folder
    return recipe, folders, sorted(missing)


def packaged_views() -> list[str]:
    """Names of the recipes that come with e2h and have a report, tables first."""
    from e2h_cli.pipeline.checked_yaml import load_yaml
    from e2h_cli.pipeline.recipe_file import packaged

    # The key is not inherited: the recipe that is extended need not be read.
    found = [name for name, path in packaged().items() if "report" in load_yaml(path)[0]]
    number = {name: int("".join(filter(str.isdigit, name)) or 0) for name in found}
    return sorted(found, key=lambda name: (not name.startswith("table"), number[name]))


def show_report(recipe: Recipe, folders: dict[int, RunFolder]) -> None:
    """Render a view over these runs, by seed; print it and say where its files are."""
    _print(render_report(recipe, folders))


def render_report(recipe: Recipe, folders: dict[int, RunFolder]) -> Report:
    """Render a view into the run folder or, of several seeds, beside it."""
    from e2h_cli.stages.report import render

    first = next(iter(folders.values())).path
    target = first / "report" if len(folders) == 1 else folder_of_seeds(first, folders)
    return render(recipe, folders, target)


def _print(made: Report) -> None:
    from e2h_cli.common.console import console

    console.print(f"[bold]{escape(made.name)}: {escape(made.title)}[/bold]")
    for table in made.tables:
        console.print(table)
    for study in made.shown:
        console.print(study)
    for note in made.notes:
        console.print(f"[dim]{escape(note)}[/dim]")
    suffixes = ", ".join(file.suffix[1:] for file in made.files)
    console.print(f"{escape(str(made.files[0].with_suffix('')))}.{{{suffixes}}}")
