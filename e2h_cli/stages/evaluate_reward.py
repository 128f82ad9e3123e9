"""``e2h eval --reward-metrics``: the reward models of rerank stages, measured by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2h_cli.common import parquet_store
from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_json
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.data.rm_labels import step_checker, until_first_mistake
from e2h_cli.evaluation.reward_metrics import (
    Diagnostic,
    StepLabels,
    judged_outcomes,
    judged_steps,
    reward_metrics,
)
from e2h_cli.evaluation.sample_groups import group_samples
from e2h_cli.grading import Grader
from e2h_cli.inference import scoring
from e2h_cli.inference.sampling import read_samples
from e2h_cli.pipeline.run_folder import STAGE_RECORD
from e2h_cli.reports.diagnostics_plot import reward_diagnostics
from e2h_cli.reports.results import groups_of
from e2h_cli.reports.tables import MAIN_GROUPS, Row, print_table
from e2h_cli.stages.candidates import IMPORTED, SCORES

_COLUMNS = ("accuracy", "balanced accuracy", "roc auc", "calibration error", "first error f1")


def measure_reward(
    stage: Path,
    problems: Mapping[str, Problem],
    grader: Grader,
    *,
    max_level: int,
    confidence: float,
    target: Path,
    note: str,
) -> list[dict[str, Any]]:
    """Measure the scores of a rerank stage; print a table, draw ROC and calibration.

    Args:
        stage: folder of the rerank stage.
        problems: with gold answers, by id.
        grader: judges final answers.
        max_level: the last easy level.
        confidence: of the intervals.
        target: of the plot, without suffix.
        note: a line under the plot.

    Returns:
        Rows for results.json; values are shares, correlations or errors, not percent.

    Raises:
        InputError: the stage has no scores.
    """
    samples, scores = _tables(stage)
    with_scores = {
        (row["id"], row["sample"]) for row in scores.select(parquet_store.KEY_COLUMNS).to_pylist()
    }
    keys = zip(samples["id"].to_pylist(), samples["sample"].to_pylist(), strict=True)
    samples = samples.filter(pa.array([key in with_scores for key in keys]))
    groups = group_samples(samples, problems, grader)
    size = groups[0].size
    samples, scores = (_first_of_each(table, size) for table in (samples, scores))
    right = np.concatenate([pool.right_samples for pool in groups])
    solved = [pool.problem for pool in groups]
    labels = _step_labels(samples, problems, solved)
    rows = reward_metrics(
        samples,
        scores,
        right,
        groups_of(solved, max_level),
        step_labels=labels,
        confidence=confidence,
    )
    _print(rows, stage.name)
    judged = {"Outcomes": judged_outcomes(scores, right, "last")}
    if labels is not None:
        judged = {"Steps": judged_steps(scores, labels), **judged}
    drawn = {name: j for name, j in judged.items() if j.right.any() and not j.right.all()}
    if drawn:
        console.print(f"Plot: {reward_diagnostics(drawn, target, note=note)[0]} (and .svg)")
    return [{"stage": stage.name, **asdict(row)} for row in rows]


def _tables(stage: Path) -> tuple[pa.Table, pa.Table]:
    file = stage / SCORES / scoring.SCORES_FILE
    if not file.is_file():
        raise InputError("no scores here", where=stage, hint="make them with: e2h rerank")
    scores = parquet_store.read_table(file, parquet_store.SCORE_SCHEMA)
    if (stage / IMPORTED).is_file():
        return pq.read_table(stage / IMPORTED), scores
    place = read_json(stage / STAGE_RECORD)["inputs"]["samples"][0]["path"]
    # A stage of the same run is recorded by its name, anything else by its path.
    beside = stage.parent / place
    return read_samples(beside if beside.is_dir() else Path(place)), scores


def _first_of_each(table: pa.Table, size: int) -> pa.Table:
    """The first ``size`` rows of each problem."""
    seen: dict[str, int] = {}
    keep = []
    for key in table["id"].to_pylist():
        seen[key] = seen.get(key, 0) + 1
        keep.append(seen[key] <= size)
    return table.filter(pa.array(keep))


def _step_labels(
    samples: pa.Table, problems: Mapping[str, Problem], solved: Sequence[Problem]
) -> StepLabels | None:
    checker = step_checker(solved)
    if checker is None:
        return None
    labels = []
    for key, text in zip(samples["id"].to_pylist(), samples["text"].to_pylist(), strict=True):
        steps = [step.text for step in template.parse(text).steps]
        labels.append(until_first_mistake(checker(problems[key].problem, steps)))
    return labels


def _print(rows: Sequence[Diagnostic], name: str) -> None:
    values: dict[tuple[str, str], dict[str, str]] = {}
    for row in rows:
        # First errors are about whole solutions and step scores: they stand in the steps' line.
        item = "steps" if row.score == "step" else f"outcome ({row.score})"
        if row.group in MAIN_GROUPS and row.metric in _COLUMNS:
            cell = f"{row.value:.3f}"
            if row.low is not None and row.high is not None:
                cell += f" ({row.low:.2f}-{row.high:.2f})"
            values.setdefault((row.group, item), {})[row.metric] = cell
    lines: list[Row] = [
        (group, item, *(cells.get(column, "") for column in _COLUMNS))
        for (group, item), cells in values.items()
    ]
    print_table(f"Reward model of {name}", ("", "score of", *_COLUMNS), lines)
