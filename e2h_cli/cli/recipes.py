"""``e2h validate`` and ``e2h recipes``: check, list and copy recipes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from e2h_cli.cli.options import JsonOption
from e2h_cli.common.errors import InputError

if TYPE_CHECKING:
    from e2h_cli.pipeline.recipe import Recipe
    from e2h_cli.pipeline.recipe_file import Scale

recipes = typer.Typer(help="List the recipes that come with e2h, or copy one.")

_NAME_LINE = re.compile(r"^name:.*$", re.MULTILINE)


def validate(
    recipe: Annotated[
        str, typer.Argument(help="Recipe file, or the name of one that comes with e2h.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Check a recipe at all its scales, without running anything."""
    from e2h_cli.common.console import console, print_json
    from e2h_cli.pipeline.recipe import at_scale
    from e2h_cli.pipeline.recipe_file import find, read

    file = read(find(recipe))
    # A recipe without scales is one for the user's own data.
    scales: Iterable[Scale] = file.entry.scales or ("own",)
    checked = [at_scale(file, scale) for scale in scales]
    if as_json:
        found = [
            {
                "scale": one.scale,
                "stages": [stage.name for stage in one.order],
                "all_stages": len(one.stages),
                "notes": list(_missing(one)),
            }
            for one in checked
        ]
        print_json({"recipe": file.entry.name, "path": str(file.path), "scales": found})
        return
    for one in checked:
        of_all = f" of {len(one.stages)}" if one.show else ""
        console.print(f"{one.scale}: {len(one.order)}{of_all} stages")
        for note in _missing(one):
            console.print(f"  note: {escape(note)}")


def _missing(recipe: Recipe) -> Iterator[str]:
    """What the stages of a run need and the recipe does not give, or is not there."""
    from e2h_cli.common.files import path_exists
    from e2h_cli.pipeline.iteration import stage_of

    found: dict[str, list[str]] = {}
    for stage in recipe.order:
        for name, spec in stage.command.inputs.items():
            given = stage.inputs.get(name, ())
            if not given and not spec.optional:
                found.setdefault(f"needs {name}: {spec.about}", []).append(stage.name)
            for one in given:
                known = stage_of(one) in recipe.stages or spec.takes_hub_name(one)
                if not known and not path_exists(Path(one)):
                    found.setdefault(f"reads {one}, which is not there", []).append(stage.name)
    for what, stages in found.items():
        more = f" (and {len(stages) - 1} more stages)" if len(stages) > 1 else ""
        yield f"{stages[0]}{more} {what}"


@recipes.callback(invoke_without_command=True)
def list_recipes(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the recipes that come with e2h."""
    from e2h_cli.common.console import console, print_json
    from e2h_cli.pipeline.recipe_file import packaged, read

    if context.invoked_subcommand is not None:
        return
    found = {name: (path, read(path).entry) for name, path in packaged().items()}
    if as_json:
        rows = [
            {"name": name, "about": one.about, "scales": list(one.scales), "path": str(path)}
            for name, (path, one) in found.items()
        ]
        print_json(rows)
        return
    table = Table("recipe", "what it shows", "scales")
    for name, (_, entry) in found.items():
        table.add_row(name, escape(entry.about), ", ".join(entry.scales))
    console.print(table)


@recipes.command("copy")
def copy_recipe(
    name: Annotated[str, typer.Argument(help="Name of a recipe that comes with e2h.")],
    file: Annotated[Path | None, typer.Argument(help="Where to; NAME.yaml if not given.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Copy a recipe for editing; the copy is named after its file."""
    from e2h_cli.common.console import console
    from e2h_cli.common.files import path_exists, write_atomic
    from e2h_cli.pipeline.checked_yaml import did_you_mean
    from e2h_cli.pipeline.recipe_file import RECIPE_NAME, packaged

    known = packaged()
    if name not in known:
        raise InputError(f"no recipe {name!r} comes with e2h", hint=did_you_mean(name, known))
    target = file or Path(f"{name}.yaml")
    if path_exists(target) and (not force or target.is_dir()):
        hint = "name another file" if target.is_dir() else "--force overwrites it"
        raise InputError("is there already", where=target, hint=hint)
    text = known[name].read_text(encoding="utf-8")
    if re.fullmatch(RECIPE_NAME, target.stem):
        text = _NAME_LINE.sub(f"name: {target.stem}", text, count=1)
    write_atomic(target, text.encode())
    console.print(f"{escape(str(target))}: check it with e2h validate, run it with e2h run")
