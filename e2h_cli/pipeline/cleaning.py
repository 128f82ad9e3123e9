"""What can be removed from a run folder without losing what e2h cannot make again by itself.

Only what e2h has written is found, by its name and the record of its stage. Links are neither
followed nor removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from e2h_cli.common.errors import InputError, RunError
from e2h_cli.common.folder_lock import locked
from e2h_cli.pipeline.registry import COMMANDS
from e2h_cli.pipeline.run_folder import SCRATCH_DIR, STAGE_RECORD, StageFolder
from e2h_cli.pipeline.run_listing import is_run, size_of

Kind = Literal["leftover", "scratch", "unfinished", "rebuildable", "stage"]

# What is removed unless more is asked for: nothing reads it again.
ALWAYS: tuple[Kind, ...] = ("leftover", "scratch")
_TORN = "torn-"


@dataclass(frozen=True, slots=True)
class Removable:
    """A file or folder of a run that can be removed.

    Attributes:
        path: below the run folder.
        kind: "leftover" of a killed process or a torn disk; "scratch" of a finished stage, with the
            checkpoints of its training; "unfinished" work, which the same command would go on
            with; the folder of a "rebuildable" stage, which reads others and trains nothing; a
            "stage" that was named.
        size: bytes.
        loss: what it costs.
    """

    path: Path
    kind: Kind
    size: int
    loss: str


def find_removable(folder: Path, stages: Collection[str] = ()) -> list[Removable]:
    """What can be removed from a run.

    Args:
        folder: of the run.
        stages: whose folders are to go as a whole.

    Raises:
        InputError: it is no run folder, or has no such stage.
    """
    if not is_run(folder):
        hint = "name a run folder, as runs/experiment-tiny"
        raise InputError("no run folder: it has no run.json", where=folder, hint=hint)
    known = {path.name: path for path in _stage_folders(folder)}
    for name in stages:
        if name not in known:
            raise InputError(
                f"no stage {name!r}", where=folder, hint=f"stages: {', '.join(sorted(known))}"
            )
    found = [_removable(path, "leftover", "nothing") for path in _leftovers(folder)]
    for name, path in sorted(known.items()):
        found += [_removable(path, "stage", "the stage")] if name in stages else _of_stage(path)
    return found


def outermost(found: Iterable[Removable]) -> list[Removable]:
    """These without what lies below another of them, so that no byte counts twice."""
    some = list(found)
    paths = {one.path for one in some}
    return [one for one in some if not paths.intersection(one.path.parents)]


def remove(folder: Path, found: Iterable[Removable]) -> int:
    """Remove these from a run; returns the bytes that they had.

    Raises:
        InputError: a process works in the run, or a path leads out of it.
        RunError: something could not be removed.
    """
    freed = 0
    with contextlib.ExitStack() as held:
        for stage in _stage_folders(folder):
            held.enter_context(locked(stage, ".lock", shared=False))
        for one in found:
            _check_inside(folder, one.path)
            try:
                if one.path.is_dir():
                    shutil.rmtree(one.path)
                else:
                    one.path.unlink(missing_ok=True)
            except OSError as error:
                hint = "see who owns it"
                why = f"cannot remove: {error.strerror}"
                raise RunError(why, where=one.path, hint=hint) from error
            freed += one.size
    return freed


def _check_inside(folder: Path, path: Path) -> None:
    """Raise InputError where a path is, or goes through, a link, or is not below the folder."""
    inside = path.relative_to(folder) if path.is_relative_to(folder) else Path()
    steps = [folder.joinpath(*inside.parts[: i + 1]) for i in range(len(inside.parts))]
    if not steps or ".." in inside.parts or any(step.is_symlink() for step in steps):
        raise InputError("leads out of the run folder", where=path, hint="remove it yourself")


def _stage_folders(folder: Path) -> list[Path]:
    """Folders of stages; those that are links lie elsewhere."""
    return [
        path
        for path in folder.iterdir()
        if not path.is_symlink() and (path / STAGE_RECORD).is_file()
    ]


def _leftovers(folder: Path) -> Iterator[Path]:
    """Temporary files of killed processes, and torn checkpoints that were set aside."""
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        torn = [name for name in folders if name.startswith(_TORN)]
        folders[:] = [name for name in folders if name not in torn]
        temporary = [
            name
            for name in files
            if (name.startswith(".") and name.endswith(".tmp")) or name.startswith(_TORN)
        ]
        for name in sorted(torn + temporary):
            if not (here / name).is_symlink():
                yield here / name


def _of_stage(path: Path) -> Iterator[Removable]:
    """The scratch folder of a stage, and the stage itself if it is cheap to rebuild."""
    try:
        record = StageFolder(path).record
    except InputError:  # a damaged record: what the files are is not known
        return
    scratch = path / SCRATCH_DIR
    if scratch.is_dir() and not scratch.is_symlink():
        if record["status"] == "finished":
            yield _removable(scratch, "scratch", "nothing")
        else:
            yield _removable(scratch, "unfinished", "the work so far, which would be gone on with")
    command = COMMANDS.get(record["command"])
    if record["status"] == "finished" and command is not None and command.cheap_to_rebuild:
        kept = [name for name in command.preserve if (path / name).exists()]
        loss = f"e2h run makes it again{', with its ' + ', '.join(kept) if kept else ''}"
        yield _removable(path, "rebuildable", loss)


def _removable(path: Path, kind: Kind, loss: str) -> Removable:
    return Removable(path, kind, size_of(path), loss)
