"""The work of ``e2h rerank``: score the samples, let them vote, say how sure the result is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from e2h_cli.common.errors import InputError
from e2h_cli.evaluation.predictions import predictions, write_predictions
from e2h_cli.evaluation.sample_groups import (
    SampleGroup,
    aggregate_scores,
    best_of_n_curve,
    group_samples,
    pass_at_k_curve,
    vote_curves,
)
from e2h_cli.evaluation.voting import BEST_AGGREGATE, Floats
from e2h_cli.grading import get_grader
from e2h_cli.inference import scoring
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.reports.results import (
    VOTES,
    Measurement,
    contrasts,
    groups_of,
    summarise,
    write_results,
    write_votes,
)
from e2h_cli.reports.tables import present
from e2h_cli.settings.base import Aggregation
from e2h_cli.settings.rerank import RerankSettings
from e2h_cli.stages.candidates import Candidates, find_candidates, find_scores


def run(context: StageContext[RerankSettings]) -> dict[str, Any]:
    """Score, vote at every pool size, write per-problem accuracies and the results."""
    settings = context.settings
    candidates = find_candidates(context, settings)
    with get_grader(settings.grader, cache=context.verdict_cache) as grader:
        groups = group_samples(candidates.samples, candidates.problems, grader)
    ks = pool_sizes(groups[0].size, settings.ks)
    scores, kind = find_scores(context, settings, candidates, groups)
    aggregates: dict[str, list[Aggregation]] = {
        # An ORM has one score, that of the final token.
        m: settings.aggregate or ["last" if kind == "orm" else a]
        for m, a in BEST_AGGREGATE.items()
    }
    ways = weightings(groups, scores, settings, aggregates)
    measurements = measure(
        groups,
        ways,
        settings,
        ks,
        generator=candidates.generator,
        reward=candidates.reward,
    )
    write_predictions(
        context.output_dir,
        (row for method, how, weights in ways for row in predictions(groups, method, how, weights)),
    )
    write_votes(context.output_dir / VOTES, [pool.problem.id for pool in groups], measurements)
    results = summarise(
        measurements,
        contrasts(measurements),
        groups_of([pool.problem for pool in groups], candidates.max_level),
        grader=f"{grader.name} {grader.version}",
        confidence=settings.confidence,
        seed=settings.seed,
    )
    about = {"scale": context.scale, "samples_per_problem": groups[0].size, "draws": settings.draws}
    write_results(
        context.output_dir, results, about, present(results, context.scale, settings.confidence)
    )
    return {
        "problems": len(groups),
        "samples_per_problem": groups[0].size,
        "scored": 0 if scores is None else scores.num_rows,
        "score_scale": candidates.scale,
    }


def pool_sizes(size: int, wanted: Sequence[int] | None) -> list[int]:
    """The pool sizes to report: those asked for, or powers of two and the whole pool.

    Raises:
        InputError: one asked for is larger than the pool.
    """
    if wanted is None:
        return sorted({2**i for i in range(size.bit_length())} | {size})
    if max(wanted) > size:
        raise InputError(
            f"--ks {max(wanted)}: there are {size} samples per problem",
            hint=f"draw more with: e2h sample --n {max(wanted)}",
        )
    return sorted(set(wanted))


def weightings(
    groups: Sequence[SampleGroup],
    scores: pa.Table | None,
    settings: RerankSettings,
    aggregates: Mapping[str, Sequence[str]],
) -> list[tuple[str, str, list[Floats]]]:
    """Each way to answer: method, aggregation, and one (N,) array of weights per problem."""
    size = groups[0].size
    ways: list[tuple[str, str, list[Floats]]] = [
        ("majority", "", [np.ones(pool.size) for pool in groups])
    ]
    for method in ("weighted-voting", "best-of-n"):
        if scores is not None and settings.method in ("all", method):
            ways += [
                (method, how, aggregate_scores(scores, size, how)) for how in aggregates[method]
            ]
    return ways


def measure(
    groups: Sequence[SampleGroup],
    ways: Sequence[tuple[str, str, list[Floats]]],
    settings: RerankSettings,
    ks: Sequence[int],
    *,
    generator: str,
    reward: str,
) -> list[Measurement]:
    """Accuracy on each problem of majority voting, the chosen methods, and pass@k."""
    votes = [way for way in ways if way[0] != "best-of-n"]
    curves = vote_curves(groups, [w for _, _, w in votes], ks, settings.draws, settings.seed)
    lines = [(method, how, curve) for (method, how, _), curve in zip(votes, curves, strict=True)]
    lines += [
        (method, how, best_of_n_curve(groups, weights, ks))
        for method, how, weights in ways
        if method == "best-of-n"
    ]
    if settings.method == "all":
        lines.append(("pass", "", pass_at_k_curve(groups, ks)))
    return [
        Measurement(generator, reward if how else "", method, how, k, curve[:, j])
        for method, how, curve in lines
        for j, k in enumerate(ks)
    ]


def show_tokens(context: StageContext[RerankSettings]) -> None:
    """Print the first sample with the positions that are read and the values that stand there."""
    settings = context.settings
    _show(context, settings, find_candidates(context, settings))


def _show(
    context: StageContext[RerankSettings], settings: RerankSettings, candidates: Candidates
) -> None:
    first = candidates.samples.slice(0, 1).to_pylist()[0]
    problem = candidates.problems[first["id"]]
    finished = first["finish_reason"] == "stop"
    scoring.show(
        problem,
        first["text"],
        finished,
        context.model_or_path("reward_model"),
        settings.family,
        settings.precision,
    )
