"""One stage at a scale: its own entry merged with the defaults and that of the scale, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import path_exists
from e2h_cli.pipeline.checked_yaml import Key, did_you_mean, validate
from e2h_cli.pipeline.iteration import stage_of, with_substitute
from e2h_cli.pipeline.recipe_file import RecipeFile, Scale, ScaleEntry, StageEntry
from e2h_cli.pipeline.recipe_stage import Stage, of_other_variants
from e2h_cli.pipeline.registry import Command, InputSpec
from e2h_cli.settings.base import Settings


def known_to(variant: type[Settings], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that an algorithm has a setting for."""
    return {key: value for key, value in values.items() if key in variant.model_fields}


def validate_part(
    file: RecipeFile, variant: type[Settings], prefix: Key, values: Mapping[str, Any]
) -> None:
    """Check a part of the settings by itself, so that a mistake is told with its line."""
    validate(variant, values, str(file.path), file.places, prefix=prefix)


@dataclass(frozen=True, slots=True)
class StageBuilder:
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
        tags = self.entry.tags | self.scaled.tags.get(self.name, {})
        return Stage(self.name, command, settings, inputs, tags)

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
            explicit.update(known_to(variant, values))
        for prefix, values in parts:
            for key in values:
                if reason := of_other_variants(command, variant, key):
                    raise InputError(f"{key} {reason}", where=self.file.place(*prefix, key))
            validate_part(self.file, variant, prefix, values)
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
        if spec.many:
            values = [one for v in values for one in self._matching(spec, v, where)]
        substitutes = self.scaled.substitutes
        kept = (v for v in values if substitutes.get(stage_of(v)) != "")
        names = tuple(dict.fromkeys(with_substitute(v, substitutes) for v in kept))
        if len(names) > 1 and not spec.many:
            raise InputError(f"{name} takes one input", where=where)
        for given in names:
            if not given:
                raise InputError(f"{name}: empty", where=where, hint="remove the key")
            made_by = self.commands.get(stage_of(given))
            if made_by is not None and made_by.name not in spec.commands:
                what = f"{name} cannot be the {made_by.name} stage {given!r}"
                raise InputError(what, where=where)
            if made_by is None:
                _refuse_misspelt(name, given, self.commands, where)
        return names

    def _matching(self, spec: InputSpec, pattern: str, where: str) -> list[str]:
        """The stages of a pattern such as ``greedy-*``; anything else stands for itself."""
        if "*" not in pattern:
            return [pattern]
        stages = self.file.entry.stages
        found = [n for n in stages if fnmatchcase(n, pattern) and stages[n].run in spec.commands]
        if not found:
            hint = f"stages of {' or '.join(spec.commands)} have other names"
            raise InputError(f"no stage matches {pattern!r}", where=where, hint=hint)
        return found


def _refuse_misspelt(name: str, given: str, stages: Iterable[str], where: str) -> None:
    """Raise InputError for a name that is nearly that of a stage, and no path."""
    if "/" in given or path_exists(Path(given)):
        return
    hint = did_you_mean(given, stages)
    if hint.startswith("did you mean"):
        raise InputError(f"{name}: no stage {given!r}", where=where, hint=hint)
