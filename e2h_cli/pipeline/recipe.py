"""Recipes: YAML files that name stages, their settings and their inputs.

name: quickstart
about: one sentence
stages:
  split:
    run: split
    settings: {max_level: 3}
  sft:
    run: sft
    inputs: {problems: split, model: EleutherAI/llemma_7b}
scales:
  tiny:
    settings: {split: {source: chains}}     # on top of the stage's own
    inputs: {sft: {model: other/model}}     # likewise
    substitutes: {base: some/model}         # a stage that is not run: what stands in for it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import path_exists
from e2h_cli.pipeline.checked_yaml import (
    Key,
    did_you_mean,
    flag_of,
    load_yaml,
    location,
    validate,
)
from e2h_cli.pipeline.registry import COMMANDS, Command
from e2h_cli.pipeline.run_folder import STAGE_NAME, STAGE_NAME_RULE
from e2h_cli.settings.base import Settings

# "own" takes no settings of a scale: the defaults of the commands, for the user's models and data.
Scale = Literal["tiny", "paper", "own"]


class _StageEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    run: str
    about: str = ""
    inputs: dict[str, str | list[str]] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


class _ScaleEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    inputs: dict[str, dict[str, str | list[str]]] = Field(default_factory=dict)
    substitutes: dict[str, str] = Field(default_factory=dict)


def _stage_name(name: str) -> str:
    if not STAGE_NAME.fullmatch(name):
        raise ValueError(f"no name of a stage; {STAGE_NAME_RULE}")
    return name


class _RecipeEntry(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)
    about: str = ""
    seed: int = Field(0, ge=0)
    stages: dict[Annotated[str, AfterValidator(_stage_name)], _StageEntry] = Field(min_length=1)
    scales: dict[Scale, _ScaleEntry] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a recipe at one scale: a command, its checked settings and its inputs.

    ``inputs``: input name -> names, each a stage, a path or a Hub name; ``overrides``: settings and
    inputs that a command line has changed.
    """

    name: str
    command: Command
    settings: Settings
    inputs: dict[str, tuple[str, ...]]
    overrides: tuple[str, ...] = ()

    def with_changes(
        self, changes: Mapping[str, Any], inputs: Mapping[str, tuple[str, ...]], where: str
    ) -> Stage:
        """The stage with other settings and inputs.

        Args:
            changes: settings from the command line, as text.
            inputs: inputs from the command line.
            where: for messages.

        Raises:
            InputError: a bad value, or an option of another algorithm.
        """
        before = type(self.settings)
        after = before.variant_for(changes) if "algo" in changes else before
        held = {name: getattr(self.settings, name) for name in before.model_fields}
        if after is not before:
            held = _shared_settings(self.settings, after)
        # A preset that is in force already does not bring its values back.
        new = {name: value for name, value in changes.items() if held.get(name) != value}
        for name in changes:
            if reason := _of_other_variants(self.command, after, name):
                raise InputError(f"{flag_of(name)} {reason}", where=where)
        values = {**held, **after.expand_preset(new), **changes}
        settings = validate(after, values, where, {}, as_flags=True)
        if any(self.name in given for given in inputs.values()):
            raise InputError(f"{self.name} cannot read itself", where=where)
        dropped = {r for name in inputs for r in self.command.inputs[name].replaces}
        kept = {name: given for name, given in self.inputs.items() if name not in dropped}
        # All that differs, not the options alone: a preset or an algorithm changes other settings.
        recipe = self.settings.model_dump()
        overrides = [n for n, v in settings.model_dump().items() if v != recipe.get(n)]
        overrides += [n for n in inputs if inputs[n] != self.inputs.get(n)]
        return Stage(self.name, self.command, settings, {**kept, **inputs}, tuple(overrides))


def _shared_settings(settings: Settings, other: type[Settings]) -> dict[str, Any]:
    """Explicit settings that mean the same in another class of the command.

    A setting whose default differs, such as the number of solutions of PPO and DPO, takes the
    default of the other class.
    """
    own, theirs = type(settings).model_fields, other.model_fields
    return {
        name: getattr(settings, name)
        for name in settings.model_fields_set
        if name in theirs and own[name].default == theirs[name].default
    }


