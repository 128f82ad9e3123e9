"""The work of ``e2h rerank``: score the samples, let them vote, say how sure the result is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2h_cli import scoring
from e2h_cli.candidates import find_candidates, find_scores
from e2h_cli.console import console
from e2h_cli.errors import InputError
from e2h_cli.grading import get_grader
from e2h_cli.pipeline import Work
from e2h_cli.pool import Pool, best_curve, pass_curve, pool_scores, pools_of, vote_curves
from e2h_cli.reporting import tables
from e2h_cli.reporting.results import (
    Measurement,
    Results,
    groups_of,
    summarise,
    write_results,
)
from e2h_cli.settings import Aggregation, RerankSettings
from e2h_cli.voting import Floats

VOTES = "votes.parquet"
_VOTES = pa.schema(
    {
        "id": pa.string(),
        "generator": pa.string(),
        "reward": pa.string(),
        "method": pa.string(),
        "aggregate": pa.string(),
        "k": pa.int32(),
        "accuracy": pa.float64(),
    }
)
# Best for each way to answer (paper p.8); an ORM has one score, that of the final token.
_AGGREGATE: dict[str, Aggregation] = {"weighted-voting": "prod", "best-of-n": "min"}


def run(work: Work) -> dict[str, Any]:
    """Score, vote at every pool size, write per-problem accuracies and the results."""
    settings = work.settings
    assert isinstance(settings, RerankSettings)
    candidates = find_candidates(work, settings)
    with get_grader(settings.grader, cache=work.grading_cache) as grader:
        pools = pools_of(candidates.samples, candidates.problems, grader)
    ks = pool_sizes(pools[0].size, settings.ks)
    if settings.show_tokens:
        show(work)
    scores, kind = find_scores(work, settings, candidates, pools)
    aggregates: dict[str, list[Aggregation]] = {
        m: settings.aggregate or ["last" if kind == "orm" else a] for m, a in _AGGREGATE.items()
    }
    measurements = measure(
        pools,
        scores,
        settings,
        ks,
        generator=candidates.generator,
        reward=candidates.reward,
        aggregates=aggregates,
    )
    write_votes(work.folder / VOTES, [pool.problem.id for pool in pools], measurements)
    results = summarise(
        measurements,
        contrasts(measurements),
        groups_of([pool.problem for pool in pools], candidates.max_level),
        grader=f"{grader.name} {grader.version}",
        confidence=settings.confidence,
        seed=settings.seed,
    )
    about = {"scale": work.scale, "samples_per_problem": pools[0].size, "draws": settings.draws}
    write_results(work.folder, results, about, present(results, work.scale, settings.confidence))
    return {
        "problems": len(pools),
        "samples_per_problem": pools[0].size,
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


def measure(
    pools: Sequence[Pool],
    scores: pa.Table | None,
    settings: RerankSettings,
    ks: Sequence[int],
    *,
    generator: str,
    reward: str,
    aggregates: Mapping[str, Sequence[str]],
) -> list[Measurement]:
    """Accuracy on each problem of majority voting, the chosen methods, and pass@k."""
    size = pools[0].size
    weightings: list[tuple[str, str, list[Floats]]] = [
        ("majority", "", [np.ones(pool.size) for pool in pools])
    ]
    if scores is not None and settings.method in ("all", "weighted-voting"):
        for how in aggregates["weighted-voting"]:
            weightings.append(("weighted-voting", how, pool_scores(scores, size, how)))
    curves = vote_curves(pools, [w for _, _, w in weightings], ks, settings.draws, settings.seed)
    lines = [
        (method, how, curve) for (method, how, _), curve in zip(weightings, curves, strict=True)
    ]
    if scores is not None and settings.method in ("all", "best-of-n"):
        for how in aggregates["best-of-n"]:
            lines.append(("best-of-n", how, best_curve(pools, pool_scores(scores, size, how), ks)))
    if settings.method == "all":
        lines.append(("pass", "", pass_curve(pools, ks)))
    return [
        Measurement(generator, reward if how else "", method, how, k, curve[:, j])
        for method, how, curve in lines
        for j, k in enumerate(ks)
    ]


def contrasts(measurements: Iterable[Measurement]) -> list[tuple[Measurement, Measurement]]:
    """Each way to use the reward model against majority voting, and the first two against each
    other, at the largest pool.
    """
    largest: dict[tuple[str, str, str, str], Measurement] = {}
    for m in measurements:
        key = (m.generator, m.reward, m.method, m.aggregate)
        if key not in largest or m.k > largest[key].k:
            largest[key] = m
    pairs = []
    for generator in dict.fromkeys(m.generator for m in largest.values()):
        mine = [m for m in largest.values() if m.generator == generator]
        used = [m for m in mine if m.method in ("weighted-voting", "best-of-n")]
        pairs += [(m, base) for m in used for base in mine if base.method == "majority"]
        first = {m.method: m for m in reversed(used)}
        if len(first) > 1:
            pairs.append((first["weighted-voting"], first["best-of-n"]))
    return pairs


def present(results: Results, scale: str, confidence: float) -> str:
    """Print the tables of results; return them as Markdown."""
    title = f"Accuracy in percent ({scale} scale, {confidence:.0%} intervals over problems)"
    tables.print_table(title, *tables.accuracy_rows(results.figures, console.width))
    accuracies = tables.accuracy_rows(results.figures)
    text = f"## {title}\n\n{tables.markdown_table(*accuracies)}"
    if results.comparisons:
        title = "Paired comparisons on the same problems (sign-flip permutation test)"
        compared = tables.comparison_rows(results.comparisons)
        tables.print_table(title, *compared)
        text += f"\n## {title}\n\n{tables.markdown_table(*compared)}"
    return text


def write_votes(file: Path, ids: Sequence[str], measurements: Iterable[Measurement]) -> None:
    """Write the accuracy of every measurement on every problem."""
    columns: dict[str, list[Any]] = {name: [] for name in _VOTES.names}
    for m in measurements:
        columns["id"] += ids
        for name in ("generator", "reward", "method", "aggregate", "k"):
            columns[name] += [getattr(m, name)] * len(ids)
        columns["accuracy"] += m.accuracy.tolist()
    pq.write_table(pa.table(columns, schema=_VOTES), file, compression="zstd")


def show(work: Work) -> None:
    """Print the first sample with the positions that are read and the values that stand there."""
    settings = work.settings
    assert isinstance(settings, RerankSettings)
    candidates = find_candidates(work, settings)
    first = candidates.samples.slice(0, 1).to_pylist()[0]
    problem = candidates.problems[first["id"]]
    finished = first["finish_reason"] == "stop"
    scoring.show(problem, first["text"], finished, work.place("reward"), settings.precision)
