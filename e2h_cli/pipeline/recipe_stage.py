"""One stage of a recipe, and what a command line changes in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline.checked_yaml import flag_of, validate
from e2h_cli.pipeline.iteration import stage_of
from e2h_cli.pipeline.registry import Command
from e2h_cli.settings.base import Settings


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a recipe at one scale: a command, its checked settings and its inputs.

    ``inputs``: input name -> names, each a stage, a path or a Hub name; ``tags``: what it is called
    in tables; ``overrides``: settings and inputs that a command line has changed.
    """

    name: str
    command: Command
    settings: Settings
    inputs: dict[str, tuple[str, ...]]
    tags: dict[str, str] = field(default_factory=dict)
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
            if reason := of_other_variants(self.command, after, name):
                raise InputError(f"{flag_of(name)} {reason}", where=where)
        values = {**held, **after.expand_preset(new), **changes}
        settings = validate(after, values, where, {}, as_flags=True)
        if any(self.name in map(stage_of, given) for given in inputs.values()):
            raise InputError(f"{self.name} cannot read itself", where=where)
        dropped = {r for name in inputs for r in self.command.inputs[name].replaces}
        kept = {name: given for name, given in self.inputs.items() if name not in dropped}
        changed, name = {**kept, **inputs}, self.name
        if reads := self.command.tasks.get(settings.task):
            changed = self._read_by_task(changed, inputs, reads, where)
            if settings.task not in ("", self.settings.task):
                name = _name_of_task(settings.task, changed[reads[-1]][0])
        # All that differs, not the options alone: a preset or an algorithm changes other settings.
        recipe = self.settings.model_dump()
        overrides = [n for n, v in settings.model_dump().items() if v != recipe.get(n)]
        overrides += [n for n in inputs if inputs[n] != self.inputs.get(n)]
        return replace(
            self, name=name, settings=settings, inputs=changed, overrides=tuple(overrides)
        )

    def _read_by_task(
        self,
        inputs: Mapping[str, tuple[str, ...]],
        given: Iterable[str],
        reads: Sequence[str],
        where: str,
    ) -> dict[str, tuple[str, ...]]:
        """The inputs that a task reads.

        Raises InputError if a command line has given another, or its model is missing.
        """
        specs = self.command.inputs
        flags = {name: flag_of(spec.option or name) for name, spec in specs.items()}
        hint = f"it reads {' and '.join(flags[one] for one in reads)}"
        for name in given:
            if name not in reads:
                raise InputError(f"{flags[name]} is no input of this", where=where, hint=hint)
        model = reads[-1]
        if self.command.tasks.get("") != reads and not inputs.get(model):
            raise InputError(
                f"needs {specs[model].about}", where=where, hint=f"give {flags[model]}"
            )
        return {name: found for name, found in inputs.items() if name in reads}


def _name_of_task(task: str, model: str) -> str:
    """Name of a stage of its own: the task, and the last part of the model's path or Hub name."""
    return f"{task}-{re.sub(r'[^a-z0-9._-]+', '-', Path(model).name.lower())}"[:100]


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


def of_other_variants(command: Command, chosen: type[Settings], name: str) -> str:
    """Why a setting does not belong to the chosen algorithm; empty where no algorithm has it."""
    others = [v for v in command.settings.variants() if name in v.model_fields]
    if name in chosen.model_fields or not others:
        return ""
    *having, algo = (str(v.model_fields["algo"].default) for v in (*others, chosen))
    return f"is a setting of {' and '.join(having)}, not of {algo}"
