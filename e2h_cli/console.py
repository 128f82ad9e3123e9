"""The terminal: one console for messages, one shape of progress bar."""

from __future__ import annotations

from rich.console import Console
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
from rich.text import Text

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


class _Rate(ProgressColumn):
    """Units per second over the whole task, resumed work left out."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        unit = task.fields.get("unit", "")
        if not speed:
            return Text(f"- {unit}/s", style="progress.data.speed")
        digits = 1 if speed < 100 else 0
        return Text(f"{speed:,.{digits}f} {unit}/s", style="progress.data.speed")


def progress_bar() -> Progress:
    """A bar with count, rate, elapsed and remaining time; add tasks with ``unit="samples"``.

    Where the output is no terminal nothing is drawn but the last state, once, at the end.
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
    )
