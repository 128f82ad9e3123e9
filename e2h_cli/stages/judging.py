"""The grader of a stage, with a progress bar where programs are run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import Progress

from e2h_cli.common.console import progress_bar
from e2h_cli.data.problem import Problem
from e2h_cli.grading import Grader, grader_for
from e2h_cli.pipeline.stage_context import StageContext


@contextmanager
def judging(context: StageContext[Any], problems: Iterable[Problem]) -> Iterator[Grader]:
    """The grader of problems: programs are run on their tests, answers compared by a rule."""
    settings, bar = context.settings, _JudgingBar()
    with grader_for(
        problems,
        settings,
        settings.grader,
        cache=context.verdict_cache,
        on_judged=bar.update,
    ) as grader:
        try:
            yield grader
        finally:
            bar.stop()


class _JudgingBar:
    """A progress bar that is there only while programs are judged: others may not run beside it."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def update(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` programs are judged."""
        if self._bar is None:
            self._bar = progress_bar()
            self._bar.add_task("judging programs", total=total, unit="programs", note="")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total)
        if done >= total:
            self.stop()

    def stop(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
