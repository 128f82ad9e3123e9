"""``e2h plan``: what a recipe would cost, before anything is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from e2h_cli.cli.options import JsonOption, RunDirOption, ScaleOption
from e2h_cli.cli.run_selection import open_run

if TYPE_CHECKING:
    from pathlib import Path

    from e2h_cli.pipeline.plan import Assumptions, StagePlan
    from e2h_cli.pipeline.recipe import Recipe
    from e2h_cli.reports.tables import ReportTable


def plan(
    recipe: Annotated[
        str, typer.Argument(help="Recipe file, or the name of one that comes with e2h.")
    ],
    scale: ScaleOption = None,
    run_dir: RunDirOption = None,
    solution_tokens: Annotated[int, typer.Option(min=1, help="Mean tokens of a solution.")] = 300,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Mean tokens of a question.")] = 120,
    tflops: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Peak of a GPU in bf16, in TFLOP/s; if not given, of an RTX 4090 (165) at small "
            "scale, and of an H100 (989) at others.",
        ),
    ] = None,
    training: Annotated[
        float, typer.Option(min=0.001, max=1, help="Share of it in training and scoring.")
    ] = 0.4,
    sampling: Annotated[
        float, typer.Option(min=0.001, max=1, help="Share of it in sampling.")
    ] = 0.12,
    parameters: Annotated[
        float | None,
        typer.Option(min=1, help="Of models whose config or name tells no size, as 7e9."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the stages of a recipe with rows, tokens, GPU memory, GPU-hours and disk."""
    from e2h_cli.common.console import console, print_json
    from e2h_cli.pipeline.plan import PEAK_TFLOPS, Assumptions, plan_of

    loaded, folder = open_run(recipe, scale, run_dir, None)
    peak = tflops or PEAK_TFLOPS.get(loaded.scale, PEAK_TFLOPS["paper"])
    given = {"solution_tokens": solution_tokens, "prompt_tokens": prompt_tokens, "tflops": peak,
             "training": training, "sampling": sampling, "parameters": parameters}  # fmt: skip
    assumed = Assumptions(**given)  # type: ignore[arg-type]
    plans = plan_of(loaded, folder, assumed)
    if as_json:
        print_json(_json(loaded, folder.path, plans, assumed))
        return
    title = f"{loaded.name} at {loaded.scale} scale in {folder.path}"
    console.print(_table(title, plans, assumed))
    for line in assumed.lines:
        console.print(f"assumed: {line}", markup=False)


def _json(
    recipe: Recipe, folder: Path, plans: Sequence[StagePlan], assumed: Assumptions
) -> dict[str, Any]:
    """The plan with sums; memory and disk in bytes."""
    stages = [
        {**dataclasses.asdict(one), "gpu_hours": one.gpu_hours(assumed), "parts": dict(one.parts)}
        for one in plans
    ]
    sums = {
        name: {
            "tokens": sum(one["tokens"] for one in some),
            "memory": max((one["memory"] for one in some), default=0.0),
            "gpu_hours": sum(one["gpu_hours"] for one in some),
            "disk": sum(one["disk"] for one in some),
        }
        for name, some in {
            "in_all": stages,
            "not_finished": [one for one in stages if one["status"] != "finished"],
        }.items()
    }
    about = {"recipe": recipe.name, "scale": recipe.scale, "seed": recipe.seed}
    return {
        **about,
        "folder": str(folder),
        "stages": stages,
        **sums,
        "assumed": dataclasses.asdict(assumed),
    }


def _table(title: str, plans: Sequence[StagePlan], assumed: Assumptions) -> ReportTable:
    """The plan of every stage, and two sums; of the memory the largest."""
    from e2h_cli.pipeline.plan import GIB
    from e2h_cli.reports.tables import ReportTable

    rows = [
        (
            "stages", one.name, one.command, one.status,
            f"{one.rows:,.0f}", f"{one.tokens / 1e6:,.1f}",
            f"{one.memory / GIB:,.1f}", f"{one.gpu_hours(assumed):,.2f}", f"{one.disk / GIB:,.1f}",
        )
        for one in plans
    ]  # fmt: skip
    left = [one for one in plans if one.status != "finished"]
    total = [
        ("in all", "", "", "", "", f"{sum(one.tokens for one in some) / 1e6:,.1f}",
         f"{max((one.memory for one in some), default=0) / GIB:,.1f}",
         f"{sum(one.gpu_hours(assumed) for one in some):,.2f}",
         f"{sum(one.disk for one in some) / GIB:,.1f}")
        for some in (plans, left)
    ]  # fmt: skip
    total[1] = ("not finished", *total[1][1:])
    header = (
        "",
        "stage",
        "command",
        "status",
        "rows",
        "M tokens",
        "GiB",
        "GPU-hours",
        "GiB on disk",
    )
    return ReportTable(title, header, [*rows, *total])
