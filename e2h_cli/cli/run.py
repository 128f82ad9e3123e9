"""``e2h run``: all stages of a recipe, with one seed or with several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from e2h_cli.cli.options import ForceOption, RunDirOption, ScaleOption
from e2h_cli.cli.run_selection import open_run
from e2h_cli.common.errors import InputError


def run(
    recipe: Annotated[
        str, typer.Argument(help="Recipe file, or the name of one that comes with e2h.")
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
    """Run the stages of a recipe that are missing or out of date; of a view, those it needs."""
    if seeds is None:
        _run(recipe, scale, run_dir, seed, until, force=force)
        return
    if seed is not None:
        raise InputError("--seed and --seeds do not go together")
    numbers = [part.strip() for part in seeds.split(",")]
    if len(set(numbers)) < max(len(numbers), 2) or not all(map(str.isdecimal, numbers)):
        raise InputError(
            f"--seeds {seeds}: not several different whole numbers from 0", hint="as --seeds 3,4,5"
        )
    folders, made_at, view = {}, "", ""
    for one in map(int, numbers):
        beside = run_dir and run_dir.with_name(f"{run_dir.name}-seed{one}")
        folders[one], made_at, view = _run(recipe, scale, beside, one, until, force=force)
    _compare(folders, made_at, view)


def _run(
    recipe: str,
    scale: str | None,
    run_dir: Path | None,
    seed: int | None,
    until: str | None,
    *,
    force: bool,
) -> tuple[Path, str, str]:
    """Bring one run up to date; return its folder, its scale, and the view of an experiment."""
    from e2h_cli.common.console import console
    from e2h_cli.pipeline.recipe_file import scale_in_words
    from e2h_cli.pipeline.runner import Runner

    loaded, run_folder = open_run(recipe, scale, run_dir, seed)
    console.print(
        f"[bold]{loaded.name}[/bold] at {loaded.scale} scale in {escape(str(run_folder.path))}: "
        f"{escape(loaded.about)}"
    )
    runner = Runner(loaded, run_folder, make_inputs=True, replace="all" if force else "of-recipe")
    runner.run_all(until)
    view = "" if loaded.name == loaded.experiment else f"-{loaded.name}"
    return run_folder.path, scale_in_words(loaded.scale), view


def _compare(folders: dict[int, Path], made_at: str, view: str) -> None:
    """Print and write the table over all runs, beside their folders."""
    from e2h_cli.common.console import console
    from e2h_cli.reports.seed_results import over_seeds, seed_tables, write_seed_results

    results = over_seeds(folders, made_at)
    tables = seed_tables(results)
    for table in tables:
        console.print(table)
    first = next(iter(folders.values()))
    seeds = "-".join(map(str, folders))
    folder = first.with_name(f"{first.name.partition('-seed')[0]}{view}-seeds-{seeds}")
    write_seed_results(folder, results, tables)
    if results.finding:
        console.print(f"[bold]{escape(results.finding)}[/bold]")
    console.print(f"{len(folders)} runs -> {escape(str(folder))}/results.md (and .json)")
