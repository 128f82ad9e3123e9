"""``e2h ls``: the runs of a folder, or the stages of a run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from e2h_cli.cli.amounts import shown_bytes, shown_seconds
from e2h_cli.cli.options import JsonOption
from e2h_cli.cli.run_selection import RUNS

if TYPE_CHECKING:
    from e2h_cli.pipeline.run_listing import RunState, StageState

_STYLES = {"up to date": "green", "running": "cyan", "failed": "red", "damaged": "red"}


def ls(
    folder: Annotated[
        Path, typer.Argument(help="A run folder: its stages; a folder of runs: these.")
    ] = RUNS,
    as_json: JsonOption = False,
) -> None:
    """List runs, or the stages of a run: status, time, size and age."""
    from e2h_cli.common.console import print_json
    from e2h_cli.pipeline.run_listing import find_runs, is_run, list_run

    if is_run(folder):
        run = list_run(folder)
        print_json(_json(run)) if as_json else _show_stages(run)
    else:
        runs = [list_run(one) for one in find_runs(folder)]
        print_json([_json(run) for run in runs]) if as_json else _show_runs(folder, runs)


def _json(run: RunState) -> dict[str, Any]:
    return {**dataclasses.asdict(run), "path": str(run.path), "about": dict(run.about)}


def _show_runs(folder: Path, runs: Sequence[RunState]) -> None:
    from rich.table import Table

    from e2h_cli.common.console import console

    if not runs:
        console.print(f"{folder}: no runs", markup=False)
        return
    table = Table("run", "experiment", "scale", "seed", "stages", "status", "time", "size", "used")
    for run in runs:
        about = (str(run.about.get(key, "")) for key in ("experiment", "scale", "seed"))
        seconds = shown_seconds(sum(stage.seconds for stage in run.stages))
        size, used = shown_bytes(run.size), _age(run.last_used)
        status = _status_of_run(run.stages)
        table.add_row(run.path.name, *about, str(len(run.stages)), status, seconds, size, used)
    console.print(table)


def _status_of_run(stages: Sequence[StageState]) -> str:
    """``all up to date``, or how many stages are what else."""
    counts: dict[str, int] = {}
    for stage in stages:
        counts[stage.status] = counts.get(stage.status, 0) + 1
    done = counts.pop("up to date", 0)
    if not counts:
        return "[green]all up to date[/green]" if done else ""
    others = (
        f"[{_STYLES.get(status, 'yellow')}]{count} {status}[/]" for status, count in counts.items()
    )
    return ", ".join(others)


def _show_stages(run: RunState) -> None:
    from rich.markup import escape
    from rich.table import Column, Table

    from e2h_cli.common.console import console

    about = ", ".join(f"{key} {value}" for key, value in run.about.items())
    console.print(f"[bold]{escape(str(run.path))}[/bold]: {escape(about)}")
    table = Table(
        "stage", "command", "status", "time", "size", "age", Column("reason", overflow="fold")
    )
    for one in run.stages:
        status = f"[{_STYLES.get(one.status, 'yellow')}]{one.status}[/]"
        size, age = shown_bytes(one.size), _age(one.changed)
        seconds = shown_seconds(one.seconds)
        table.add_row(one.name, one.command, status, seconds, size, age, escape(one.reason))
    console.print(table)
    current = run.count("up to date")
    console.print(
        f"{current} of {len(run.stages)} stages up to date; {shown_bytes(run.size)} on disk"
    )


def _age(then: float) -> str:
    return f"{shown_seconds(max(time.time() - then, 0.0))} ago"
