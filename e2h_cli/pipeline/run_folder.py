"""The run folder: one subfolder per stage, each with a record of how it was made.

``stage.json`` records settings, fingerprints of inputs and outputs, versions, times and status. A
stage is up to date when it is finished and its settings and the fingerprints of its inputs are
those that would be used now.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import (
    ENGINE_STATS,
    fingerprint,
    make_folder,
    read_json,
    write_atomic,
    write_json,
)
from e2h_cli.common.folder_lock import locked
from e2h_cli.pipeline.stage_record import host, read_record, versions, write_record

STAGE_RECORD = "stage.json"
RUN_RECORD = "run.json"
# Work in progress; not part of a stage's output.
SCRATCH_DIR = "unfinished"

# A stage's name is that of its folder: no separators, not "." or "..".
STAGE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
STAGE_NAME_RULE = "take up to 100 lower-case letters, digits, '.', '_' and '-', the first no sign"

Status = Literal["missing", "started", "failed", "finished"]


@dataclass(frozen=True, slots=True)
class ResolvedInput:
    """An input of a stage: a path or Hub name, and a hash of its content."""

    path: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Differences:
    """Lines that say how a stage differs from what its record says.

    ``settings`` and ``inputs``: those of now against those that made it; ``outputs``: files that
    are missing or were changed since.
    """

    settings: list[str]
    inputs: list[str]
    outputs: list[str]

    @property
    def names(self) -> set[str]:
        """Names of the settings and inputs that differ."""
        return {line.partition(":")[0] for line in self.settings + self.inputs}

    @property
    def from_recipe(self) -> bool:
        """Whether settings differ or other inputs are named, not only their content."""
        return bool(self.settings) or any(" -> " in line for line in self.inputs)

    @property
    def all(self) -> list[str]:
        """All lines."""
        return self.settings + self.inputs + self.outputs


@dataclass(slots=True)
class StageFolder:
    """One stage's folder in the run folder."""

    path: Path

    @property
    def record(self) -> dict[str, Any]:
        """Content of ``stage.json``; empty if there is none."""
        return read_record(self.path / STAGE_RECORD)

    @property
    def status(self) -> Status:
        """Status of the stage."""
        status: Status = self.record.get("status", "missing")
        return status

    @property
    def is_empty(self) -> bool:
        """Whether the folder holds no output."""
        return not any(
            (f.is_symlink() or not f.is_dir()) and not _is_own(f) for f in self.path.rglob("*")
        )

    @property
    def fingerprint(self) -> str:
        """Hash of a finished stage's outputs."""
        return str(self.record.get("fingerprint", ""))

    def differences(
        self,
        settings: dict[str, Any],
        inputs: dict[str, list[ResolvedInput]],
        extendable: tuple[str, ...],
        defaults: dict[str, Any],
    ) -> Differences:
        """What has changed since the stage was made.

        Args:
            settings: those of now.
            inputs: those of now.
            extendable: settings that may have risen; in finished work also fallen, since more than
                is asked for is kept.
            defaults: of settings that did not exist when the stage was made.
        """
        record = self.record
        old = {**defaults, **record.get("settings", {})}
        changed = [
            f"{key}: {old.get(key)!r} -> {new!r}"
            for key, new in settings.items()
            if old.get(key) != new
            and not (
                key in extendable and (record["status"] == "finished" or old.get(key, 0) <= new)
            )
        ]
        moved = []
        before = record.get("inputs", {})
        for name in {**before, **inputs}:
            then = [ResolvedInput(**one) for one in before.get(name, [])]
            now = inputs.get(name, [])
            if [one.fingerprint for one in then] != [one.fingerprint for one in now]:
                paths = [", ".join(one.path for one in side) or "nothing" for side in (then, now)]
                same = paths[0] == paths[1]
                moved.append(
                    f"{name}: " + (f"{paths[0]} has changed" if same else " -> ".join(paths))
                )
        return Differences(changed, moved, self.altered_outputs())

    def altered_outputs(self) -> list[str]:
        """Lines about outputs of a finished stage that are missing or were changed since.

        A file whose size and times are those of the record is not read again.
        """
        record = self.record
        altered = []
        for name, digest in record.get("outputs", {}).items():
            file = self.path / name
            if not file.is_file():
                altered.append(f"{name} is missing")
                continue
            same = file_stat(file) == record.get("output_stats", {}).get(name)
            if not same and fingerprint(file) != digest:
                altered.append(f"{name} has changed")
        return altered

    def start(
        self,
        command: str,
        settings: dict[str, Any],
        inputs: dict[str, list[ResolvedInput]],
        overrides: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        recipe: str = "",
        packaged: bool = True,
    ) -> None:
        """Record that the stage has started. Files of an interrupted run stay, to be resumed.

        Args:
            command: the subcommand.
            settings: all settings.
            inputs: by name.
            overrides: settings and inputs that a command line changed in the recipe.
            tags: what the recipe calls the stage in tables.
            recipe: its name.
            packaged: whether it is the one of that name that comes with e2h.
        """
        make_folder(self.path)
        resumed = self.record.get("started") if self.status in ("started", "failed") else None
        write_record(
            self.path / STAGE_RECORD,
            {
                "stage": self.path.name,
                "command": command,
                "status": "started",
                "settings": settings,
                "overrides": sorted(overrides),
                "tags": dict(tags or {}),
                "recipe": recipe,
                "packaged": packaged,
                "inputs": {name: [asdict(one) for one in many] for name, many in inputs.items()},
                "versions": versions(),
                "host": host(),
                "started": resumed or _now(),
            },
        )

    def finish(self, counts: dict[str, Any], seconds: float) -> None:
        """Record that the stage is finished, with hashes of its files."""
        shutil.rmtree(self.path / SCRATCH_DIR, ignore_errors=True)
        outputs = {
            file.relative_to(self.path).as_posix(): fingerprint(file)
            for file in sorted(self.path.rglob("*"))
            if file.is_file() and not _is_own(file)
        }
        record = self.record
        record.update(
            status="finished",
            finished=_now(),
            seconds=round(record.get("seconds", 0.0) + seconds, 1),
            counts=counts,
            outputs=outputs,
            output_stats={name: file_stat(self.path / name) for name in outputs},
            fingerprint=_fingerprint_of(outputs),
        )
        write_record(self.path / STAGE_RECORD, record)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record other tags of a finished stage, which do not change what was made."""
        record = self.record
        if record.get("tags", {}) != tags and os.access(self.path, os.W_OK):
            write_record(self.path / STAGE_RECORD, {**record, "tags": dict(tags)})

    def publish(self, names: Sequence[str], run_dir: Path) -> None:
        """Copy files into the run folder, unless what is there is the same."""
        for name in names:
            source, target = self.path / name, run_dir / name
            if not source.is_file():
                continue
            data = source.read_bytes()
            if target.is_symlink() or not target.is_file() or target.read_bytes() != data:
                write_atomic(target, data)

    def fail(self, why: str, seconds: float) -> None:
        """Record why the stage stopped."""
        record = self.record
        record.update(
            status="failed", error=why, seconds=round(record.get("seconds", 0.0) + seconds, 1)
        )
        write_record(self.path / STAGE_RECORD, record)

    def clear(self, preserve: tuple[str, ...] = ()) -> None:
        """Delete what the stage made, except the names in ``preserve``.

        Raises:
            InputError: the folder is a symbolic link, so that the files lie elsewhere.
        """
        if self.path.is_symlink():
            raise InputError(
                "is a symbolic link, and e2h deletes nothing outside of its run folder",
                where=self.path,
                hint="remove the link, or take another --run-dir",
            )
        for item in self.path.iterdir() if self.path.is_dir() else ():
            if item.name.startswith(".lock") or item.name in preserve:
                continue
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink()

    @contextlib.contextmanager
    def lock(self, shard: str = "") -> Iterator[None]:
        """Lock the folder, or one shard of its work, against other e2h processes.

        Processes with different shards may work in it together. A finished stage that may not be
        written, on a read-only disk, needs no lock to be read.

        Raises:
            InputError: another process holds the lock.
        """
        if self.path.is_dir() and not os.access(self.path, os.W_OK) and self.status == "finished":
            yield
            return
        make_folder(self.path)
        with contextlib.ExitStack() as held:
            held.enter_context(locked(self.path, ".lock", shared=bool(shard)))
            if shard:
                held.enter_context(locked(self.path, f".lock-{shard}", shared=False))
            yield


def _is_own(file: Path) -> bool:
    """Whether a file is a record or a lock of e2h's own, not an output."""
    return file.name in (STAGE_RECORD, ENGINE_STATS) or file.name.startswith((".lock", ".stage"))


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run folder. ``run.json`` says what experiment it is of, at which scale and seed."""

    path: Path

    @property
    def about(self) -> dict[str, Any]:
        """Content of ``run.json``; empty if there is none."""
        file = self.path / RUN_RECORD
        found = read_json(file) if file.is_file() else {}
        if not isinstance(found, dict) or (found and not isinstance(found.get("scale"), str)):
            raise InputError("not the record of a run", where=file, hint="remove this file")
        return found

    @property
    def last_used(self) -> float:
        """When a command last worked here: seconds since the epoch."""
        return (self.path / RUN_RECORD).stat().st_mtime

    def describe(self, experiment: str, scale: str, seed: int) -> None:
        """Record what the folder is of, unless it is recorded already, and when it was used."""
        file = self.path / RUN_RECORD
        if not self.about:
            write_json(file, {"experiment": experiment, "scale": scale, "seed": seed})
        with contextlib.suppress(OSError):  # a finished run may be on a disk that is read-only
            file.touch()

    def stage(self, name: str) -> StageFolder:
        """The folder of a stage, which need not exist yet.

        Raises:
            InputError: a name that could lead out of the run folder.
        """
        if not STAGE_NAME.fullmatch(name):
            raise InputError(f"{name!r} is no name of a stage", hint=STAGE_NAME_RULE)
        return StageFolder(self.path / name)


def _fingerprint_of(outputs: dict[str, str]) -> str:
    lines = "".join(f"{name}\x00{value}\n" for name, value in sorted(outputs.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:32]


def file_stat(file: Path) -> list[int]:
    """Size in bytes; times in ns of the last change, and of the last that the system noted."""
    found = file.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