def _of_other_variants(command: Command, chosen: type[Settings], name: str) -> str:
    """Why a setting does not belong to the chosen algorithm; empty where no algorithm has it."""
    others = [v for v in command.settings.variants() if name in v.model_fields]
    if name in chosen.model_fields or not others:
        return ""
    *having, algo = (str(v.model_fields["algo"].default) for v in (*others, chosen))
    return f"is a setting of {' and '.join(having)}, not of {algo}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe at one scale: stages in order, none read by a stage that it is made of."""

    name: str
    about: str
    scale: Scale
    seed: int
    path: Path
    stages: dict[str, Stage]

    def of_command(self, command: str, name: str | None = None) -> Stage:
        """The stage of a subcommand: by name, else that of the command's name, else the only one.

        Raises:
            InputError: no such stage, or several and none named.
        """
        candidates = {n: s for n, s in self.stages.items() if s.command.name == command}
        if name is not None:
            if name not in candidates:
                raise InputError(
                    f"no {command} stage {name!r}",
                    where=self.path,
                    hint=f"stages: {', '.join(candidates) or 'none of this kind'}",
                )
            return candidates[name]
        if command in candidates:
            return candidates[command]
        if len(candidates) != 1:
            raise InputError(
                f"{len(candidates) or 'no'} {command} stages",
                where=self.path,
                hint="choose one with --stage",
            )
        return next(iter(candidates.values()))


def find(name: str) -> Path:
    """The file of a recipe: a path, or the name of a recipe that comes with e2h."""
    path = Path(name)
    if path_exists(path) and path.is_file():
        return path
    package = Path(__file__).parents[1]
    # Installed wheels carry the recipes inside the package; a checkout has them beside it.
    folders = [package / "recipes", package.parent / "recipes"]
    for folder in folders:
        for candidate in (folder / path.name, folder / f"{path.name}.yaml"):
            if path_exists(candidate) and candidate.is_file():
                return candidate
    known = sorted({f.stem for folder in folders for f in folder.glob("*.yaml")})
    raise InputError(
        "no such recipe", where=name, hint=f"a YAML file, or one of: {', '.join(known)}"
    )


def outline(path: Path) -> tuple[str, int, list[str]]:
    """Name, seed, and the names of the stages of a recipe. Raises InputError as ``load`` does."""
    entry, _ = _read(path)
    return entry.name, entry.seed, list(entry.stages)


def _read(path: Path) -> tuple[_RecipeEntry, dict[Key, int]]:
    values, lines = load_yaml(path)
    nested: dict[str, type[BaseModel]] = {"stages": _StageEntry, "scales": _ScaleEntry}
    return validate(_RecipeEntry, values, str(path), lines, nested=nested), lines


def load(path: Path, scale: Scale, seed: int | None = None) -> Recipe:
    """Read and check a recipe at a scale.

    Raises:
        InputError: one line that names the file, the line and the key.
    """
    entry, lines = _read(path)
    if scale == "own":
        # The tiny base model knows the problems of the tiny world only.
        pretrained = {name: "" for name, one in entry.stages.items() if one.run == "pretrain"}
        own = entry.scales.get("own", _ScaleEntry())
        entry.scales["own"] = own.model_copy(update={"substitutes": pretrained | own.substitutes})
    if scale not in entry.scales:
        raise InputError(
            f"has no {scale} scale",
            where=path,
            hint=f"choose --scale {' or '.join(entry.scales) or '?'}",
        )
    scaled = entry.scales[scale]
    for section in ("settings", "inputs", "substitutes"):
        for key in getattr(scaled, section):
            if key not in entry.stages:
                where = location(path, lines, ("scales", scale, section, key))
                hint = did_you_mean(key, entry.stages)
                raise InputError(f"no stage {key!r}", where=where, hint=hint)
    run_seed = entry.seed if seed is None else seed
    stages: dict[str, Stage] = {}
    for name, stage_entry in entry.stages.items():
        if name not in scaled.substitutes:
            builder = _StageBuilder(name, stage_entry, scale, scaled, path, lines)
            stages[name] = builder.build(run_seed, stages)
    _refuse_cycles(stages, path, lines)
    return Recipe(entry.name, entry.about, scale, run_seed, path, stages)


