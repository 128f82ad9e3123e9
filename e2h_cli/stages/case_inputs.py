"""Samples, scores and problems of stage folders, for case studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from e2h_cli.common import parquet_store
from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.sample_groups import group_samples
from e2h_cli.evaluation.voting import BEST_AGGREGATE
from e2h_cli.grading import Grader
from e2h_cli.inference.sampling import read_samples
from e2h_cli.pipeline.lineage import input_path
from e2h_cli.reports.cases import (
    CaseStudy,
    GradedSamples,
    first_wrong_cases,
    style_cases,
    vote_cases,
)
from e2h_cli.reports.result_files import IMPORTED, SCORES, read_measurements
from e2h_cli.reports.spec import CaseKind


def read_cases(
    kind: CaseKind,
    stages: Sequence[Path],
    problems: Mapping[str, Problem],
    max_level: int,
    grader: Grader,
    count: int = 1,
) -> CaseStudy:
    """Case studies of finished stages.

    Args:
        kind: votes, of one rerank stage; first-wrong or style, of two sample or rerank stages, of
            which the first is the generator before and the second that after a training.
        problems: with gold answers, by id.
        max_level: the last easy level.
        count: of cases to show.

    Raises:
        InputError: too many or too few stages, no votes by weights, or samples of other problems.
    """
    wanted = 1 if kind == "votes" else 2
    if len(stages) != wanted:
        raise InputError(f"cases of {kind} are of {wanted} stage{'s' * (wanted > 1)}, not of "
                         f"{len(stages)}")  # fmt: skip
    names = _names(stages)
    aggregation = _aggregation(stages[0]) if kind == "votes" else ""
    given = [
        _graded(stage, name, problems, grader) for stage, name in zip(stages, names, strict=True)
    ]
    if kind == "votes":
        return vote_cases(given[0], aggregation, max_level, count)
    before, after = given
    return (first_wrong_cases if kind == "first-wrong" else style_cases)(before, after, count)


def read_samples_and_scores(stage: Path) -> tuple[pa.Table, pa.Table | None]:
    """Samples of a sample or rerank stage, and the scores that the latter voted with, if any."""
    file = stage / SCORES / parquet_store.SCORES_FILE
    scores = None
    if file.is_file():
        scores = parquet_store.read_table(file, parquet_store.SCORE_SCHEMA)
    if (stage / IMPORTED).is_file():
        return pq.read_table(stage / IMPORTED), scores
    samples = input_path(stage, "samples")
    if scores is not None and samples is None:
        raise InputError("the record of this stage names no samples", where=stage)
    return read_samples(samples or stage), scores


def _graded(
    stage: Path, name: str, problems: Mapping[str, Problem], grader: Grader
) -> GradedSamples:
    samples, scores = read_samples_and_scores(stage)
    return GradedSamples(name, group_samples(samples, problems, grader), samples, scores)


def _aggregation(stage: Path) -> str:
    """The aggregation of the weights that a rerank stage voted with: the best one, if it is there.

    InputError where it has no votes by weights.
    """
    _, measurements = read_measurements(stage)
    used = [m.aggregate for m in measurements if m.method == "weighted-voting"]
    if not used:
        hint = "make them with: e2h rerank --method weighted-voting"
        raise InputError("no votes by weights here", where=stage, hint=hint)
    best = BEST_AGGREGATE["weighted-voting"]
    return best if best in used else used[0]


def _names(stages: Sequence[Path]) -> list[str]:
    """Names of stage folders, with their run folders where they would be the same."""
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        names = [f"{stage.parent.name}/{stage.name}" for stage in stages]
    return names
