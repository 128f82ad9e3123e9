"""Work of a stage that several processes share by ``--shard i/n``: who has finished, who has not.

Every shard leaves an empty file in the scratch folder when it starts, and one when it is finished.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import write_atomic
from e2h_cli.common.folder_lock import locked
from e2h_cli.pipeline.run_folder import StageFolder
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.base import Settings, ShardableSettings

if TYPE_CHECKING:
    from e2h_cli.inference.worker_pool import SharedJob

J = TypeVar("J", bound="SharedJob")
T = TypeVar("T")

_STARTED, _WHOLE = ".started", ".whole"


def shard_name(settings: Settings) -> str:
    """Name of the shard of a stage's settings; empty for the whole work."""
    return settings.shard_name if isinstance(settings, ShardableSettings) else ""


def set_up_alone(folder: StageFolder, shard: str) -> contextlib.AbstractContextManager[None]:
    """Held while a stage is checked and started: shards that start at once wait for one another.

    Otherwise one could take the first files of another one for those of an unknown stage.
    """
    if not shard or not os.access(folder.path, os.W_OK):
        return contextlib.nullcontext()
    return locked(folder.path, ".lock-set-up", shared=False, wait=True)


def start_shard(context: StageContext[Any]) -> None:
    """Note that the shard of the settings has started; nothing without one."""
    if name := _settings(context).shard_name:
        (context.scratch_dir / f"{name}{_WHOLE}").unlink(missing_ok=True)
        write_atomic(context.scratch_dir / f"{name}{_STARTED}", "")


def finish_shard(context: StageContext[Any]) -> None:
    """Note that the shard is finished, and say how to go on."""
    write_atomic(context.scratch_dir / f"{_settings(context).shard_name}{_WHOLE}", "")
    console.print("when all shards are done, put them together with --merge")


def share_of_job(context: StageContext[Any], job: J) -> J:
    """The shard of a job, or all of it without one."""
    settings = _settings(context)
    if settings.shard is None:
        return job
    index, count = settings.shard
    return job.share(index - 1, count, settings.shard_name)


def share_of(context: StageContext[Any], whole: Sequence[T]) -> Sequence[T]:
    """The shard's part of a sequence whose order is always the same; all of it without one."""
    shard = _settings(context).shard
    return whole if shard is None else whole[shard[0] - 1 :: shard[1]]


def refuse_unfinished(context: StageContext[Any], missing: int, total: int, what: str) -> None:
    """Raise InputError if something is missing that --merge would need."""
    if missing and _settings(context).merge:
        raise InputError(
            f"cannot merge: {missing:,} of {total:,} {what} are missing"
            f"{_unfinished(context.scratch_dir)}",
            where=context.output_dir,
            hint="do the --shard that is missing, or all that is left without --merge",
        )


def _settings(context: StageContext[Any]) -> ShardableSettings:
    assert isinstance(context.settings, ShardableSettings)
    return context.settings


def _unfinished(scratch_dir: Path) -> str:
    """The shards that are not finished, for a message; empty if there are no shards."""
    started, whole = ({p.stem for p in scratch_dir.glob(f"shard-*{e}")} for e in (_STARTED, _WHOLE))
    counts = {name.rpartition("-")[2] for name in started}
    if len(counts) != 1:
        return ""
    count = int(counts.pop())
    every = range(1, count + 1)
    # If all are marked as finished, a part file was lost, or more is asked for than was.
    shards = [i for i in every if f"shard-{i}-of-{count}" not in whole] or every
    return f" (not done: {', '.join(f'--shard {i}/{count}' for i in shards)})"
