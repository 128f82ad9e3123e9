"""``e2h diff``: how two runs differ, and whether their figures do."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from e2h_cli.cli.options import JsonOption

if TYPE_CHECKING:
    from e2h_cli.pipeline.run_diff import Change, FigureChange, RunDiff


def diff(
    a: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    b: Annotated[Path, typer.Argument(metavar="RUN", help="Another one.")],
    as_json: JsonOption = False,
) -> None:
    """Compare two runs: settings, inputs, versions, and figures with paired tests."""
    from e2h_cli.common.console import console, print_json
    from e2h_cli.pipeline.run_diff import diff_runs

    found = diff_runs(a, b)
    if as_json:
        print_json({"a": str(a), "b": str(b), **dataclasses.asdict(found)})
        return
    if found.about[0] != found.about[1]:
        for path, about in zip((a, b), found.about, strict=True):
            words = ", ".join(f"{key} {value}" for key, value in about.items())
            console.print(f"{path}: {words}", markup=False)
    for path, only in ((a, found.only_a), (b, found.only_b)):
        if only:
            console.print(f"only in {path}: {', '.join(only)}", markup=False)
    for title in ("settings", "inputs"):
        if changes := getattr(found, title):
            console.print(_changes(title, a, b, [_cells(one) for one in changes]))
    if found.versions:
        console.print(_changes("versions", a, b, _by_version(found.versions)))
    if not (found.settings or found.inputs or found.versions):
        console.print("No setting, input or version differs in the stages that both have.")
    _show_figures(a, b, found)


def _cells(one: Change) -> tuple[str, ...]:
    return one.stage, one.name, _text(one.a), _text(one.b)


def _by_version(changes: Sequence[Change]) -> list[tuple[str, ...]]:
    """One row for a version that changed in many stages."""
    stages: dict[tuple[str, ...], list[str]] = {}
    for one in changes:
        stages.setdefault((one.name, _text(one.a), _text(one.b)), []).append(one.stage)
    return [
        (names[0] if len(names) == 1 else f"{len(names)} stages", *row)
        for row, names in stages.items()
    ]


def _text(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def _changes(title: str, a: Path, b: Path, rows: Sequence[tuple[str, ...]]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        "stage", "name", escape(str(a)), escape(str(b)), title=title, title_justify="left"
    )
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _show_figures(a: Path, b: Path, found: RunDiff) -> None:
    from rich.markup import escape
    from rich.table import Table

    from e2h_cli.common.console import console
    from e2h_cli.reports.results import shown_p

    main = [one for one in found.figures if one.main]
    if not main:
        console.print("No eval stage of both runs measures the same: no figures to compare.")
        return
    header = ["figure", "group", "N", escape(str(a)), escape(str(b)), "difference", "interval",
              "p", "p by Holm"]  # fmt: skip
    table = Table(*header, title="figures in percent, differences in points", title_justify="left")
    for one in main:
        tested = one.low is not None and one.high is not None
        table.add_row(
            escape(_name(one)),
            escape(str(one.facets.get("group", ""))),
            str(one.facets.get("n", "")),
            f"{one.a:.1f}",
            f"{one.b:.1f}",
            f"{one.difference:+.1f}",
            f"{one.low:+.1f} to {one.high:+.1f}" if tested else "-",
            shown_p(one.p),
            shown_p(one.p_holm),
        )
    console.print(table)
    for stage in found.other_problems:
        console.print(
            f"{stage}: the test problems differ, so there is no paired test", markup=False
        )
    if len(main) < len(found.figures):
        more = len(found.figures) - len(main)
        console.print(f"{more:,} more figures (levels, subjects, smaller N): --json")


def _name(one: FigureChange) -> str:
    """The eval stage, what it measured, the method and its aggregation."""
    facets = one.facets
    metric = "" if facets.get("metric") == "accuracy" else str(facets.get("metric", ""))
    method = f"{facets.get('method', '')} {facets.get('aggregate', '')}".strip()
    parts = (facets["stage"], facets.get("measured"), metric, method)
    return " ".join(dict.fromkeys(str(part) for part in parts if part))
