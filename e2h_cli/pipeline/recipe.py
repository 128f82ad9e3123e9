"""A recipe at one scale: its stages with their checked settings and inputs.

How a recipe is written, with an example of every key: docs/recipes.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline.checked_yaml import Key, did_you_mean
from e2h_cli.pipeline.iteration import check_iteration, stage_of
from e2h_cli.pipeline.recipe_file import RecipeFile, Scale, ScaleEntry, StageEntry, read
from e2h_cli.pipeline.recipe_stage import Stage
from e2h_cli.pipeline.registry import COMMANDS, Command
from e2h_cli.pipeline.stage_builder import StageBuilder, known_to, validate_part
from e2h_cli.reports.spec import ReportSpec


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
        report: how a view is rendered; None for its eval stage's own tables.
    """

    name: str
    about: str
    experiment: str
    scale: Scale
    seed: int
    path: Path
    stages: dict[str, Stage]
    show: tuple[str, ...] = ()
    report: ReportSpec | None = None

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
    for section in ("settings", "inputs", "substitutes", "tags"):
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
        name: StageBuilder(name, one, commands, scale, scaled, file).build(run_seed)
        for name, one in kept.items()
    }
    _refuse_cycles(stages, file)
    _check_iterations(stages, scale, file)
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
        entry.report,
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
            validate_part(file, variant, (*prefix, name), known_to(variant, values))


def _reads(stages: Mapping[str, Stage]) -> dict[str, set[str]]:
    """Stage -> the stages that it reads."""
    return {
        name: stages.keys() & map(stage_of, itertools.chain(*stage.inputs.values()))
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


def _check_iterations(stages: Mapping[str, Stage], scale: Scale, file: RecipeFile) -> None:
    """Raise InputError for an input that is an iteration which its stage does not have."""
    of_scale = _scale_entry(file, scale).inputs
    for stage in stages.values():
        for name, names in stage.inputs.items():
            key: Key = ("stages", stage.name, "inputs", name)
            if name in of_scale.get(stage.name, {}):
                key = ("scales", scale, "inputs", stage.name, name)
            for given in names:
                check_iteration(given, stages, file.place(*key))