def _refuse_cycles(stages: Mapping[str, Stage], path: Path, lines: Mapping[Key, int]) -> None:
    """Raise InputError for a stage that reads itself, or a stage that is made of it."""
    reads = {
        name: {given for names in stage.inputs.values() for given in names if given in stages}
        for name, stage in stages.items()
    }
    try:
        tuple(TopologicalSorter(reads).static_order())
    except CycleError as error:
        circle = error.args[1]
        raise InputError(
            f"stages read each other in a circle: {' -> '.join(circle)}",
            where=location(path, lines, ("stages", circle[0])),
            hint="a stage reads stages that can be made before it",
        ) from error


@dataclass(frozen=True, slots=True)
class _StageBuilder:
    """Merges a stage's own entry with that of the scale, and checks both."""

    name: str
    entry: _StageEntry
    scale: Scale
    scaled: _ScaleEntry
    path: Path
    lines: dict[Key, int]

    def build(self, seed: int, earlier: Mapping[str, Stage]) -> Stage:
        """The stage, given the stages before it."""
        if self.entry.run not in COMMANDS:
            raise InputError(
                f"no command {self.entry.run!r}",
                where=location(self.path, self.lines, ("stages", self.name, "run")),
                hint=did_you_mean(self.entry.run, COMMANDS),
            )
        command = COMMANDS[self.entry.run]
        return Stage(
            self.name, command, self._settings(command, seed), self._inputs(command, earlier)
        )

    def _settings(self, command: Command, seed: int) -> Settings:
        parts = (
            (("stages", self.name, "settings"), self.entry.settings),
            (
                ("scales", self.scale, "settings", self.name),
                self.scaled.settings.get(self.name, {}),
            ),
        )
        variant = command.settings.variant_for({k: v for _, part in parts for k, v in part.items()})
        explicit: dict[str, Any] = {"seed": seed}
        for prefix, values in parts:
            # Each part by itself, so that a mistake is told with its line.
            below = {
                key[len(prefix) :]: line
                for key, line in self.lines.items()
                if key[: len(prefix)] == prefix
            }
            for key in values:
                if reason := _of_other_variants(command, variant, key):
                    where = location(self.path, self.lines, (*prefix, key))
                    raise InputError(f"{key} {reason}", where=where)
            validate(variant, values, str(self.path), below)
            explicit.update(values)
        return validate(variant, variant.expand_preset(explicit), f"{self.path}: {self.name}", {})

    def _inputs(self, command: Command, earlier: Mapping[str, Stage]) -> dict[str, tuple[str, ...]]:
        found = {}
        for prefix, given in (
            (("stages", self.name, "inputs"), self.entry.inputs),
            (("scales", self.scale, "inputs", self.name), self.scaled.inputs.get(self.name, {})),
        ):
            for name, value in given.items():
                where = location(self.path, self.lines, (*prefix, name))
                found[name] = self._names(command, name, value, earlier, where)
        return found

    def _names(
        self,
        command: Command,
        name: str,
        value: str | list[str],
        earlier: Mapping[str, Stage],
        where: str,
    ) -> tuple[str, ...]:
        if name not in command.inputs:
            raise InputError(
                f"{command.name} has no input {name!r}",
                where=where,
                hint=did_you_mean(name, command.inputs),
            )
        spec = command.inputs[name]
        values = [value] if isinstance(value, str) else value
        substitutes = self.scaled.substitutes
        found = (substitutes.get(v, v) for v in values if substitutes.get(v) != "")
        names = tuple(found)
        if len(names) > 1 and not spec.many:
            raise InputError(f"{name} takes one input", where=where)
        for given in names:
            if not given:
                raise InputError(f"{name}: empty", where=where, hint="remove the key")
            if given in earlier and earlier[given].command.name not in spec.commands:
                raise InputError(
                    f"{name} cannot be the {earlier[given].command.name} stage {given!r}",
                    where=where,
                )
        return names
