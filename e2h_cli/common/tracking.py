"""Trackers: the numbers of a stage in Trackio or Weights & Biases, while it runs.

A tracker reports; it decides nothing. Whatever goes wrong in it is told once, and the work goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from e2h_cli.common import distributed
from e2h_cli.common.errors import InputError, reason_of

logger = logging.getLogger(__name__)

_PROJECT = "e2h"
# How long wandb waits for the network, and for somebody to log in at its prompt.
_LOGIN_SECONDS = 30
# How long it may upload what is left at the end; `wandb sync` uploads the rest.
_UPLOAD_SECONDS = 60


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What a tracker calls a run.

    Attributes:
        name: of the stage.
        group: of the run folder.
        key: the same for the stage that continues, another for every other one.
        config: what the run was made with.
    """

    name: str
    group: str
    key: str
    config: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """A hash of the key."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:16]


class _Tool(Protocol):
    """An open run of a tool. Steps before ``first_step`` were reported by an earlier process."""

    first_step: int

    def log(self, step: int, numbers: Mapping[str, float]) -> None: ...

    def summarise(self, numbers: Mapping[str, float]) -> None: ...

    def close(self, *, finished: bool) -> None: ...


class Tracker:
    """A run in a tool, or none: without a tool, and after the first failure of one."""

    def __init__(self, tool: _Tool | None = None) -> None:
        self._tool = tool
        self._finished = False

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Report the numbers among some metrics; those of a step that was reported are skipped."""
        with self._one_warning() as tool:
            if tool and step >= tool.first_step:
                tool.log(step, _numbers(metrics))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Report the numbers of the whole run; the work is done."""
        self._finished = True
        with self._one_warning() as tool:
            if tool:
                tool.summarise(_numbers(summary))

    def close(self) -> None:
        """End the run, as finished or as stopped."""
        with self._one_warning() as tool:
            self._tool = None
            if tool:
                tool.close(finished=self._finished)

    @contextlib.contextmanager
    def _one_warning(self) -> Iterator[_Tool | None]:
        try:
            yield self._tool
        except Exception as error:  # the tools raise whatever their transports raise
            _warn(error)
            self._tool = None


@contextlib.contextmanager
def open_tracker(tool: str | None, run: TrackedRun) -> Iterator[Tracker]:
    """A tracker of a run; without a tool, and in all processes but the first, an idle one.

    Args:
        tool: "trackio", "wandb" or None.
        run: is continued, if the tool has one of its identity.

    Raises:
        InputError: the tool is not installed.
    """
    if tool is None:
        yield Tracker()
        return
    distributed.run_on_main(lambda: _require(tool))
    tracker = Tracker()
    if distributed.is_main_process():
        try:
            tracker = Tracker(_TOOLS[tool](run))
        except Exception as error:
            _warn(error)
    try:
        yield tracker
    finally:
        tracker.close()


class _Wandb:
    def __init__(self, run: TrackedRun) -> None:
        import wandb

        # The terminal is e2h's: wandb prints nothing and captures nothing.
        settings = wandb.Settings(
            silent=True,
            console="off",
            login_timeout=_LOGIN_SECONDS,
            finish_timeout=_UPLOAD_SECONDS,
            init_timeout=_LOGIN_SECONDS,
        )
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            name=run.name,
            group=run.group,
            id=run.identity,
            resume="allow",
            config=dict(run.config),
            settings=settings,
        )
        self.first_step = self._run.step
        place = self._run.dir if self._run.offline or self._run.disabled else self._run.url
        logger.info(f"tracked by wandb: {place}")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def summarise(self, numbers: Mapping[str, float]) -> None:
        self._run.summary.update(dict(numbers))

    def close(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


class _Trackio:
    def __init__(self, run: TrackedRun) -> None:
        # Its runs are told apart by their names alone.
        name = f"{run.name}-{run.identity[:8]}"
        with contextlib.redirect_stdout(io.StringIO()):  # it prints instructions
            import trackio

            self._run = trackio.init(
                project=_PROJECT,
                name=name,
                group=run.group,
                resume="allow",
                config=dict(run.config),
                embed=False,
            )
        self._finish = trackio.finish
        # There is no public name for the step after the last one.
        self.first_step = getattr(self._run, "_next_step", 0)
        self._last_step = self.first_step
        logger.info(f"tracked by trackio: run {name}; trackio show --project {_PROJECT}")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self._last_step = step
        self._run.log(dict(numbers), step=step)

    def summarise(self, numbers: Mapping[str, float]) -> None:
        # It has no summaries: a group of charts with one point each.
        self.log(self._last_step, {f"summary/{name}": value for name, value in numbers.items()})

    def close(self, *, finished: bool) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._finish()


_TOOLS: dict[str, Callable[[TrackedRun], _Tool]] = {"wandb": _Wandb, "trackio": _Trackio}


def _require(tool: str) -> None:
    if importlib.util.find_spec(tool) is None:
        raise InputError(
            f"--track {tool}: {tool} is not installed",
            hint=f"pip install {tool}, or 'e2h[track]'",
        )


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in metrics.items()
        if isinstance(value, (int, float)) and name != "step" and math.isfinite(value)
    }


def _warn(error: Exception) -> None:
    logger.warning(f"warning: no more is told to the tracker: {reason_of(error)}")
