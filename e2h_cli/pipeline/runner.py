"""Running stages: find the inputs, see what is up to date, do the rest, keep the record."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2h_cli.common import distributed
from e2h_cli.common.console import console
from e2h_cli.common.errors import E2HError, InputError
from e2h_cli.common.files import fingerprint, make_folder, remove_leftovers
from e2h_cli.pipeline.recipe import Recipe, Scale, Stage
from e2h_cli.pipeline.registry import Role
from e2h_cli.pipeline.run_folder import SCRATCH, Input, StageFolder, Workspace
from e2h_cli.settings.base import Settings

_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")


@dataclass(frozen=True, slots=True)
class Work:
    """What a stage's function is given.

    ``inputs``: role -> places, each a folder, a file, or (models only) a Hub name; ``names``: the
    same as the recipe or the user names them; ``fingerprints``: hashes of what stands there;
    ``folder``: where the output goes.
    """

    stage: str
    settings: Settings
    inputs: dict[str, list[str]]
    names: dict[str, list[str]]
    fingerprints: dict[str, list[str]]
    folder: Path
    run_folder: Path
    scale: Scale

    def place(self, role: str) -> str:
        """The single place of a role. Raises InputError where the stage was given none."""
        places = self.inputs.get(role, [])
        if not places:
            raise InputError(f"{self.stage} needs {role}", hint=f"give --{role}")
        return places[0]

    def label(self, role: str) -> str:
        """What a role is called in tables: the stage, or the last part of the path."""
        return Path(self.names[role][0]).name

    def path(self, role: str) -> Path:
        """The single place of a role, as a local path."""
        return Path(self.place(role))

    @property
    def grading_cache(self) -> Path:
        """Where verdicts are kept for the other stages of the run."""
        return self.run_folder / "verdicts.sqlite"

    @property
    def scratch(self) -> Path:
        """A folder for work in progress: kept when the process dies, removed at the end."""
        path = self.folder / SCRATCH
        make_folder(path)
        return path


def default_scale() -> Scale:
    """tiny, or paper where a GPU can be used."""
    # Importing torch takes seconds; without a device file there is nothing for it to find.
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")):
        return "tiny"
    import torch

    return "paper" if torch.cuda.is_available() else "tiny"


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs stages of a recipe in a run folder.

    ``make_inputs``: whether missing inputs that other stages make are made on the way; ``replace``:
    whether finished work under other settings may be thrown away.
    """

    recipe: Recipe
    workspace: Workspace
    make_inputs: bool
    replace: bool

    def run(self, stage: Stage) -> None:
        """Bring one stage up to date, with the inputs that it lacks."""
        if distributed.size() > 1 and not stage.verb.team:
            raise InputError(
                f"{stage.verb.name} is one process", hint="start it without accelerate launch"
            )
        console.quiet = not distributed.is_main()
        inputs = self._inputs(stage)
        folder = self.workspace.stage(stage.name)
        settings = stage.settings.model_dump(mode="json")
        with (
            folder.lock(stage.settings.share) if distributed.is_main() else contextlib.nullcontext()
        ):
            work = self._order(stage, folder, inputs)
            if distributed.main_decides(lambda: self._is_current(stage, folder, settings, inputs)):
                if getattr(stage.settings, "show_tokens", False):
                    module, _ = stage.verb.function.split(":")
                    importlib.import_module(module).show(work)
                return
            self._work(stage, folder, settings, inputs, work)

    def run_all(self, last: str | None = None) -> None:
        """Bring every stage up to date, in order, up to ``last``."""
        if last is not None and last not in self.recipe.stages:
            raise InputError(
                f"no stage {last!r}",
                where=self.recipe.path,
                hint=f"stages: {', '.join(self.recipe.stages)}",
            )
        for name, stage in self.recipe.stages.items():
            self.run(stage)
            if name == last:
                return

    def _inputs(self, stage: Stage) -> dict[str, list[Input]]:
        found: dict[str, list[Input]] = {}
        for role, kind in stage.verb.roles.items():
            names = stage.reads.get(role, ())
            if not names and not kind.optional:
                raise InputError(f"{stage.name} needs {role}: {kind.about}", hint=f"give --{role}")
        # What the user names must be there before hours are spent on making the rest.
        for made in (False, True):
            for role, kind in stage.verb.roles.items():
                names = stage.reads.get(role, ())
                if any(name in self.recipe.stages for name in names) == made:
                    found[role] = [self._input(stage, role, kind, name) for name in names]
        return {role: found[role] for role in stage.verb.roles}

    def _order(self, stage: Stage, folder: StageFolder, inputs: dict[str, list[Input]]) -> Work:
        places = {
            role: [
                str(self.workspace.stage(i.place).path)
                if i.place in self.recipe.stages
                else i.place
                for i in many
            ]
            for role, many in inputs.items()
        }
        return Work(
            stage=stage.name,
            settings=stage.settings,
            inputs=places,
            names={role: [i.place for i in many] for role, many in inputs.items()},
            fingerprints={role: [i.fingerprint for i in many] for role, many in inputs.items()},
            folder=folder.path,
            run_folder=self.workspace.path,
            scale=self.recipe.scale,
        )

    def _input(self, stage: Stage, role: str, kind: Role, name: str) -> Input:
        maker = self.recipe.stages.get(name)
        if maker is not None:
            folder = self.workspace.stage(name)
            if folder.status != "finished":
                command = _command(self.recipe, maker)
                if not self.make_inputs or distributed.size() > 1:
                    raise InputError(
                        f"{stage.name} needs {role}, which is not made yet",
                        where=folder.path,
                        hint=f"make it with: {command}",
                    )
                console.print(f"[dim]{stage.name} needs {name}; making it first ({command})[/dim]")
                self.run(maker)
            return Input(name, folder.fingerprint)
        path = Path(name)
        if path.exists():
            return Input(str(path.resolve()), fingerprint(path))
        if kind.hub and _HUB_NAME.match(name):
            return Input(name, f"hub:{name}")
        what = "no stage of this recipe, no file or folder" + (", no Hub name" if kind.hub else "")
        raise InputError(f"--{role} {name}: {what}", hint=f"give {kind.about}")

    def _is_current(
        self,
        stage: Stage,
        folder: StageFolder,
        settings: dict[str, Any],
        inputs: dict[str, list[Input]],
    ) -> bool:
        """Whether nothing is to do; clears what must be made anew, or refuses to."""
        status = folder.status
        if status == "missing":
            return False
        changed, moved = folder.differences(
            settings,
            inputs,
            stage.verb.grows,
            stage.verb.settings.model_validate({}).model_dump(mode="json"),
        )
        held = folder.record["settings"]
        grown = [k for k in stage.verb.grows if held.get(k, 0) < settings[k]]
        if not changed and not moved:
            if status == "finished" and not grown:
                more = [f"holds {k} = {held[k]}" for k in stage.verb.grows if held[k] > settings[k]]
                place = ", ".join([str(folder.path), *more])
                console.print(f"[green]{stage.name}[/green] is up to date ({place})")
                return True
            verb = (
                "continues"
                if status != "finished"
                else f"grows to {grown[0]} = {settings[grown[0]]}"
            )
            console.print(f"[cyan]{stage.name}[/cyan] {verb}")
            return False
        cheap = (stage.verb.disposable and not changed) or folder.holds_nothing
        if not self.replace and not cheap:
            kept = "finished" if status == "finished" else "unfinished"
            raise InputError(
                f"{stage.name} was {kept} under other conditions ({'; '.join(changed + moved)})",
                where=folder.path,
                hint="--force throws that work away; another --run-dir keeps both",
            )
        if stage.settings.share:
            raise InputError(
                f"{stage.name} holds work under other conditions ({'; '.join(changed + moved)})",
                where=folder.path,
                hint="other shards may be in it: remove the folder, or take another --run-dir",
            )
        console.print(f"[yellow]{stage.name}[/yellow] is made anew: {'; '.join(changed + moved)}")
        folder.clear(keep=stage.verb.keeps)
        return False

    def _work(
        self,
        stage: Stage,
        folder: StageFolder,
        settings: dict[str, Any],
        inputs: dict[str, list[Input]],
        work: Work,
    ) -> None:
        module, function = stage.verb.function.split(":")
        console.print(f"[bold]{stage.name}[/bold] [dim]{_summary(stage)}[/dim]")
        distributed.main_decides(lambda: folder.start(stage.verb.name, settings, inputs))
        if distributed.is_main() and not stage.settings.share:
            remove_leftovers(folder.path)
        started = time.monotonic()
        try:
            counts = getattr(importlib.import_module(module), function)(work)
        except (E2HError, KeyboardInterrupt) as error:
            if not distributed.is_main():
                raise
            folder.fail(str(error) or type(error).__name__, time.monotonic() - started)
            raise
        seconds = time.monotonic() - started
        if not distributed.is_main():
            return
        if counts is None:
            console.print(f"[green]{stage.name}[/green]: this share is done in {seconds:,.0f} s")
            return
        folder.finish(counts, seconds)
        console.print(
            f"[green]{stage.name}[/green] done in {seconds:,.0f} s -> {_short(folder.path)}"
        )


def _command(recipe: Recipe, stage: Stage) -> str:
    """The command line that makes a stage."""
    words = ["e2h", stage.verb.name]
    if recipe.of_verb(stage.verb.name, stage.name).name != stage.verb.name:
        words += ["--stage", stage.name]
    if recipe.name != stage.verb.recipe:
        words += ["--recipe", str(recipe.path)]
    if recipe.scale == "paper":
        words += ["--scale", "paper"]
    return " ".join(words)


def _summary(stage: Stage) -> str:
    changed = stage.settings.model_dump(mode="json", exclude_defaults=True)
    return ", ".join(f"{key}={value}" for key, value in changed.items())


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
