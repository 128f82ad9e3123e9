"""Copy a run between a disk and object storage, so that machines without a shared disk share it.

File systems are those of fsspec: a folder, or an address as ``s3://bucket/run``. A copy adds and
replaces files and deletes none, and the record of a stage is copied after its files, so that a copy
that was interrupted never looks finished.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from e2h_cli.common.errors import E2HError, InputError, RunError, reason_of
from e2h_cli.common.files import atomic_file, fingerprint, make_folder
from e2h_cli.pipeline.registry import COMMANDS
from e2h_cli.pipeline.run_folder import (
    RUN_RECORD,
    SCRATCH_DIR,
    STAGE_RECORD,
    StageFolder,
    file_stat,
)
from e2h_cli.pipeline.stage_record import parse_record, write_record

logger = logging.getLogger(__name__)

# Files that are copied at the same time: small ones wait for the network most of the time.
_AT_ONCE = 8


@dataclass(slots=True)
class _Place:
    """A folder of a file system. ``files``: name in the folder -> size in bytes."""

    url: str
    fs: Any
    root: str
    local: Path | None  # where it is a folder of this machine
    files: dict[str, int] = field(default_factory=dict)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    def path(self, name: str) -> str:
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

    def refuse_links(self, name: str) -> None:
        """Raise InputError if the folder of a file is a link that leads elsewhere."""
        assert self.local is not None
        file = self.local / name
        if not file.parent.resolve().is_relative_to(self.local.resolve()):
            raise InputError("leads out of the run folder", where=file, hint="remove the link")


@dataclass(frozen=True, slots=True)
class Copied:
    """How many files and bytes were copied, and how many files were the same."""

    files: int
    bytes: int
    same: int


def sync(
    source: str,
    target: str,
    *,
    force: bool = False,
    on_total: Callable[[int], None] = lambda count: None,
    on_file: Callable[[int], None] = lambda count: None,
) -> Copied:
    """Copy what the target lacks or has otherwise.

    Not copied are locks, temporary files, what is unfinished of a finished stage, and a stage that
    the target has finished since the source started it.

    Args:
        source, target: a run folder and a copy of it, in either order: paths or addresses.
        force: replace stages that were made under other settings or inputs.
        on_total, on_file: called with the number of files to copy, and with 1 for each.

    Raises:
        InputError: an unknown address, no run in the source, another run in the target, or a stage
            of it that was made under other settings or inputs.
        RunError: a file cannot be read or written, or is not what its record says.
    """
    with _told(source):
        read_from = _open(source)
    with _told(target):
        write_to = _open(target)
    with _told(source):
        records = _check(read_from, write_to, force=force)
    names = [
        name
        for name in read_from.files
        if _is_wanted(name, records) and not _is_same(name, read_from, write_to, records)
    ]
    copied = [name for name in names if not name.endswith((f"/{STAGE_RECORD}", RUN_RECORD))]
    last = [name for name in names if name not in copied]
    on_total(len(names))
    with contextlib.ExitStack() as locks, _told(target):
        if write_to.local is not None:
            make_folder(write_to.local)
            for stage in sorted({name.split("/")[0] for name in copied} & set(records)):
                write_to.refuse_links(f"{stage}/{STAGE_RECORD}")
                locks.enter_context(StageFolder(write_to.local / stage).lock())
        # The record of the run first, then files, then the records of stages.
        for name in [n for n in last if n == RUN_RECORD]:
            _copy(read_from, write_to, name)
            on_file(1)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda name: _copy(read_from, write_to, name), copied):
                on_file(1)
        for stage in (n.split("/")[0] for n in last if n != RUN_RECORD):
            if write_to.local is not None:
                _check_outputs(write_to.local / stage, records[stage])
                _note_stats(write_to.local / stage, records[stage])
            else:
                _copy(read_from, write_to, f"{stage}/{STAGE_RECORD}")
            on_file(1)
    size = sum(read_from.files[name] for name in names)
    return Copied(len(names), size, len(read_from.files) - len(names))


def _open(url: str) -> _Place:
    from fsspec.core import url_to_fs

    fs, root = url_to_fs(url)
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    local = Path(root) if "file" in protocols else None
    root = root.rstrip("/")
    fs.invalidate_cache()
    found = fs.find(root, detail=True) if fs.isdir(root) else {}
    place = _Place(url, fs, root, local)
    for path, info in found.items():
        name = path[len(root) :].lstrip("/")
        # A link may lead anywhere.
        if not info.get("islink") and not _is_own(name):
            place.files[name] = int(info["size"])
    return place


def _is_own(name: str) -> bool:
    """Whether a file is a lock or a temporary file, or its name leads out of the folder."""
    parts = PurePosixPath(name).parts
    return (
        parts[-1].startswith((".lock", ".stage"))
        or parts[-1].endswith(".tmp")
        or ".." in parts
        or "\\" in name
    )


def _check(source: _Place, target: _Place, *, force: bool) -> dict[str, dict[str, Any]]:
    """The records of the source's stages to copy, by name; refuses what does not fit."""
    about, there = source.read(RUN_RECORD), target.read(RUN_RECORD)
    if not about:
        raise InputError("no run here", where=source.url, hint="name a run folder")
    if there and there != about:
        raise InputError(
            f"holds another run ({_named(there)}, not {_named(about)})",
            where=target.url,
            hint="take another folder or address",
        )
    records: dict[str, dict[str, Any]] = {}
    for name in sorted(source.files):
        stage, _, file = name.partition("/")
        if file != STAGE_RECORD:
            continue
        record, held = source.record(stage), target.record(stage)
        if held and not force:
            _refuse_others_work(stage, record, held, target.url)
        if (
            held.get("status") == "finished" != record["status"]
            and held["finished"] >= record["started"]
        ):
            logger.info(f"{stage} is finished in {target.url}: not copied")
            records[stage] = {}
            continue
        records[stage] = record
    return records


