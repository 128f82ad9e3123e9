"""The terminal: one console for messages, one shape of progress bar, and logging on it.

Packages below ``stages`` print nothing: they log, and show progress bars that are drawn only after
``show_on_terminal``, which the command line calls. In a notebook they are silent.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderableType
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

from e2h_cli.common.escapes import printable

# Files and pipes have no width; tables should not be cut there.
_WIDTH_WITHOUT_TERMINAL = 120


class _Console(Console):
    """A console that writes control characters in texts out, so that the terminal ignores them."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


# A program that was started without a standard output has none.
_on_terminal = sys.stdout is not None and sys.stdout.isatty()
console = _Console(
    highlight=False,
    soft_wrap=True,
    width=None if _on_terminal or "COLUMNS" in os.environ else _WIDTH_WITHOUT_TERMINAL,
)


# Whether progress bars are drawn.
_shown = False


class _PlainHandler(RichHandler):
    """Log messages as lines of the console; warnings in yellow."""

    def render(
        self, *, record: logging.LogRecord, traceback: object, message_renderable: ConsoleRenderable
    ) -> ConsoleRenderable:
        style = "yellow" if record.levelno >= logging.WARNING else ""
        return Text(record.getMessage(), style=style)


def show_on_terminal() -> None:
    """Print what the e2h packages log, and draw progress bars. Called by the command line."""
    global _shown
    _shown = True
    logger = logging.getLogger("e2h_cli")
    if not logger.handlers:
        logger.addHandler(_PlainHandler(console=console))
        logger.setLevel(logging.INFO)
        logger.propagate = False


class _Rate(ProgressColumn):
    """Units per second or minute, without work that an earlier run had finished."""

    def render(self, task: Task) -> Text:
        unit = task.fields.get("unit", "")
        done = task.completed - task.fields.get("begin", 0)
        if not done or not task.elapsed:
            return Text(f"- {unit}/s", style="progress.data.speed")
        speed, per = done / task.elapsed, "s"
        if speed < 0.1:
            speed, per = 60 * speed, "min"
        digits = 1 if speed < 100 else 0
        return Text(f"{speed:,.{digits}f} {unit}/{per}", style="progress.data.speed")


def progress_bar() -> Progress:
    """A bar with count, rate, elapsed and remaining time; add tasks with ``unit="samples"``.

    Without a terminal only the final state is printed, once. Nothing is drawn before
    ``show_on_terminal``.
    """
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        speed_estimate_period=30,
        refresh_per_second=4,
        disable=not _shown,
    )
