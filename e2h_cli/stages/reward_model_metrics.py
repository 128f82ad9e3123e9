"""Reward models by themselves, for ``e2h eval``: metrics, ROC curves and agreement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from e2h_cli.common import parquet_store
from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation import labelled_scores
from e2h_cli.evaluation.agreement import OUTCOME, said_of
from e2h_cli.evaluation.labelled_scores import ScoredSamples
from e2h_cli.evaluation.measurements import Measurement
from e2h_cli.evaluation.rm_report import reward_metrics, roc_table
from e2h_cli.grading import Grader
from e2h_cli.pipeline.lineage import facets_of, input_path
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.reports.figures import plot_reward_model
from e2h_cli.reports.results import problem_groups
from e2h_cli.reports.rm_tables import diagnostics_table
from e2h_cli.reports.tidy_metrics import ROC
from e2h_cli.settings.evaluate import EvalSettings
from e2h_cli.stages.case_inputs import read_samples_and_scores

AGREEMENT = "agreement"
# How the scores of a PRM predict: both, since it decides a lot (evaluation.agreement).
_PREDICTS = {"ORM": ("last",), "PRM": ("min", "last")}


@dataclass(frozen=True, slots=True)
class Judged:
    """What a reward model says of graded samples: rows of ``Diagnostic``, and its ROC curves."""

    stage: Path
    scored: ScoredSamples
    diagnostics: list[dict[str, Any]]
    roc: pa.Table


def judge(
    context: StageContext[EvalSettings],
    stage: Path,
    problems: Mapping[str, Problem],
    grader: Grader,
    levels: int,
) -> Judged:
    """Measure the scores of a rerank stage; print and plot them unless --no-tables.

    The diagnostics hold shares, correlations or errors, not percent. InputError without scores.
    """
    samples, scores = read_samples_and_scores(stage)
    if scores is None:
        raise InputError("no scores here", where=stage, hint="make them with: e2h rerank")
    scored = labelled_scores.grade_scored_samples(samples, scores, problems, grader)
    groups = problem_groups(scored.problems, levels)
    diagnostics = reward_metrics(scored, groups, confidence=context.settings.confidence)
    if context.settings.tables:
        console.print(diagnostics_table(diagnostics, stage.name))
        _plot(context, stage, scored)
    rows = [{"stage": stage.name, **asdict(row)} for row in diagnostics]
    return Judged(stage, scored, rows, roc_table(scored, groups))


def _plot(context: StageContext[EvalSettings], stage: Path, scored: ScoredSamples) -> None:
    """Plot ROC and calibration of a reward model."""
    items = {"Outcomes": labelled_scores.labelled_outcomes(scored.scores, scored.right, "last")}
    if scored.step_labels is not None:
        steps = labelled_scores.labelled_steps(scored.scores, scored.step_labels)
        items = {"Steps": steps, **items}
    if items := {key: i for key, i in items.items() if i.right.any() and not i.right.all()}:
        target, note = context.output_dir / f"reward-of-{stage.name}", context.made_at
        paths = plot_reward_model(items, target, note=f"{note}, all problems")
        console.print(f"Plot: {paths[0]} (and .svg)")


def write_roc(folder: Path, judged: Sequence[Judged]) -> None:
    """Write the ROC curves of all stages to roc.parquet."""
    parts = [
        one.roc.append_column("stage", pa.array([one.stage.name] * one.roc.num_rows, pa.string()))
        for one in judged
    ]
    parquet_store.write_table(folder / ROC, pa.concat_tables(parts))


def agreements_of(
    judged: Sequence[Judged], levels: int
) -> Iterator[tuple[Path, list[str], list[Measurement]]]:
    """How often reward models of different kinds and the outcome agree on the same samples.

    Yields a stage, problem ids, and the share of agreeing samples of each problem by pair, as
    ``aggregate`` of the measurement: "ORM, PRM (min)".
    """
    by_samples: dict[Path | None, list[Judged]] = {}
    for one in judged:
        by_samples.setdefault(input_path(one.stage, "samples"), []).append(one)
    for same in by_samples.values():
        kinds = {facets_of(one.stage, levels).get("reward_model", ""): one for one in same}
        scores, aggregations = {}, {}
        for kind, ways in _PREDICTS.items():
            for way in ways if kind in kinds else ():
                name = f"{kind} ({way})" if len(ways) > 1 else kind
                scores[name], aggregations[name] = kinds[kind].scored.scores, way
        if len(kinds) < 2 or not scores:
            continue
        first = same[0]
        said = said_of(first.scored, scores, aggregations)
        sizes = np.bincount(said.problem)
        names = [*scores, OUTCOME]
        measurements = []
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                agree = np.bincount(said.problem, said.right[a] == said.right[b]) / sizes
                pair = f"{a}, {b}"
                measurements.append(Measurement("", "", AGREEMENT, pair, 1, agree, AGREEMENT))
        yield first.stage, [problem.id for problem in first.scored.problems], measurements
