"""``e2h page``: a finished run as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from e2h_cli.cli.report import packaged_views
from e2h_cli.cli.run_selection import last_run
from e2h_cli.common.errors import InputError

if TYPE_CHECKING:
    from e2h_cli.pipeline.recipe import Recipe
    from e2h_cli.pipeline.run_folder import RunFolder


def page(
    run: Annotated[
        Path | None,
        typer.Argument(help="Run folder; that in runs/ which was used last if not given."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; page.html in the run folder if not given.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Solutions of each problem on the page, beside those that a method chose; if not "
            "given, 64 or as many as keep it small.",
        ),
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="Recipe of a further table or figure, beside those of e2h."
        ),
    ] = None,
) -> None:
    """Show a run in one HTML file: stages, tables, figures, solutions, votes and trainings."""
    from e2h_cli.common.console import console
    from e2h_cli.pipeline.run_folder import RunFolder
    from e2h_cli.stages.page import write_page

    folder = RunFolder(run) if run else last_run()
    if not folder.path.is_dir():
        raise InputError("no such run folder", where=folder.path, hint="e2h run makes one")
    target = out or folder.path / "page.html"
    made = write_page(folder, list(_views(folder, view or [])), target, samples)
    for note in made.notes:
        console.print(f"[yellow]{escape(note)}[/yellow]")
    views = f"; {', '.join(made.views)}" if made.views else ""
    console.print(
        f"{made.stages} stages, {made.sets} sets of solutions, up to {made.limit} of a problem"
        f"{views} -> {escape(str(target))} ({made.size / 1e6:.1f} MB)"
    )


def _views(folder: RunFolder, further: list[str]) -> Iterator[Recipe]:
    """The views that come with e2h and are of the run's experiment, and further ones."""
    from e2h_cli.pipeline.recipe import at_scale
    from e2h_cli.pipeline.recipe_file import find, read

    about = folder.about
    if not about:
        return
    for name in [*packaged_views(), *further]:
        given = name in further
        if not given and not _may_be_there(name, folder):
            continue
        file = read(find(name))
        if given and file.entry.report is None:
            raise InputError(f"{name} has no report", hint="give a table or figure")
        if given or (
            file.experiment == about["experiment"] and about["scale"] in file.entry.scales
        ):
            yield at_scale(file, about["scale"], about["seed"])


def _may_be_there(name: str, folder: RunFolder) -> bool:
    """Whether a stage that the view shows has a folder. Reading the whole recipe takes a second."""
    from e2h_cli.pipeline.checked_yaml import load_yaml
    from e2h_cli.pipeline.recipe_file import packaged

    shown = load_yaml(packaged()[name])[0].get("show") or ()
    return not shown or any((folder.path / stage).is_dir() for stage in shown)
