"""Copy a run between a disk and object storage, so that machines without a shared disk share it.

File systems are those of fsspec: a folder, or an address as ``s3://bucket/run``. A copy adds and
replaces files and deletes none, except those of a stage that ``force`` replaces. The record of a
stage is copied after its files, so that a copy that was interrupted never looks finished.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from e2h_cli.common.errors import E2HError, InputError, RunError, reason_of
from e2h_cli.common.files import fingerprint, make_folder
from e2h_cli.pipeline.registry import COMMANDS
from e2h_cli.pipeline.run_folder import (
    RUN_RECORD,
    SCRATCH_DIR,
    STAGE_RECORD,
    StageFolder,
    file_stat,
)
from e2h_cli.pipeline.stage_record import write_record
from e2h_cli.pipeline.storage_place import StoragePlace, is_record, open_place, stage_of

logger = logging.getLogger(__name__)

# Files that are copied at the same time: small ones wait for the network most of the time.
_AT_ONCE = 8


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
        read_from = open_place(source)
    with _told(target):
        write_to = open_place(target)
    with _told(source):
        records, replaced = _check(read_from, write_to, force=force)
    for stage in replaced:
        write_to.forget(stage)
    names = [
        name
        for name in read_from.files
        if _is_wanted(name, records) and not _is_same(name, read_from, write_to, records)
    ]
    on_total(len(names))
    with _told(target):
        _write(read_from, write_to, names, replaced, on_file)
    size = sum(read_from.files[name] for name in names)
    return Copied(len(names), size, len(read_from.files) - len(names))


def _write(
    source: StoragePlace,
    target: StoragePlace,
    names: Sequence[str],
    replaced: Sequence[str],
    on_file: Callable[[int], None],
) -> None:
    """Copy files: first the record of the run, then all others, and the records of stages last."""
    finished = [stage_of(name) for name in names if is_record(name)]
    files = [name for name in names if name != RUN_RECORD and not is_record(name)]
    with contextlib.ExitStack() as locks:
        if target.local is not None:
            make_folder(target.local)
            for stage in sorted({*map(stage_of, files), *replaced} & set(source.records)):
                target.refuse_links(f"{stage}/{STAGE_RECORD}")
                locks.enter_context(StageFolder(target.local / stage).lock())
        for stage in replaced:
            target.clear(stage)
        if RUN_RECORD in names:
            _copy(source, target, RUN_RECORD)
            on_file(1)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda name: _copy(source, target, name), files):
                on_file(1)
        for stage in finished:
            if target.local is not None:
                _check_outputs(target.local / stage, source.record(stage))
                _note_stats(target.local / stage, source.record(stage))
            else:
                _copy(source, target, f"{stage}/{STAGE_RECORD}")
            on_file(1)


def _check(
    source: StoragePlace, target: StoragePlace, *, force: bool
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Compare what both hold; refuses what does not fit.

    Returns the records of the source's stages, {} for one that is not copied, and the stages of
    the target that ``force`` replaces.
    """
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
    replaced: list[str] = []
    for stage in sorted(map(stage_of, filter(is_record, source.files))):
        records[stage] = record = source.record(stage)
        held = target.record(stage)
        if not held:
            continue
        if differ := _differing(record, held):
            if not force:
                raise InputError(
                    f"{stage} was made there with another {', '.join(differ)}",
                    where=target.url,
                    hint="--force replaces it; another address keeps both",
                )
            replaced.append(stage)
        elif _is_behind(record, held):
            logger.info(f"{stage} is finished in {target.url}: not copied")
            records[stage] = {}
    return records, replaced


def _named(about: Mapping[str, Any]) -> str:
    return f"{about.get('experiment')} {about.get('scale')}, seed {about.get('seed')}"


def _is_behind(record: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    """Whether ``held`` is finished since the unfinished work of ``record`` was started."""
    if record["status"] == "finished" or held["status"] != "finished":
        return False
    return bool(held["finished"] >= record["started"])


def _differing(record: Mapping[str, Any], held: Mapping[str, Any]) -> list[str]:
    """Names of settings and inputs in which two records of a stage differ."""
    command = COMMANDS.get(record["command"])
    grows = command.extendable if command else ()
    differ = {
        key
        for key in {**record["settings"], **held["settings"]}
        if record["settings"].get(key) != held["settings"].get(key) and key not in grows
    }
    ours, theirs = (
        {name: [i["fingerprint"] for i in many] for name, many in one["inputs"].items()}
        for one in (record, held)
    )
    return sorted(differ | {n for n in {**ours, **theirs} if ours.get(n) != theirs.get(n)})


def _is_wanted(name: str, records: Mapping[str, Mapping[str, Any]]) -> bool:
    stage, _, file = name.partition("/")
    if stage not in records:
        return True
    record = records[stage]
    return bool(record) and not (
        record["status"] == "finished" and file.startswith(f"{SCRATCH_DIR}/")
    )


def _is_same(
    name: str, source: StoragePlace, target: StoragePlace, records: Mapping[str, Mapping[str, Any]]
) -> bool:
    """Whether the target has the file already, by its size and by what the records say.

    A part file never changes. A file that no record tells about is copied again.
    """
    stage, _, file = name.partition("/")
    if is_record(name):
        # Sizes and times of the files are those of a machine.
        ours, theirs = (dict(place.record(stage), output_stats={}) for place in (source, target))
        return ours == theirs
    if target.files.get(name) != source.files[name]:
        return False
    if name == RUN_RECORD or PurePosixPath(name).match("part-*.parquet"):
        return True
    digest = records.get(stage, {}).get("outputs", {}).get(file)
    return digest is not None and target.record(stage).get("outputs", {}).get(file) == digest


def _copy(source: StoragePlace, target: StoragePlace, name: str) -> None:
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
