"""Runs with metrics that tests state by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from e2h_cli.evaluation.measurements import Measurement
from e2h_cli.reports.spec import ReportSpec
from e2h_cli.reports.tidy_metrics import (
    Metrics,
    ProblemAccuracy,
    read_metrics,
    write_metrics,
    write_problems,
)
from e2h_cli.reports.view import Run

# Problems of levels 3 and 5 in turn.
EASY, HARD = 3, 5


def row(value: float, **about: Any) -> dict[str, Any]:
    """A tidy row: greedy accuracy of the stage "s" on hard problems, unless said otherwise."""
    common = {"seed": 3, "scale": "tiny", "stage": "s", "group": "hard", "metric": "accuracy"}
    common |= {"method": "greedy", "aggregate": "", "n": 1, "problems": 30, "grader": "exact"}
    return {**common, "value": value, "low": value - 10, "high": value + 10, **about}


def metrics(*rows: dict[str, Any]) -> Metrics:
    """Metrics of these rows."""
    return Metrics(rows)


def run(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    right: dict[str, Sequence[float]] | None = None,
    *,
    seed: int = 3,
    elsewhere: Sequence[str] = (),
) -> Run:
    """A run with these rows.

    Args:
        folder: for its files.
        rows: of its metrics.
        right: stage -> greedy accuracy on its hard problems in [0, 1]; on easy ones it is 1.
        seed: of the run.
        elsewhere: stages that answer problems of their own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_metrics(folder, rows)
    measured, problems = [], {}
    for stage, accuracy in (right or {"s": [1.0]}).items():
        ids = [f"{stage if stage in elsewhere else 'p'}{i}" for i in range(2 * len(accuracy))]
        values = np.ones(len(ids))
        values[1::2] = accuracy
        measured.append((stage, ids, [Measurement("g", "", "greedy", "", 1, values)]))
        problems |= {one: HARD if i % 2 else EASY for i, one in enumerate(ids)}
    about = {"id": list(problems), "level": list(problems.values())}
    about["subject"] = ["Algebra" if level == EASY else "Number Theory" for level in about["level"]]
    write_problems(folder, measured, pa.table(about))
    return Run(seed, read_metrics(folder), ProblemAccuracy(folder, EASY))


def spec(**about: Any) -> ReportSpec:
    """A spec of a table."""
    return ReportSpec.model_validate({"title": "A table", "page": 6, **about})
