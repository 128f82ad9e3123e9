"""``e2h report``: tables and figures of the paper, from what a run has made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from e2h_cli.cli.options import RunDirOption, ScaleOption
from e2h_cli.cli.run_selection import folder_of_seeds, open_run, parse_seeds, run_dir_of
from e2h_cli.common.errors import InputError

if TYPE_CHECKING:
    from e2h_cli.pipeline.recipe import Recipe
    from e2h_cli.pipeline.run_folder import RunFolder


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
) -> None:
    """Render tables and figures of the paper from the stages that are there; trains nothing."""
    from e2h_cli.common.console import console
    from e2h_cli.pipeline.runner import Runner
    from e2h_cli.stages.report import eval_stage

    given = parse_seeds(seed, seeds)
    for name in views or packaged_views():
        folders: dict[int, RunFolder] = {}
        missing: set[str] = set()
        try:
            for one in given:
                recipe, folder = open_run(name, scale, run_dir_of(run_dir, one, given), one)
                stage = eval_stage(recipe)
                if stage is not None:
                    runner = Runner(recipe, folder, make_inputs=False, replace="none")
                    missing.update(runner.run_with_what_is_there(stage))
                folders[recipe.seed] = folder
            show_report(recipe, folders)
        except InputError as error:
            if views:
                raise
            console.print(f"[yellow]{escape(name)}: {escape(error.line)}[/yellow]")
            continue
        if missing:
            first, more = sorted(missing)[:4], len(missing) - 4
            others = f" and {more} more" if more > 0 else ""
            console.print(
                f"[yellow]not there yet: {', '.join(first)}{others}; e2h run {escape(name)} makes "
                "the rest[/yellow]"
            )


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
    from e2h_cli.common.console import console
    from e2h_cli.stages.report import render

    # Into the run folder or, of several seeds, beside it.
    first = next(iter(folders.values())).path
    target = first / "report" if len(folders) == 1 else folder_of_seeds(first, folders)
    made = render(recipe, folders, target)
    console.print(f"[bold]{escape(made.name)}: {escape(made.title)}[/bold]")
    for table in made.tables:
        console.print(table)
    for study in made.shown:
        console.print(study)
    for note in made.notes:
        console.print(f"[dim]{escape(note)}[/dim]")
    suffixes = ", ".join(["md", "tex", "csv", "json", *(p.suffix[1:] for p in made.figures)])
    console.print(f"{escape(str(target / made.name))}.{{{suffixes}}}")
