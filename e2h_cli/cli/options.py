"""What all subcommands that run one stage share: their options, made from their settings.

Every setting is an option of the same name, so that a setting is described once, in
``settings.py``. An option that is not given leaves the recipe's value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline.recipe import flag_of
from e2h_cli.pipeline.registry import VERBS, Role, Verb

if TYPE_CHECKING:
    from e2h_cli.pipeline.recipe import Recipe
    from e2h_cli.pipeline.run_folder import Workspace

RecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", help="Recipe file, or the name of one that comes with e2h."),
]
ScaleOption = Annotated[
    str | None, typer.Option("--scale", help="tiny or paper; paper where there is a GPU.")
]
RunDirOption = Annotated[
    Path | None, typer.Option("--run-dir", help="Run folder; runs/RECIPE-SCALE if not given.")
]
StageOption = Annotated[
    str | None, typer.Option("--stage", help="Which stage of the recipe, where it has several.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Throw away finished work that other settings made.")
]
MakeInputsOption = Annotated[
    bool | None,
    typer.Option(
        "--make-inputs/--no-make-inputs",
        help="Make missing inputs on the way; done at tiny scale unless told otherwise.",
    ),
]

# Takes away an optional input that the recipe gives.
NOTHING = "none"

_COMMON = {
    "recipe": (RecipeOption, None),
    "scale": (ScaleOption, None),
    "run_dir": (RunDirOption, None),
    "stage": (StageOption, None),
    "force": (ForceOption, False),
    "make_inputs": (MakeInputsOption, None),
}


def stage_command(verb_name: str) -> Callable[..., None]:
    """A Typer command that runs one stage of a recipe."""
    verb = VERBS[verb_name]

    def command(**options: Any) -> None:
        common = {name: options.pop(name) for name in _COMMON}
        reads = {role: value for role in verb.roles if (value := options.pop(role))}
        for role in reads:
            if setting := verb.roles[role].kind:
                options[setting], reads[role] = reads[role]
        run_stage(verb, common, reads, {k: v for k, v in options.items() if v not in (None, [])})

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in {**_options(verb), **_COMMON}.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = verb.about
    command.__name__ = verb.name.replace("-", "_")
    return command


def run_stage(
    verb: Verb, common: dict[str, Any], reads: dict[str, Any], changes: dict[str, Any]
) -> None:
    """Bring the stage that a command line asks for up to date."""
    from e2h_cli.pipeline.runner import Runner

    seed = changes.get("seed", "")
    if seed and not seed.isdecimal():
        raise InputError(f"--seed {seed}: not a whole number from 0")
    recipe, workspace = open_run(
        common["recipe"] or verb.recipe,
        common["scale"],
        common["run_dir"],
        int(seed) if seed else None,
    )
    stage = recipe.of_verb(verb.name, common["stage"])
    stage = stage.with_changes(
        changes,
        {role: _names(verb.roles[role], value) for role, value in reads.items()},
        f"e2h {verb.name}",
    )
    make = recipe.scale == "tiny" if common["make_inputs"] is None else common["make_inputs"]
    Runner(recipe, workspace, make_inputs=make, replace=common["force"]).run(stage)


def _names(role: Role, value: str | list[str]) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    return () if role.optional and names == (NOTHING,) else names


def open_run(
    recipe_name: str, scale: str | None, run_dir: Path | None, seed: int | None
) -> tuple[Recipe, Workspace]:
    """The recipe and the run folder of a command line."""
    from e2h_cli.pipeline import recipe as recipes
    from e2h_cli.pipeline.run_folder import Workspace
    from e2h_cli.pipeline.runner import default_scale

    known = get_args(recipes.Scale)
    if scale is not None and scale not in known:
        raise InputError(f"--scale {scale}: no such scale", hint=f"choose {' or '.join(known)}")
    chosen = cast(recipes.Scale, scale) if scale else default_scale()
    recipe = recipes.load(recipes.find(recipe_name), chosen, seed)
    suffix = "" if seed is None else f"-seed{seed}"
    folder = run_dir or Path("runs") / f"{recipe.name}-{recipe.scale}{suffix}"
    return recipe, Workspace(folder)


def _options(verb: Verb) -> dict[str, tuple[Any, Any]]:
    found: dict[str, tuple[Any, Any]] = {}
    for role, kind in verb.roles.items():
        found[role] = (_role_option(role, kind), None)
    paired = {kind.kind for kind in verb.roles.values()}
    for name, setting in verb.settings.model_fields.items():
        if name in paired:
            continue
        found[name] = (_setting_option(name, setting), None)
    return found


def _role_option(role: str, kind: Role) -> Any:
    about = f"{kind.about[0].upper()}{kind.about[1:]}."
    if kind.optional and not kind.kind:
        about += f" {NOTHING} for none."
    common: dict[str, Any] = {"help": about, "rich_help_panel": "Inputs", "show_default": False}
    option = typer.Option(f"--{kind.option or role}", **common)
    if kind.kind:
        option.metavar = "KIND FILE"
        return Annotated[tuple[str, str] | None, option]
    return Annotated[list[str] | None, option] if kind.many else Annotated[str | None, option]


def _setting_option(name: str, setting: FieldInfo) -> Any:
    """An option for a setting. Values stay text here: the settings check types and bounds."""
    flag = flag_of(name)
    about = setting.description or ""
    if setting.default not in (None, False, [], {}):
        shown = setting.default
        about += f" Default: {','.join(map(str, shown)) if isinstance(shown, list) else shown}."
    common: dict[str, Any] = {"help": about, "rich_help_panel": "Settings", "show_default": False}
    if setting.annotation is bool:
        flags = flag if setting.exclude else f"{flag}/--no-{flag[2:]}"
        return Annotated[bool | None, typer.Option(flags, **common)]
    if setting.default in ([], {}):
        return Annotated[list[str] | None, typer.Option(flag, metavar="<text>", **common)]
    return Annotated[str | None, typer.Option(flag, metavar=_metavar(setting), **common)]


def _metavar(setting: FieldInfo) -> str:
    for kind in (setting.annotation, *get_args(setting.annotation)):
        if get_origin(kind) is Literal:
            return "|".join(get_args(kind))
        if kind in (int, float):
            return f"<{kind.__name__}>"
    return "<text>"
