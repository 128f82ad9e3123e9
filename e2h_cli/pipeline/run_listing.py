"""What there is in run folders: every stage, whether it is up to date, its time, size and age."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import fingerprint, path_exists
from e2h_cli.common.folder_lock import lock_holder
from e2h_cli.pipeline.iteration import made_by, stage_of
from e2h_cli.pipeline.recipe import Recipe, at_scale
from e2h_cli.pipeline.recipe_file import packaged, read
from e2h_cli.pipeline.run_folder import RUN_RECORD, STAGE_RECORD, RunFolder, StageFolder

StageStatus = Literal["up to date", "out of date", "running", "unfinished", "failed", "damaged"]

# Inputs from outside of the run that are larger are not read again for a list.
_LARGEST_INPUT = 64 * 2**20


@dataclass(frozen=True, slots=True)
class StageState:
    """A stage of a run as a list shows it.

    Attributes:
        name: of the stage.
        command: that made it.
        status: whether it would be repeated.
        reason: why it is out of date, how it failed, or which process works at it.
        seconds: that its work took.
        size: bytes on disk.
        changed: when it was finished, else when its record was written: seconds since the epoch.
    """

    name: str
    command: str
    status: StageStatus
    reason: str
    seconds: float
    size: int
    changed: float


@dataclass(frozen=True, slots=True)
class RunState:
    """A run folder with its stages, in the order in which they were started.

    Attributes:
        path: of the folder.
        about: what ``run.json`` says: experiment, scale and seed.
        stages: that have a record.
        size: bytes on disk, with results and reports.
        last_used: seconds since the epoch.
    """

    path: Path
    about: Mapping[str, Any]
    stages: list[StageState] = field(default_factory=list)
    size: int = 0
    last_used: float = 0.0

    def count(self, *statuses: StageStatus) -> int:
        """Number of stages with one of these statuses."""
        return sum(stage.status in statuses for stage in self.stages)


def find_runs(folder: Path) -> list[Path]:
    """The run folders directly in a folder, the one that was used last first.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        hint = "name a folder of runs, or make a run with: e2h run quickstart"
        raise InputError("no such folder", where=folder, hint=hint)
    found = [one for one in folder.iterdir() if is_run(one)]
    return sorted(found, key=lambda one: -RunFolder(one).last_used)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run folder."""
    return (folder / RUN_RECORD).is_file()


def list_run(folder: Path) -> RunState:
    """The state of a run.

    Raises:
        InputError: the folder is no run folder, or its record is damaged.
    """
    if not is_run(folder):
        hint = "name a run folder, as runs/experiment-tiny"
        raise InputError("no run folder: it has no run.json", where=folder, hint=hint)
    run = RunFolder(folder)
    about = run.about
    stages = sorted(_stages(folder, about), key=lambda pair: pair[0])
    return RunState(folder, about, [state for _, state in stages], size_of(folder), run.last_used)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder. Links count as themselves."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(
        (Path(parent) / name).lstat().st_size
        for parent, _, names in os.walk(path)
        for name in names
    )


def _stages(folder: Path, about: Mapping[str, Any]) -> Iterator[tuple[str, StageState]]:
    """When each stage of a run was started, and its state."""
    checks = _Checks(folder, about)
    for path in folder.iterdir():
        file = path / STAGE_RECORD
        if not file.is_file():
            continue
        status, reason = checks.of(path.name)
        record = {} if status == "damaged" else StageFolder(path).record
        changed = file.stat().st_mtime
        if finished := record.get("finished"):
            changed = datetime.fromisoformat(finished).replace(tzinfo=UTC).timestamp()
        state = StageState(
            path.name,
            record.get("command", ""),
            status,
            reason,
            record.get("seconds", 0.0),
            size_of(path),
            changed,
        )
        yield record.get("started", ""), state


class _Checks:
    """Finds the status of each stage of a run, and remembers it."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self._folder, self._about = folder, about
        self._found: dict[str, tuple[StageStatus, str]] = {}

    def of(self, name: str) -> tuple[StageStatus, str]:
        if name not in self._found:
            # A record that was edited could name the stage as its own input.
            self._found[name] = ("damaged", "reads itself")
            try:
                self._found[name] = self._status(StageFolder(self._folder / name))
            except InputError as error:
                self._found[name] = ("damaged", error.problem)
        return self._found[name]

    def _status(self, stage: StageFolder) -> tuple[StageStatus, str]:
        record = stage.record
        if holder := lock_holder(stage.path, ".lock"):
            return "running", f"process {holder}"
        if record["status"] == "failed":
            return "failed", str(record.get("error", ""))
        if record["status"] == "started":
            return "unfinished", "stopped before its end; the same command goes on"
        reasons = [*self._inputs(stage), *stage.altered_outputs(), *self._settings(stage)]
        return ("out of date", "; ".join(reasons)) if reasons else ("up to date", "")

    def _inputs(self, stage: StageFolder) -> Iterator[str]:
        """What has become of the inputs since the stage was made."""
        for given in (one for many in stage.record["inputs"].values() for one in many):
            maker = stage_of(given["path"])
            if not (self._folder / maker / STAGE_RECORD).is_file():
                yield from _outside(given)
                continue
            status, _ = self.of(maker)
            made = "" if status == "damaged" else StageFolder(self._folder / maker).fingerprint
            ending = given["path"].removeprefix(maker)
            if made + ending != given["fingerprint"]:
                yield f"{maker} has changed" if made else f"{maker} is {status}"
            elif status != "up to date":
                yield f"{maker} is {status}"

    def _settings(self, stage: StageFolder) -> list[str]:
        """Settings that the recipe has by now, of one that comes with e2h."""
        about = self._about
        if not stage.record.get("packaged", True):
            return []
        recipe = _recipe(
            stage.record.get("recipe", ""),
            about["scale"],
            about.get("experiment", ""),
            about.get("seed", 0),
        )
        now = recipe.stages.get(stage.path.name) if recipe else None
        if now is None or now.command.name != stage.record["command"]:
            return []
        settings = now.settings.model_dump(mode="json")
        defaults = type(now.settings).model_validate({}).model_dump(mode="json")
        changed = stage.differences(settings, {}, now.command.extendable, defaults).settings
        own = stage.record.get("overrides", [])
        return [line for line in changed if line.partition(":")[0] not in own]


def _outside(given: Mapping[str, str]) -> Iterator[str]:
    """What has become of an input that no stage of the run has made."""
    path = Path(given["path"])
    if given["fingerprint"].startswith("hub:"):
        return
    if not path_exists(path):
        yield f"{path} is not there"
        return
    made, ending = made_by(path)
    if made.status == "finished":
        now = made.fingerprint + ending
    elif size_of(path) > _LARGEST_INPUT:
        return
    else:
        now = fingerprint(path)
    if now != given["fingerprint"]:
        yield f"{path} has changed"


@lru_cache
def _recipe(name: str, scale: str, experiment: str, seed: int) -> Recipe | None:
    """A recipe that comes with e2h, at the scale and, in a run of its experiment, the seed."""
    known = packaged()
    if name not in known:
        return None
    file = read(known[name])
    if scale not in (*file.entry.scales, "own"):
        return None
    return at_scale(file, scale, seed if file.experiment == experiment else None)
