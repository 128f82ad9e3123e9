"""Runs stages: resolve the inputs, check what is up to date, run the rest, record the result."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.markup import escape

from e2h_cli.common import distributed
from e2h_cli.common.console import announce, console
from e2h_cli.common.errors import E2HError, InputError
from e2h_cli.common.files import fingerprint, path_exists, remove_leftovers, shown_path
from e2h_cli.pipeline.checked_yaml import flag_of
from e2h_cli.pipeline.iteration import check_iteration, made_by, resolve_iteration, stage_of
from e2h_cli.pipeline.recipe import Recipe
from e2h_cli.pipeline.recipe_file import comes_with_e2h, packaged
from e2h_cli.pipeline.recipe_stage import Stage
from e2h_cli.pipeline.registry import DEFAULT_RECIPE, InputSpec
from e2h_cli.pipeline.run_folder import Differences, ResolvedInput, RunFolder, StageFolder
from e2h_cli.pipeline.shards import set_up_alone, shard_name
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.base import ShowTokensSettings

logger = logging.getLogger(__name__)

Replace = Literal["none", "of-recipe", "all"]


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs stages of a recipe in a run folder.

    Attributes:
        recipe: at one scale.
        run_folder: where the stages' folders are.
        make_inputs: whether stages that make missing inputs are run first.
        replace: which work that was done under other settings may be deleted: none, what the
            recipe made, or also what a command line with settings of its own made.
    """

    recipe: Recipe
    run_folder: RunFolder
    make_inputs: bool
    replace: Replace

    def run(self, stage: Stage) -> None:
        """Bring one stage up to date, after the stages that make its missing inputs."""
        if distributed.world_size() > 1 and not stage.command.distributed:
            raise InputError(
                f"{stage.command.name} is one process", hint="start it without accelerate launch"
            )
        console.quiet = console.quiet or not distributed.is_main_process()
        inputs = self._resolve_inputs(stage)
        folder = self.run_folder.stage(stage.name)
        settings = stage.settings.model_dump(mode="json")
        locked = folder.lock(shard_name(stage.settings))
        with locked if distributed.is_main_process() else contextlib.nullcontext():
            context = self._context(stage, folder, inputs)
            current = distributed.run_on_main(lambda: self._set_up(stage, folder, settings, inputs))
            if isinstance(stage.settings, ShowTokensSettings) and stage.settings.show_tokens:
                _load(stage.command.show_tokens)(context)
            if current:
                distributed.run_on_main(lambda: folder.set_tags(stage.tags))
            else:
                self._execute(stage, folder, context)
            folder.publish(stage.command.published, self.run_folder.path)

    def run_all(self, last: str | None = None) -> None:
        """Bring the stages of a run up to date, in their order, up to ``last``."""
        names = [stage.name for stage in self.recipe.order]
        if last is not None and last not in names:
            raise InputError(
                f"no stage {last!r}", where=self.recipe.path, hint=f"stages: {', '.join(names)}"
            )
        for stage in self.recipe.order:
            self.run(stage)
            if stage.name == last:
                return

    def run_with_what_is_there(self, stage: Stage) -> list[str]:
        """Bring a stage up to date that reads only those of its inputs that are made already.

        Returns the names of the others. Raises InputError where none is made.
        """
        missing = [
            one
            for name, spec in stage.command.inputs.items()
            for one in stage.inputs.get(name, ())
            if spec.many
            and one in self.recipe.stages
            and self.run_folder.stage(one).status != "finished"
        ]
        there = {
            name: tuple(one for one in given if one not in missing)
            for name, given in stage.inputs.items()
        }
        if missing and not any(there[name] for name in there if stage.command.inputs[name].many):
            hint = f"make it with: e2h run {self.recipe.name}"
            raise InputError(
                f"nothing of {self.recipe.name} is there yet", where=self.run_folder.path, hint=hint
            )
        self.run(dataclasses.replace(stage, inputs=there))
        return missing

    def _resolve_inputs(self, stage: Stage) -> dict[str, list[ResolvedInput]]:
        specs = stage.command.inputs
        for name, spec in specs.items():
            if not stage.inputs.get(name) and not spec.optional:
                raise InputError(
                    f"{stage.name} needs {name}: {spec.about}", hint=f"give {flag_of(name)}"
                )
        for one in itertools.chain(*stage.inputs.values()):
            check_iteration(one, self.recipe.stages)
        found: dict[str, list[ResolvedInput]] = {}
        # What the user names must be there before hours are spent on making the rest.
        for from_recipe in (False, True):
            for name, spec in specs.items():
                given = stage.inputs.get(name, ())
                if any(stage_of(one) in self.recipe.stages for one in given) == from_recipe:
                    found[name] = [self._resolve(stage, name, spec, one) for one in given]
        return {name: found[name] for name in specs}

    def _resolve(self, stage: Stage, name: str, spec: InputSpec, given: str) -> ResolvedInput:
        """Resolve a stage of the recipe (run first if missing), a local path or a Hub name."""
        maker = self.recipe.stages.get(stage_of(given))
        if maker is not None:
            folder = self.run_folder.stage(maker.name)
            if folder.status != "finished":
                command = _command_line(self.recipe, maker)
                if not self.make_inputs or distributed.world_size() > 1:
                    raise InputError(
                        f"{stage.name} needs {name}, which is not made yet",
                        where=folder.path,
                        hint=f"make it with: {command}",
                    )
                console.print(
                    f"[dim]{stage.name} needs {given}; making it first ({escape(command)})[/dim]"
                )
                self.run(maker)
            elif altered := folder.altered_outputs():
                raise InputError(
                    f"{maker.name}: {altered[0]} since the stage was finished",
                    where=folder.path,
                    hint=f"make it anew with: {_command_line(self.recipe, maker)} --force",
                )
            return resolve_iteration(given, folder)
        path = Path(given)
        if path_exists(path):
            if not path.is_file() and not path.is_dir():
                what = "is neither a file nor a folder"
                raise InputError(what, where=given, hint=f"give {spec.about}")
            made, ending = made_by(path)
            # The record of a stage says how it was made, as long as its files are those it names.
            intact = made.status == "finished" and not made.altered_outputs()
            content = made.fingerprint + ending if intact else fingerprint(path)
            return ResolvedInput(str(path.resolve()), content)
        if spec.takes_hub_name(given):
            return ResolvedInput(given, f"hub:{given}")
        what = "no stage of this recipe, no file or folder" + (", no Hub name" if spec.hub else "")
        raise InputError(
            f"{flag_of(spec.option or name)} {given}: {what}", hint=f"give {spec.about}"
        )

    def _context(
        self, stage: Stage, folder: StageFolder, inputs: dict[str, list[ResolvedInput]]
    ) -> StageContext[Any]:
        def path_of(one: ResolvedInput) -> str:
            name = stage_of(one.path)
            if name not in self.recipe.stages:
                return one.path
            return f"{self.run_folder.stage(name).path}{one.path.removeprefix(name)}"

        return StageContext(
            stage=stage.name,
            settings=stage.settings,
            inputs={name: [path_of(one) for one in many] for name, many in inputs.items()},
            input_names={name: [one.path for one in many] for name, many in inputs.items()},
            input_fingerprints={
                name: [one.fingerprint for one in many] for name, many in inputs.items()
            },
            output_dir=folder.path,
            run_dir=self.run_folder.path,
            scale=self.recipe.scale,
        )

    def _set_up(
        self,
        stage: Stage,
        folder: StageFolder,
        settings: dict[str, Any],
        inputs: dict[str, list[ResolvedInput]],
    ) -> bool:
        """Whether the stage is up to date; if it is not, it is recorded as started."""
        with set_up_alone(folder, shard_name(stage.settings)):
            current = self._is_current(stage, folder, settings, inputs)
            if not current:
                name, recipe = stage.command.name, self.recipe
                self.run_folder.describe(recipe.experiment, recipe.scale, recipe.seed)
                origin = recipe.name, comes_with_e2h(recipe.name, recipe.path)
                folder.start(name, settings, inputs, stage.overrides, stage.tags, *origin)
        return current

    def _is_current(
        self,
        stage: Stage,
        folder: StageFolder,
        settings: dict[str, Any],
        inputs: dict[str, list[ResolvedInput]],
    ) -> bool:
        """Whether the stage is up to date. Clears its folder if it must be rebuilt, or refuses."""
        status = folder.status
        if status == "missing":
            if not folder.is_empty and self.replace != "all":
                raise InputError(
                    f"holds files, but no record of how {stage.name} was made",
                    where=folder.path,
                    hint="--force deletes them; another --run-dir keeps them",
                )
            folder.clear()
            return False
        extendable = stage.command.extendable
        defaults = type(stage.settings).model_validate({}).model_dump(mode="json")
        changed = folder.differences(settings, inputs, extendable, defaults)
        if changed.all:
            self._rebuild_or_refuse(stage, folder, changed)
            return False
        held = folder.record["settings"]
        extended = [k for k in extendable if held.get(k, 0) < settings[k]]
        if status == "finished" and not extended:
            more = [f"holds {k} = {held[k]}" for k in extendable if held[k] > settings[k]]
            details = ", ".join([str(folder.path), *more])
            _announce(stage, folder, f"is up to date ({escape(details)})", seconds=0.0)
            return True
        action = (
            f"grows to {extended[0]} = {settings[extended[0]]}"
            if status == "finished"
            else "continues"
        )
        console.print(f"[cyan]{stage.name}[/cyan] {action}")
        return False

    def _rebuild_or_refuse(self, stage: Stage, folder: StageFolder, changed: Differences) -> None:
        reasons = "; ".join(changed.all)
        cheap = stage.command.cheap_to_rebuild and not (changed.settings or changed.outputs)
        if self.replace == "of-recipe" and not stage.command.cheap_to_rebuild:
            self._refuse_others_work(stage, folder, changed)
        if self.replace == "none" and not cheap and not folder.is_empty:
            kept = "finished" if folder.status == "finished" else "unfinished"
            raise InputError(
                f"{stage.name} was {kept} under other conditions ({reasons})",
                where=folder.path,
                hint="--force throws that work away; another --run-dir keeps both",
            )
        if shard_name(stage.settings):
            raise InputError(
                f"{stage.name} holds work under other conditions ({reasons})",
                where=folder.path,
                hint="other shards may be in it: remove the folder, or take another --run-dir",
            )
        logger.warning("%s is made anew: %s", stage.name, reasons)
        folder.clear(preserve=() if changed.outputs else stage.command.preserve)

    def _refuse_others_work(self, stage: Stage, folder: StageFolder, changed: Differences) -> None:
        """Raise InputError for work under other settings of a command line or another view."""
        reasons, record = "; ".join(changed.all), folder.record
        overrides = sorted(changed.names & set(record.get("overrides", [])))
        if overrides:
            raise InputError(
                f"{stage.name} was made by a command line with its own {', '.join(overrides)} "
                f"({reasons})",
                where=folder.path,
                hint="--force deletes that work; another --run-dir keeps both",
            )
        maker = record.get("recipe") or self.recipe.name
        if maker != self.recipe.name and changed.from_recipe and not folder.is_empty:
            raise InputError(
                f"{stage.name} was made for recipe {maker}, and {self.recipe.name} changes it "
                f"({reasons})",
                where=folder.path,
                hint="another name or --run-dir keeps both; --force deletes that work",
            )

    def _execute(
        self,
        stage: Stage,
        folder: StageFolder,
        context: StageContext[Any],
    ) -> None:
        console.print(f"[bold]{stage.name}[/bold] [dim]{escape(_summary(stage))}[/dim]")
        if distributed.is_main_process() and not shard_name(stage.settings):
            remove_leftovers(folder.path)
        started = time.monotonic()
        try:
            counts = _load(stage.command.run)(context)
        except BaseException as error:
            if distributed.is_main_process():
                # What stopped the stage is told, not that a full disk cannot hold the record.
                with contextlib.suppress(E2HError):
                    reason = str(error) or type(error).__name__
                    folder.fail(reason, time.monotonic() - started)
            raise
        seconds = time.monotonic() - started
        if not distributed.is_main_process():
            return
        if counts is None:
            console.print(f"[green]{stage.name}[/green]: this shard is done in {seconds:,.0f} s")
            return
        folder.finish(counts, seconds)
        made = f"done in {seconds:,.0f} s -> {escape(shown_path(folder.path))}"
        _announce(stage, folder, made, seconds=round(seconds, 1), counts=counts)


def _announce(stage: Stage, folder: StageFolder, what: str, **result: Any) -> None:
    """Print what became of a stage; as a JSON line it has the fields of the result."""
    about = {"stage": stage.name, "command": stage.command.name, "folder": str(folder.path)}
    announce(f"[green]{stage.name}[/green] {what}", **about, **result)


def _load(path: str) -> Callable[[StageContext[Any]], Any]:
    """The function at ``package.module:function``."""
    module, function = path.split(":")
    found: Callable[[StageContext[Any]], Any] = getattr(importlib.import_module(module), function)
    return found


def _command_line(recipe: Recipe, stage: Stage) -> str:
    """The command line that runs a stage."""
    words = ["e2h", stage.command.name]
    if recipe.of_command(stage.command.name, stage.name).name != stage.command.name:
        words += ["--stage", stage.name]
    known = {path: name for name, path in packaged().items()}
    if (named := known.get(recipe.path, str(recipe.path))) != DEFAULT_RECIPE:
        words += ["--recipe", named]
    if recipe.scale != "tiny":
        words += ["--scale", recipe.scale]
    return " ".join(words)


def _summary(stage: Stage) -> str:
    changed = stage.settings.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(f"{key}={value}" for key, value in changed.items())
