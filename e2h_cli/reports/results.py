"""What was measured: accuracies per problem, and the figures and comparisons made of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from e2h_cli.common import parquet_store
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import write_atomic, write_json
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.statistics import (
    BOOTSTRAP_DRAWS,
    bootstrap_interval,
    bootstrap_weights,
    compare,
    sign_flips,
)
from e2h_cli.evaluation.voting import Floats

VOTES = "accuracy.parquet"
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


@dataclass(frozen=True, slots=True)
class Measurement:
    """Accuracy of one way to answer, on each problem: ``accuracy`` is (problems,), in [0, 1]."""

    generator: str
    reward: str
    method: str
    aggregate: str
    k: int
    accuracy: Floats


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a table: mean accuracy over a group of problems, in percent."""

    group: str
    generator: str
    reward: str
    method: str
    aggregate: str
    k: int
    accuracy: float
    low: float
    high: float
    problems: int
    grader: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two ways to answer on the same problems: a - b in points, interval and p-value."""

    group: str
    a: str
    b: str
    k: int
    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class Results:
    """All figures and contrasts of a stage or a run."""

    figures: list[Metric]
    comparisons: list[Comparison]


def groups_of(problems: Sequence[Problem], max_level: int) -> dict[str, NDArray[np.bool_]]:
    """Masks (problems,) of easy, hard, all, each level and subject; empty ones are left out."""
    levels = np.array([p.level for p in problems])
    subjects = np.array([p.subject for p in problems])
    # Imported problems without a level have level 0: neither easy nor hard.
    groups = {
        "easy": (levels > 0) & (levels <= max_level),
        "hard": levels > max_level,
        "all": levels >= 0,
    }
    known = sorted(set(levels[levels > 0].tolist()))
    groups |= {f"level-{level}": levels == level for level in known}
    groups |= {f"subject-{name}": subjects == name for name in sorted(set(subjects.tolist()))}
    return {name: mask for name, mask in groups.items() if mask.any()}


def summarise(
    measurements: Sequence[Measurement],
    contrasts: Sequence[tuple[Measurement, Measurement]],
    groups: Mapping[str, NDArray[np.bool_]],
    *,
    grader: str,
    confidence: float,
    seed: int,
) -> Results:
    """Means, bootstrap intervals over problems, and paired tests, for every group."""
    figures: list[Metric] = []
    comparisons: list[Comparison] = []
    for name, mask in groups.items():
        rng = np.random.default_rng(seed)
        weights = bootstrap_weights(int(mask.sum()), BOOTSTRAP_DRAWS, rng)
        for m in measurements:
            values = m.accuracy[mask]
            low, high = bootstrap_interval(values, weights, confidence)
            figures.append(
                Metric(
                    group=name,
                    generator=m.generator,
                    reward=m.reward,
                    method=m.method,
                    aggregate=m.aggregate,
                    k=m.k,
                    accuracy=_percent(values.mean()),
                    low=_percent(low),
                    high=_percent(high),
                    problems=len(values),
                    grader=grader,
                )
            )
        signs = sign_flips(int(mask.sum()), rng)
        for a, b in contrasts:
            c = compare(a.accuracy[mask], b.accuracy[mask], weights, signs, confidence)
            comparisons.append(
                Comparison(
                    group=name,
                    a=label(a),
                    b=label(b),
                    k=a.k,
                    difference=_percent(c.difference),
                    low=_percent(c.low),
                    high=_percent(c.high),
                    p=round(c.p, 5),
                )
            )
    return Results(figures, comparisons)


def _percent(share: float) -> float:
    return round(100 * float(share), 2)


def label(m: Measurement | Metric) -> str:
    """A way to answer in one word or two: ``weighted-voting (prod)``."""
    return f"{m.method} ({m.aggregate})" if m.aggregate else m.method


def write_results(folder: Path, results: Results, about: Mapping[str, Any], markdown: str) -> None:
    """Write results.json, results.csv and results.md."""
    write_json(
        folder / "results.json",
        {
            **about,
            "figures": [asdict(f) for f in results.figures],
            "comparisons": [asdict(c) for c in results.comparisons],
        },
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Metric)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(f) for f in results.figures)
    write_atomic(folder / "results.csv", text.getvalue())
    write_atomic(folder / "results.md", markdown)


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


def write_votes(file: Path, ids: Sequence[str], measurements: Iterable[Measurement]) -> None:
    """Write the accuracy of every measurement on every problem."""
    columns: dict[str, list[Any]] = {name: [] for name in _VOTES.names}
    for m in measurements:
        columns["id"] += ids
        for name in ("generator", "reward", "method", "aggregate", "k"):
            columns[name] += [getattr(m, name)] * len(ids)
        columns["accuracy"] += m.accuracy.tolist()
    parquet_store.write_table(file, pa.table(columns, schema=_VOTES))


def read_votes(place: Path) -> tuple[list[str], list[Measurement]]:
    """Problem ids and measurements of a rerank stage. Raises InputError where it has none."""
    file = place / VOTES
    if not file.is_file():
        raise InputError(f"no {VOTES} here", where=place, hint="make it with: e2h rerank")
    table = pq.read_table(file)
    ids = list(dict.fromkeys(table["id"].to_pylist()))
    # Rows stand measurement by measurement, each with the problems in the same order.
    first = table.drop_columns(["id", "accuracy"]).take(list(range(0, table.num_rows, len(ids))))
    accuracy = table["accuracy"].to_numpy().reshape(-1, len(ids))
    return ids, [
        Measurement(**row, accuracy=values)
        for row, values in zip(first.to_pylist(), accuracy, strict=True)
    ]
