"""The terminal: one console for messages, one shape of progress bar, and logging on it.

Packages below ``stages`` print nothing: they log, and show progress bars that are drawn only after
``show_on_terminal``, which the command line calls. In a notebook they are silent.

Messages go to the standard output. With ``quiet`` warnings and errors alone are shown, on the
standard error; with ``log_json`` all messages are JSON lines there. ``print_json`` writes a result
to the standard output, and everything else then goes to the standard error.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterable
from typing import Any

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
from e2h_cli.common.json_log import RESULT, capture_other_libraries, json_handler

# Files and pipes have no width; tables should not be cut there.
_WIDTH_WITHOUT_TERMINAL = 120


class _Console(Console):
    """A console that writes control characters in texts out, so that the terminal ignores them.

    ``in_log``: messages are logged, without colours, in place of being printed.
    """

    in_log = False

    def print(self, *objects: Any, **options: Any) -> None:
        """Print, or log, objects as rich does."""
        if not self.in_log:
            super().print(*objects, **options)
            return
        text = io.StringIO()
        Console(file=text, width=_WIDTH_WITHOUT_TERMINAL, highlight=False, soft_wrap=True).print(
            *objects, **options
        )
        if message := text.getvalue().strip("\n"):
            _logger.info("%s", message)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


_logger = logging.getLogger(__name__)

# A program that was started without a standard output has none.
_on_terminal = sys.stdout is not None and sys.stdout.isatty()
console = _Console(
    highlight=False,
    soft_wrap=True,
    width=None if _on_terminal or "COLUMNS" in os.environ else _WIDTH_WITHOUT_TERMINAL,
)


# For warnings of a quiet program.
_errors = _Console(highlight=False, soft_wrap=True, width=console.width, stderr=True)

# Whether progress bars are drawn.
_shown = False


class _PlainHandler(RichHandler):
    """Log messages as lines of the console; warnings in yellow, errors in red."""

    def render(
        self, *, record: logging.LogRecord, traceback: object, message_renderable: ConsoleRenderable
    ) -> ConsoleRenderable:
        style = "yellow" if record.levelno >= logging.WARNING else ""
        if record.levelno >= logging.ERROR:
            style = "red"
        return Text(record.getMessage(), style=style)


def show_on_terminal(*, quiet: bool = False, log_json: bool = False) -> None:
    """Show what the e2h packages print and log, and progress bars. Called by the command line.

    Args:
        quiet: warnings and errors alone, on the standard error, and no bars.
        log_json: all messages as JSON lines on the standard error, and no bars.
    """
    global _shown
    _shown = not (quiet or log_json)
    console.stderr, console.in_log, console.quiet = False, log_json, quiet and not log_json
    handler = json_handler() if log_json else _PlainHandler(console=_errors if quiet else console)
    logger = logging.getLogger("e2h_cli")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False
    capture_other_libraries(handler if log_json else None)


def announce(markup: str, **result: Any) -> None:
    """Print a line about finished work; as a JSON line it has the fields of the result."""
    if console.in_log:
        _logger.info("%s", Text.from_markup(markup).plain, extra={RESULT: result})
    else:
        console.print(markup)


def leave_output_to_json() -> None:
    """Send messages to the standard error from now on, for a command with ``--json``."""
    console.stderr = True


def print_json(value: Any) -> None:
    """Write a result to the standard output, as indented JSON that ends with a newline."""
    leave_output_to_json()
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=True, default=str) + "\n")


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
