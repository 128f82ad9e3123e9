"""Commands that run one stage: their options are made from their settings and inputs.

Every setting is an option of the same name, so that a setting is described once, in
``settings/``. An option that is not given leaves the recipe's value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from e2h_cli.cli.run_selection import NOTHING, open_run
from e2h_cli.common.errors import InputError
from e2h_cli.pipeline.checked_yaml import flag_of
from e2h_cli.pipeline.registry import COMMANDS, DEFAULT_RECIPE, Command, InputSpec

if TYPE_CHECKING:
    from e2h_cli.settings.base import Settings

RecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", help="Recipe file, or the name of one that comes with e2h."),
]
ScaleOption = Annotated[
    str | None,
    typer.Option(
        "--scale",
        help="tiny, small, paper, or own: the defaults of the commands, for your own models and "
        "data. If not given: that of the run folder; own if problems or models are named; tiny "
        "without a GPU, small with one under 40 GB, paper with a larger.",
    ),
]
RunDirOption = Annotated[
    Path | None,
    typer.Option("--run-dir", help="Run folder; runs/EXPERIMENT-SCALE or runs/own if not given."),
]
StageOption = Annotated[
    str | None,
    typer.Option("--stage", help="Name of the stage, if the recipe has several."),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Delete work that was done under other settings.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON, and nothing else, to the standard output.")
]
MakeInputsOption = Annotated[
    bool | None,
    typer.Option(
        "--make-inputs/--no-make-inputs",
        help="Run the stages that make missing inputs first; the default at tiny scale only.",
    ),
]

_COMMON = {
    "recipe": (RecipeOption, None),
    "scale": (ScaleOption, None),
    "run_dir": (RunDirOption, None),
    "stage": (StageOption, None),
    "force": (ForceOption, False),
    "make_inputs": (MakeInputsOption, None),
}


def stage_command(name: str) -> Callable[..., None]:
    """A Typer command that runs one stage of a recipe."""
    spec = COMMANDS[name]

    def command(**options: Any) -> None:
        common = {option: options.pop(option) for option in _COMMON}
        inputs = {
            one: value for one in spec.inputs if (value := options.pop(one)) not in (None, [])
        }
        for one in inputs:
            if setting := spec.inputs[one].format_setting:
                options[setting], inputs[one] = inputs[one]
        settings = {k: v for k, v in options.items() if v not in (None, [])}
        run_stage(spec, common, inputs, settings)

    parameters = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for option, (kind, default) in {**_options(spec), **_COMMON}.items()
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = spec.about
    command.__name__ = spec.name.replace("-", "_")
    return command


def run_stage(
    command: Command, common: dict[str, Any], inputs: dict[str, Any], settings: dict[str, Any]
) -> None:
    """Bring the stage that a command line asks for up to date."""
    from e2h_cli.pipeline.runner import Runner

    seed = settings.get("seed", "")
    if seed and not seed.isdecimal():
        raise InputError(f"--seed {seed}: not a whole number from 0")
    recipe, run_folder = open_run(
        common["recipe"] or DEFAULT_RECIPE,
        common["scale"],
        common["run_dir"],
        int(seed) if seed else None,
        inputs=inputs,
        settings=settings,
    )
    stage = recipe.of_command(command.name, common["stage"])
    stage = stage.with_changes(
        settings,
        {name: _names(command.inputs[name], value) for name, value in inputs.items()},
        f"e2h {command.name}",
    )
    make = recipe.scale == "tiny" if common["make_inputs"] is None else common["make_inputs"]
    runner = Runner(
        recipe, run_folder, make_inputs=make, replace="all" if common["force"] else "none"
    )
    runner.run(stage)


def _names(spec: InputSpec, value: str | list[str]) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    return () if spec.optional and names == (NOTHING,) else names


def _options(command: Command) -> dict[str, tuple[Any, Any]]:
    """Option name -> (annotation, default) of a command's inputs and settings."""
    found: dict[str, tuple[Any, Any]] = {
        name: (_input_option(name, spec), None) for name, spec in command.inputs.items()
    }
    paired = {spec.format_setting for spec in command.inputs.values()}
    variants = command.settings.variants()
    for variant in variants:
        for name, setting in variant.model_fields.items():
            if name in paired or name in found:
                continue
            having = [v for v in variants if name in v.model_fields]
            shown = command.settings.model_fields.get(name, setting)
            panel = "Settings"
            if len(having) < len(variants):
                panel = f"Settings of {' and '.join(map(_algorithm, having))}"
            defaults = {_algorithm(v): v.model_fields[name].default for v in having}
            found[name] = (_setting_option(name, shown, panel, _default_text(defaults)), None)
    return found


def _algorithm(variant: type[Settings]) -> str:
    algo = variant.model_fields.get("algo")
    return "" if algo is None else str(algo.default)


def _default_text(defaults: dict[str, Any]) -> str:
    """The default of a setting, or one per algorithm; empty where there is none."""
    values = list(defaults.values())
    if all(value == values[0] for value in values):
        defaults = {"": values[0]}
    shown = {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in defaults.items()
        if value is not None and value is not False and value not in ([], {})
    }
    texts = [f"{name} {value}".strip() for name, value in shown.items()]
    return f" Default: {', '.join(texts)}." if texts else ""


def _input_option(name: str, spec: InputSpec) -> Any:
    about = f"{spec.about[0].upper()}{spec.about[1:]}."
    if spec.optional and not spec.format_setting:
        about += f" '{NOTHING}' for no {name.replace('_', ' ')}."
    common: dict[str, Any] = {"help": about, "rich_help_panel": "Inputs", "show_default": False}
    option = typer.Option(flag_of(spec.option or name), **common)
    if spec.format_setting:
        option.metavar = spec.metavar
        return Annotated[tuple[str, str] | None, option]
    return Annotated[list[str] | None, option] if spec.many else Annotated[str | None, option]


def _setting_option(name: str, setting: FieldInfo, panel: str, default: str) -> Any:
    """An option for a setting. Values stay text here: the settings check types and bounds."""
    flag = flag_of(name)
    switch = bool in (setting.annotation, *get_args(setting.annotation))
    about = (setting.description or "") + ("" if switch else default)
    common: dict[str, Any] = {"help": about, "rich_help_panel": panel, "show_default": False}
    if switch:
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
