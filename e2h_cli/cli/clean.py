"""``e2h clean``: what can be removed from runs, and removing it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from e2h_cli.cli.amounts import shown_bytes
from e2h_cli.cli.options import JsonOption
from e2h_cli.cli.run_selection import RUNS
from e2h_cli.common.errors import InputError

if TYPE_CHECKING:
    from e2h_cli.pipeline.cleaning import Removable

# Kinds -> the option that removes them, and what they are.
_OPTIONS = {"unfinished": "--unfinished", "rebuildable": "--rebuildable"}


def clean(
    run: Annotated[
        Path | None, typer.Argument(help="A run folder; all of runs/ if not given.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    unfinished: Annotated[
        bool,
        typer.Option(
            "--unfinished", help="Also the work of stages that were killed or failed, so far."
        ),
    ] = False,
    rebuildable: Annotated[
        bool,
        typer.Option(
            "--rebuildable", help="Also stages that train and sample nothing: rerank and eval."
        ),
    ] = False,
    stage: Annotated[
        list[str] | None, typer.Option("--stage", help="Also this stage; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List what can be removed from runs with its size, and remove it with --yes."""
    from e2h_cli.common.console import announce, leave_output_to_json, print_json
    from e2h_cli.pipeline.cleaning import ALWAYS, find_removable, outermost, remove
    from e2h_cli.pipeline.run_listing import find_runs

    if as_json:
        leave_output_to_json()
    if stage and run is None:
        raise InputError("--stage without a run", hint="name the run folder")
    chosen = {*ALWAYS, "stage"}
    chosen |= {"unfinished"} if unfinished else set()
    chosen |= {"rebuildable"} if rebuildable else set()
    found = {one: find_removable(one, stage or ()) for one in ([run] if run else find_runs(RUNS))}
    going = {
        folder: outermost(one for one in some if one.kind in chosen)
        for folder, some in found.items()
    }
    if not as_json:
        _show([one for some in found.values() for one in some], chosen)
    total = sum(one.size for some in going.values() for one in some)
    removed = bool(any(going.values())) and (yes or _asked(total, as_json=as_json))
    if removed:
        for folder, some in going.items():
            remove(folder, some)
        announce(f"removed {shown_bytes(total)}", removed=total)
    elif any(going.values()):
        announce(f"--yes removes {shown_bytes(total)}", removable=total)
    if as_json:
        rows = [
            {"run": str(folder), "path": str(one.path), "kind": one.kind, "size": one.size,
             "loss": one.loss, "removed": removed and one.kind in chosen}
            for folder, some in found.items() for one in some
        ]  # fmt: skip
        print_json(rows)


def _asked(total: int, *, as_json: bool) -> bool:
    """Ask on a terminal; elsewhere the answer is no."""
    if as_json or not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return typer.confirm(f"Remove {shown_bytes(total)}?")


def _show(found: Sequence[Removable], chosen: Collection[str]) -> None:
    from rich.markup import escape
    from rich.table import Column, Table

    from e2h_cli.common.console import console

    if not found:
        console.print("Nothing to remove.")
        return
    table = Table(Column("path", overflow="fold"), "what", "size", "what is lost", "removed by")
    for one in found:
        option = "--yes" if one.kind in chosen else f"{_OPTIONS[one.kind]} --yes"
        table.add_row(escape(str(one.path)), one.kind, shown_bytes(one.size), one.loss, option)
    console.print(table)
