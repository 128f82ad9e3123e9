"""``e2h run``: all stages of recipes, with one seed or with several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from e2h_cli.cli.options import ForceOption, RunDirOption, ScaleOption
from e2h_cli.cli.report import show_report
from e2h_cli.cli.run_selection import folder_of_seeds, open_run, parse_seeds, run_dir_of

if TYPE_CHECKING:
    from e2h_cli.pipeline.recipe import Recipe
    from e2h_cli.pipeline.run_folder import RunFolder


def run(
    recipes: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE...",
            help="Recipe files, or names of recipes that come with e2h, as table1 fig4.",
        ),
    ],
    scale: ScaleOption = None,
    run_dir: RunDirOption = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the whole run; the recipe's if not given.")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Seeds of several runs, as 3,4,5: each in its own folder, then one table with "
            "mean, spread and tests over the runs."
        ),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    force: ForceOption = False,
) -> None:
    """Run the stages of recipes that are missing or out of date; of a view, those it needs."""
    given = parse_seeds(seed, seeds)
    for name in recipes:
        runs: dict[int, RunFolder] = {}
        for one in given:
            recipe, folder = open_run(name, scale, run_dir_of(run_dir, one, given), one)
            if recipe.report is None or recipe.report.kind != "settings":
                _run(recipe, folder, until, force=force)
            runs[recipe.seed] = folder
        if recipe.report and until is None:
            show_report(recipe, runs)
        elif len(runs) > 1:
            _compare(recipe, {one: folder.path for one, folder in runs.items()})


def _run(recipe: Recipe, folder: RunFolder, until: str | None, *, force: bool) -> None:
    """Bring one run up to date."""
    from e2h_cli.common.console import console
    from e2h_cli.pipeline.runner import Runner

    console.print(
        f"[bold]{recipe.name}[/bold] at {recipe.scale} scale in {escape(str(folder.path))}: "
        f"{escape(recipe.about)}"
    )
    runner = Runner(recipe, folder, make_inputs=True, replace="all" if force else "of-recipe")
    runner.run_all(until)


def _compare(recipe: Recipe, folders: dict[int, Path]) -> None:
    """Print and write the table over all runs, beside their folders."""
    from e2h_cli.common.console import console
    from e2h_cli.pipeline.recipe_file import scale_in_words
    from e2h_cli.reports.seed_results import over_seeds, seed_tables, write_seed_results

    results = over_seeds(folders, scale_in_words(recipe.scale))
    tables = seed_tables(results)
    for table in tables:
        console.print(table)
    first = next(iter(folders.values()))
    view = "" if recipe.name == recipe.experiment else f"-{recipe.name}"
    folder = folder_of_seeds(first, folders, view)
    write_seed_results(folder, results, tables)
    if results.finding:
        console.print(f"[bold]{escape(results.finding)}[/bold]")
    console.print(f"{len(folders)} runs -> {escape(str(folder))}/results.md (and .json)")
