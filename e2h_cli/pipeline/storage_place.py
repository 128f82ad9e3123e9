"""A run folder on a file system of fsspec: a folder, or an address as ``s3://bucket/run``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import atomic_file
from e2h_cli.pipeline.run_folder import STAGE_RECORD, StageFolder
from e2h_cli.pipeline.stage_record import parse_record


@dataclass(slots=True)
class StoragePlace:
    """A folder of a file system. ``files``: name in the folder -> size in bytes."""

    url: str
    fs: Any
    root: str
    local: Path | None  # where it is a folder of this machine
    files: dict[str, int] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    def path(self, name: str) -> str:
        """Where a file is on the file system."""
        return f"{self.root}/{name}"

    def read(self, name: str) -> Any:
        """The content of a JSON file; {} where there is none."""
        if name not in self.files:
            return {}
        with self.fs.open(self.path(name), "rb") as stream:
            return json.load(stream)

    def record(self, stage: str) -> dict[str, Any]:
        """The record of a stage; {} where there is none."""
        name = f"{stage}/{STAGE_RECORD}"
        if stage not in self.records:
            found = self.read(name)
            self.records[stage] = parse_record(found, self.path(name)) if found else {}
        return self.records[stage]

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write; on a disk it appears complete or not at all."""
        if self.local is None:
            with self.fs.open(self.path(name), "wb") as stream:
                yield stream
            return
        self.refuse_links(name)
        with atomic_file(self.local / name) as stream:
            yield stream

    def forget(self, stage: str) -> None:
        """Take the files of a stage as not there."""
        self.files = {n: size for n, size in self.files.items() if stage_of(n) != stage}
        self.records.pop(stage, None)

    def clear(self, stage: str) -> None:
        """Delete the files of a stage."""
        if self.local is not None:
            StageFolder(self.local / stage).clear()
        else:
            self.fs.rm(self.path(stage), recursive=True)

    def refuse_links(self, name: str) -> None:
        """Raise InputError if the folder of a file is a link that leads elsewhere."""
        assert self.local is not None
        file = self.local / name
        if not file.parent.resolve().is_relative_to(self.local.resolve()):
            raise InputError("leads out of the run folder", where=file, hint="remove the link")


def open_place(url: str) -> StoragePlace:
    """Open a place and list its files, without locks, temporary files and links."""
    from fsspec.core import url_to_fs

    fs, root = url_to_fs(url)
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    local = Path(root) if "file" in protocols else None
    root = root.rstrip("/")
    fs.invalidate_cache()
    found = fs.find(root, detail=True) if fs.isdir(root) else {}
    place = StoragePlace(url, fs, root, local)
    for path, info in found.items():
        name = path[len(root) :].lstrip("/")
        # A link may lead anywhere.
        if not info.get("islink") and not _is_left_out(name):
            place.files[name] = int(info["size"])
    return place


def stage_of(name: str) -> str:
    """The folder in the run that a file is in."""
    return name.partition("/")[0]


def is_record(name: str) -> bool:
    """Whether a file is the record of a stage."""
    return name == f"{stage_of(name)}/{STAGE_RECORD}"


def _is_left_out(name: str) -> bool:
    """Whether a file is a lock or a temporary file, or its name leads out of the folder."""
    parts = PurePosixPath(name).parts
    return (
        parts[-1].startswith((".lock", ".stage"))
        or parts[-1].endswith(".tmp")
        or ".." in parts
        or "\\" in name
    )