def _named(about: Mapping[str, Any]) -> str:
    return f"{about.get('experiment')} {about.get('scale')}, seed {about.get('seed')}"


def _refuse_others_work(
    stage: str, record: Mapping[str, Any], held: Mapping[str, Any], where: str
) -> None:
    command = COMMANDS.get(record["command"])
    grows = command.extendable if command else ()
    differ = [
        key
        for key in {**record["settings"], **held["settings"]}
        if record["settings"].get(key) != held["settings"].get(key) and key not in grows
    ]
    prints = [
        {name: [i["fingerprint"] for i in many] for name, many in one["inputs"].items()}
        for one in (record, held)
    ]
    differ += [n for n in {**prints[0], **prints[1]} if prints[0].get(n) != prints[1].get(n)]
    if differ:
        raise InputError(
            f"{stage} was made there with another {', '.join(sorted(differ))}",
            where=where,
            hint="--force replaces it; another address keeps both",
        )


def _is_wanted(name: str, records: Mapping[str, Mapping[str, Any]]) -> bool:
    stage, _, file = name.partition("/")
    if stage not in records:
        return True
    record = records[stage]
    return bool(record) and not (
        record["status"] == "finished" and file.startswith(f"{SCRATCH_DIR}/")
    )


def _is_same(
    name: str, source: _Place, target: _Place, records: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Whether the target has the file already, by its size and by what the records say.

    A part file never changes. A file that no record tells about is copied again.
    """
    stage, _, file = name.partition("/")
    if file == STAGE_RECORD:
        # Sizes and times of the files are those of a machine.
        ours, theirs = (dict(place.record(stage), output_stats={}) for place in (source, target))
        return ours == theirs
    if target.files.get(name) != source.files[name]:
        return False
    if name == RUN_RECORD or PurePosixPath(name).match("part-*.parquet"):
        return True
    digest = records.get(stage, {}).get("outputs", {}).get(file)
    return digest is not None and target.record(stage).get("outputs", {}).get(file) == digest


def _copy(source: _Place, target: _Place, name: str) -> None:
    try:
        stream = source.fs.open(source.path(name), "rb")
    except FileNotFoundError:  # part files are removed when a stage is finished
        return
    with stream, target.writing(name) as out:
        shutil.copyfileobj(stream, out, 2**20)


def _note_stats(folder: Path, record: Mapping[str, Any]) -> None:
    """Note sizes and times of the copies, so that no command has to read them again."""
    stats = {name: file_stat(folder / name) for name in record.get("outputs", {})}
    write_record(folder / STAGE_RECORD, {**record, "output_stats": stats})


def _check_outputs(folder: Path, record: Mapping[str, Any]) -> None:
    for name, digest in record.get("outputs", {}).items():
        if not (folder / name).is_file() or fingerprint(folder / name) != digest:
            raise RunError(
                "is not the file that its record tells of: it changed while it was copied",
                where=folder / name,
                hint="run the command again",
            )


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn the errors of file systems, which have many classes, into one line."""
    try:
        yield
    except E2HError:
        raise
    except (ImportError, ValueError) as error:
        raise InputError(f"cannot open: {reason_of(error)}", where=url) from error
    except Exception as error:
        raise RunError(
            f"cannot read or write there: {reason_of(error)}",
            where=url,
            hint="what was copied is kept; the same command goes on",
        ) from error
