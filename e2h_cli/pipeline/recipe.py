"""A recipe at one scale: its stages with their checked settings and inputs.

How a recipe is written, with an example of every key: docs/recipes.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import path_exists
from e2h_cli.pipeline.checked_yaml import Key, did_you_mean, validate
from e2h_cli.pipeline.recipe_file import RecipeFile, Scale, ScaleEntry, StageEntry, read
from e2h_cli.pipeline.recipe_stage import Stage, of_other_variants
from e2h_cli.pipeline.registry import COMMANDS, Command
from e2h_cli.settings.base import Settings


@dataclass(frozen=True)
class Recipe:
    """A recipe at one scale: stages in order, none read by a stage that it is made of.

    Attributes:
        name: of the recipe.
        about: one sentence.
        experiment: what the run folder is of: the recipe at the end of the chain of ``extends``.
        scale: of the settings.
        seed: of the whole run.
        path: its file.
        stages: by name.
        show: the stages that a view shows; empty for all.
    """

    name: str
    about: str
    experiment: str
    scale: Scale
    seed: int
    path: Path
    stages: dict[str, Stage]
    show: tuple[str, ...] = ()

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

    @cached_property
    def order(self) -> tuple[Stage, ...]:
        """The stages of a run: each shown stage after those that it needs, else all.

        They are in the order of the recipe, but that a stage comes after those that it reads.
        """
        place = {name: i for i, name in enumerate(self.stages)}
        reads = {
            name: sorted(given, key=place.__getitem__)
            for name, given in _reads(self.stages).items()
        }
        found: dict[str, Stage] = {}
        for group in [[shown] for shown in self.show] or [list(self.stages)]:
            needed: set[str] = set()
            left = list(group)
            while left:
                name = left.pop()
                if name not in needed and name not in found:
                    needed.add(name)
                    left += reads[name]
            for name in sorted(needed, key=place.__getitem__):
                stack = [name]
                while stack:
                    first = next((one for one in reads[stack[-1]] if one not in found), None)
                    if first is not None:
                        stack.append(first)
                    else:
                        done = stack.pop()
                        found[done] = self.stages[done]
        return tuple(found.values())


def load(path: Path, scale: Scale, seed: int | None = None) -> Recipe:
    """Read and check a recipe at a scale.

    Raises:
        InputError: one line that names the file, the line and the key.
    """
    return at_scale(read(path), scale, seed)


def at_scale(file: RecipeFile, scale: Scale, seed: int | None = None) -> Recipe:
    """A recipe that was read, at a scale. Raises InputError as ``load`` does."""
    entry, scaled = file.entry, _scale_entry(file, scale)
    for section in ("settings", "inputs", "substitutes"):
        for key in getattr(scaled, section):
            if key not in entry.stages:
                where = file.place("scales", scale, section, key)
                raise InputError(
                    f"no stage {key!r}", where=where, hint=did_you_mean(key, entry.stages)
                )
    _check_defaults(file, ("defaults",), entry.defaults)
    _check_defaults(file, ("scales", scale, "defaults"), scaled.defaults)
    run_seed = entry.seed if seed is None else seed
    kept = {n: one for n, one in entry.stages.items() if scaled.substitutes.get(n, n) == n}
    commands = {name: _command(file, name, one) for name, one in kept.items()}
    stages = {
        name: _StageBuilder(name, one, commands, scale, scaled, file).build(run_seed)
        for name, one in kept.items()
    }
    _refuse_cycles(stages, file)
    show = [scaled.substitutes.get(name, name) for name in entry.show or ()]
    return Recipe(
        entry.name,
        entry.about,
        file.experiment,
        scale,
        run_seed,
        file.path,
        stages,
        tuple(name for name in show if name in stages),
    )


def _scale_entry(file: RecipeFile, scale: Scale) -> ScaleEntry:
    """What a recipe says of a scale; of "own" it need not say anything."""
    scales = file.entry.scales
    if scale == "own":
        # The tiny base model knows the problems of the tiny world only.
        pretrained = {name: "" for name, s in file.entry.stages.items() if s.run == "pretrain"}
        own = scales.get("own", ScaleEntry())
        return own.model_copy(update={"substitutes": pretrained | own.substitutes})
    if scale not in scales:
        raise InputError(
            f"has no {scale} scale",
            where=file.path,
            hint=f"choose --scale {' or '.join(scales) or '?'}",
        )
    return scales[scale]


def _command(file: RecipeFile, name: str, entry: StageEntry) -> Command:
    if entry.run not in COMMANDS:
        raise InputError(
            f"no command {entry.run!r}",
            where=file.place("stages", name, "run"),
            hint=did_you_mean(entry.run, COMMANDS),
        )
    return COMMANDS[entry.run]


def _check_defaults(
    file: RecipeFile, prefix: Key, defaults: Mapping[str, Mapping[str, Any]]
) -> None:
    """Raise InputError for a command, setting or value that does not exist.

    A command with several algorithms may have defaults of each.
    """
    for name, values in defaults.items():
        if name not in COMMANDS:
            hint = did_you_mean(name, COMMANDS)
            raise InputError(f"no command {name!r}", where=file.place(*prefix, name), hint=hint)
        settings = COMMANDS[name].settings
        variants = [settings.variant_for(values)] if "algo" in values else settings.variants()
        known = {key for variant in settings.variants() for key in variant.model_fields}
        for key in values:
            if key not in known:
                where, hint = file.place(*prefix, name, key), did_you_mean(key, known)
                raise InputError(f"unknown key {key!r}", where=where, hint=hint)
        for variant in variants:
            _validate_part(file, variant, (*prefix, name), _known_to(variant, values))


def _known_to(variant: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in variant.model_fields}


def _validate_part(
    file: RecipeFile, variant: type[Settings], prefix: Key, values: Mapping[str, Any]
) -> None:
    """Check a part of the settings by itself, so that a mistake is told with its line."""
    depth = len(prefix)
    below = {key[depth:]: at for key, at in file.places.items() if key[:depth] == prefix}
    validate(variant, values, str(file.path), below)


def _reads(stages: Mapping[str, Stage]) -> dict[str, set[str]]:
    """Stage -> the stages that it reads."""
    return {
        name: stages.keys() & itertools.chain(*stage.inputs.values())
        for name, stage in stages.items()
    }


def _refuse_cycles(stages: Mapping[str, Stage], file: RecipeFile) -> None:
    """Raise InputError for a stage that reads itself, or a stage that is made of it."""
    try:
        tuple(TopologicalSorter(_reads(stages)).static_order())
    except CycleError as error:
        circle = error.args[1]
        raise InputError(
            f"stages read each other in a circle: {' -> '.join(circle)}",
            where=file.place("stages", circle[0]),
            hint="a stage reads stages that can be made before it",
        ) from error


@dataclass(frozen=True, slots=True)
class _StageBuilder:
    """Merges a stage's own entry with the defaults and that of the scale, and checks all.

    ``commands``: of all stages of the scale.
    """

    name: str
    entry: StageEntry
    commands: Mapping[str, Command]
    scale: Scale
    scaled: ScaleEntry
    file: RecipeFile

    def build(self, seed: int) -> Stage:
        """The stage, in a run with a seed."""
        command = self.commands[self.name]
        settings, inputs = self._settings(command, seed), self._inputs(command)
        return Stage(self.name, command, settings, inputs, self.entry.tags)

    def _settings(self, command: Command, seed: int) -> Settings:
        scale, of_scale = ("scales", self.scale), self.scaled
        defaults = (self.file.entry.defaults, of_scale.defaults)
        parts = [
            (("stages", self.name, "settings"), self.entry.settings),
            ((*scale, "settings", self.name), of_scale.settings.get(self.name, {})),
        ]
        given = [*(part.get(command.name, {}) for part in defaults), *(v for _, v in parts)]
        variant = command.settings.variant_for({k: v for part in given for k, v in part.items()})
        explicit: dict[str, Any] = {"seed": seed}
        for values in given[: len(defaults)]:
            # Checked before; a default of another algorithm does not concern this stage.
            explicit.update(_known_to(variant, values))
        for prefix, values in parts:
            for key in values:
                if reason := of_other_variants(command, variant, key):
                    raise InputError(f"{key} {reason}", where=self.file.place(*prefix, key))
            _validate_part(self.file, variant, prefix, values)
            explicit.update(values)
        where = f"{self.file.path}: {self.name}"
        return validate(variant, variant.expand_preset(explicit), where, {})

    def _inputs(self, command: Command) -> dict[str, tuple[str, ...]]:
        found = {}
        for prefix, given in (
            (("stages", self.name, "inputs"), self.entry.inputs),
            (("scales", self.scale, "inputs", self.name), self.scaled.inputs.get(self.name, {})),
        ):
            for name, value in given.items():
                where = self.file.place(*prefix, name)
                found[name] = self._names(command, name, value, where)
        return found

    def _names(
        self, command: Command, name: str, value: str | list[str], where: str
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
        names = tuple(substitutes.get(v, v) for v in values if substitutes.get(v) != "")
        if len(names) > 1 and not spec.many:
            raise InputError(f"{name} takes one input", where=where)
        for given in names:
            if not given:
                raise InputError(f"{name}: empty", where=where, hint="remove the key")
            made_by = self.commands.get(given)
            if made_by is not None and made_by.name not in spec.commands:
                what = f"{name} cannot be the {made_by.name} stage {given!r}"
                raise InputError(what, where=where)
            if made_by is None:
                _refuse_misspelt(name, given, self.commands, where)
        return names


def _refuse_misspelt(name: str, given: str, stages: Iterable[str], where: str) -> None:
    """Raise InputError for a name that is nearly that of a stage, and no path."""
    hint = did_you_mean(given, stages)
    if "/" not in given and hint.startswith("did you mean") and not path_exists(Path(given)):
        raise InputError(f"{name}: no stage {given!r}", where=where, hint=hint)
