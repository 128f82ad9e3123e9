"""``e2h sync``: copy a run to or from object storage."""

from __future__ import annotations

import logging
import time
from typing import Annotated

import typer

from e2h_cli.cli.amounts import shown_bytes
from e2h_cli.common.errors import RunError

logger = logging.getLogger(__name__)


def sync(
    source: Annotated[
        str, typer.Argument(help="A run folder, or an address as s3://bucket/run.")
    ],
    target: Annotated[str, typer.Argument(help="Where to copy it: a folder, or an address.")],
    every: Annotated[
        float | None,
        typer.Option(
            "--every", min=1.0, metavar="<seconds>",
            help="Copy again so many seconds after each copy, until Ctrl-C.",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace stages of other settings or inputs in the target."),
    ] = False,
) -> None:  # fmt: skip
    """Copy what a run or a copy of it lacks, so that machines without a shared disk share a run."""
    while True:
        try:
            _copy(source, target, force=force)
        except RunError as error:
            if every is None:
                raise
            logger.warning(error.line)  # the network may be there again next time
        if every is None:
            return
        time.sleep(every)


def _copy(source: str, target: str, *, force: bool) -> None:
    from e2h_cli.common.console import announce, progress_bar
    from e2h_cli.pipeline.run_sync import sync as copy

    with progress_bar() as bar:
        task = bar.add_task("copying", total=None, unit="files", note="")
        done = copy(
            source,
            target,
            force=force,
            on_total=lambda count: bar.update(task, total=count),
            on_file=lambda count: bar.advance(task, count),
        )
    announce(
        f"{done.files:,} files copied ({shown_bytes(done.bytes)}), {done.same:,} left alone",
        files=done.files,
        bytes=done.bytes,
        same=done.same,
    )
