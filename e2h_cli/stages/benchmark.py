"""``e2h eval --benchmark``: a reward model on ProcessBench or PRMBench.

Reads the benchmark and the reward model. Writes scores/, predictions.jsonl (steps that the model
calls wrong, with all scores) and the metrics as processbench or prmbench.{json,csv,md}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError, RunError
from e2h_cli.common.files import write_jsonl
from e2h_cli.common.parquet_store import SAMPLE_SCHEMA
from e2h_cli.data.problem import Problem
from e2h_cli.data.step_benchmarks import PRMBENCH_CATEGORIES, MarkedSolution, read_benchmark
from e2h_cli.evaluation.benchmark_metrics import (
    BenchmarkMetric,
    prmbench_metrics,
    processbench_metrics,
    step_counts,
)
from e2h_cli.evaluation.rm_metrics import NO_ERROR, best_first_error, first_error
from e2h_cli.evaluation.score_tables import take_keys
from e2h_cli.evaluation.statistics import Floats, Ints
from e2h_cli.inference.scoring import score_samples
from e2h_cli.models.reward_formats import kind_of
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.reports.benchmark_tables import comparison_table, metrics_table, write_benchmark
from e2h_cli.settings.evaluate import EvalSettings


def run_benchmark(context: StageContext[EvalSettings]) -> dict[str, Any]:
    """Score the steps, measure, print and write."""
    settings, name = context.settings, context.settings.benchmark
    assert name is not None
    reward_model = context.model_or_path("reward_model")
    if kind_of(reward_model, settings.family) == "orm":
        raise InputError(
            f"scores whole solutions only, and {name} asks about steps",
            where=reward_model,
            hint="give a PRM or an OPRM",
        )
    solutions = read_benchmark(name, context.model_or_path("benchmark_data"))
    scored = _Scored(solutions, _step_scores(context, solutions))
    threshold, notes = settings.threshold, []
    if settings.threshold_from is not None:
        threshold, note = scored.best_threshold(settings.threshold_from)
        notes.append(note)
    metrics = (scored.processbench if name == "processbench" else scored.prmbench)(
        threshold, settings
    )
    write_jsonl(context.output_dir / "predictions.jsonl", scored.predictions(threshold))
    model = context.input_name("reward_model")
    title = (
        f"{name}: {model} ({context.made_at}, threshold {threshold:.4g}, "
        f"{settings.confidence:.0%} intervals over solutions)"
    )
    compared, note = comparison_table(name, metrics, model)
    tables, notes = [metrics_table(metrics, title), compared], [*notes, *filter(None, [note])]
    for shown in (*tables, *notes):
        console.print(shown)
    about = {
        "scale": context.scale,
        "benchmark": name,
        "data": context.input_names["benchmark_data"][0],
        "reward_model": context.input_names["reward_model"][0],
        "threshold": threshold,
        "threshold_from": settings.threshold_from,
        "confidence": settings.confidence,
    }
    write_benchmark(context.output_dir, name, about, metrics, tables, notes)
    return {"solutions": len(solutions), "steps": len(scored.scores), "threshold": threshold}


def _step_scores(
    context: StageContext[EvalSettings], solutions: Sequence[MarkedSolution]
) -> list[list[float]]:
    """The scores of the steps of each solution; those on disk are not computed again."""
    settings, fingerprints = context.settings, context.input_fingerprints
    # A solution that goes on has no end-of-text token behind its last step.
    common = {"sample": 0, "finish_reason": "length", "tokens": 0}
    rows = [{"id": s.id, "text": s.text, **common} for s in solutions]
    source = context.input_name("benchmark_data")
    table = score_samples(
        pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA),
        {s.id: Problem(s.id, s.question, 0, s.group, source) for s in solutions},
        context.model_or_path("reward_model"),
        context.output_dir / "scores",
        conditions={
            "benchmark": settings.benchmark,
            "samples": fingerprints["benchmark_data"],
            "reward_model": fingerprints["reward_model"],
            "precision": settings.precision,
            "family": settings.family,
        },
        family=settings.family,
        batch_tokens=settings.batch_tokens,
        precision=settings.precision,
        flush_seconds=settings.flush_seconds,
        workers=settings,
    )
    table = take_keys(table, [(s.id, 0) for s in solutions])
    columns = table["step_scores"].to_pylist(), table["outcome_score"].to_pylist()
    found = []
    for solution, steps, outcome in zip(solutions, *columns, strict=True):
        # Some families score the last step where others score the outcome.
        scores = [*steps, outcome][: len(solution.steps)]
        if len(scores) < len(solution.steps):
            raise RunError(
                f"{len(scores)} scores of {len(solution.steps)} steps", where=solution.id
            )
        found.append(scores)
    return found


class _Scored:
    """Solutions with the scores of their steps, which lie one after another in ``scores``."""

    def __init__(
        self, solutions: Sequence[MarkedSolution], step_scores: Sequence[list[float]]
    ) -> None:
        self.solutions = solutions
        self.scores: Floats = np.concatenate([np.asarray(one) for one in step_scores])
        self.lengths: Ints = np.array([len(one) for one in step_scores])
        self.first_wrong: Ints = np.array([min(s.wrong, default=NO_ERROR) for s in solutions])
        self._group = np.array([s.group for s in solutions])
        self.groups = list(dict.fromkeys(s.group for s in solutions))

    def best_threshold(self, split: str) -> tuple[float, str]:
        """The threshold with the highest F1 on a split, and a sentence that says so."""
        chosen = self._group == split
        if not chosen.any():
            raise InputError(
                f"--threshold-from {split}: no such split", hint=f"take {' or '.join(self.groups)}"
            )
        scores = self.scores[np.repeat(chosen, self.lengths)]
        threshold, best = best_first_error(scores, self.lengths[chosen], self.first_wrong[chosen])
        if np.isnan(best.f1):
            raise InputError(f"--threshold-from {split}: needs right and wrong solutions")
        note = (
            f"The threshold {threshold:.4g} has the highest F1 on {split}, where that F1 is an "
            "upper bound."
        )
        return threshold, note

    def processbench(self, threshold: float, settings: EvalSettings) -> list[BenchmarkMetric]:
        """The metrics of ProcessBench."""
        predicted = first_error(self.scores, self.lengths, threshold)
        splits = {}
        for group in self.groups:
            chosen = self._group == group
            splits[group] = predicted[chosen], self.first_wrong[chosen]
        return processbench_metrics(splits, confidence=settings.confidence, seed=settings.seed)

    def prmbench(self, threshold: float, settings: EvalSettings) -> list[BenchmarkMetric]:
        """The metrics of PRMBench."""
        wrong = [i in s.wrong for s in self.solutions for i in range(len(s.steps))]
        counts = step_counts(self.scores, np.array(wrong), self.lengths, threshold)
        names = [name for names in PRMBENCH_CATEGORIES.values() for name in names]
        categories = {n: counts[self._group == n] for n in names if n in self.groups}
        return prmbench_metrics(categories, confidence=settings.confidence, seed=settings.seed)

    def predictions(self, threshold: float) -> list[dict[str, Any]]:
        """A row per solution: marked steps, steps that score below the threshold, all scores."""
        rows = []
        parts = np.split(self.scores, np.cumsum(self.lengths)[:-1])
        for solution, scores in zip(self.solutions, parts, strict=True):
            called = np.flatnonzero(scores < threshold).tolist()
            about = {"id": solution.id, "group": solution.group, "wrong": list(solution.wrong)}
            rows.append({**about, "called_wrong": called, "scores": scores.round(9).tolist()})
        return rows
