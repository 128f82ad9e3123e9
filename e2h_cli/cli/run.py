"""``e2h run``: all stages of a recipe."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from e2h_cli.cli.options import ForceOption, RunDirOption, ScaleOption
from e2h_cli.cli.run_selection import open_run


def run(
    recipe: Annotated[
        str, typer.Argument(help="Recipe file, or the name of one that comes with e2h.")
    ],
    scale: ScaleOption = None,
    run_dir: RunDirOption = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the whole run; the recipe's if not given.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    force: ForceOption = False,
) -> None:
    """Run the stages of a recipe that are missing or out of date."""
    from e2h_cli.common.console import console
    from e2h_cli.pipeline.runner import Runner

    loaded, run_folder = open_run(recipe, scale, run_dir, seed)
    console.print(
        f"[bold]{loaded.name}[/bold] at {loaded.scale} scale in {escape(str(run_folder.path))}: "
        f"{escape(loaded.about)}"
    )
    runner = Runner(loaded, run_folder, make_inputs=True, replace="all" if force else "of-recipe")
    runner.run_all(until)
