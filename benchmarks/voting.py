"""Time and memory of voting at the paper's size, without grading, in one process.

OMP_NUM_THREADS=1 python -m benchmarks.voting [--problems 500] [--samples 1024] [--draws 400]

Majority voting, weighted voting and best-of-n under all seven aggregations, and pass@k, at every
power of two, for easy, hard, all, 5 levels and 7 subjects, with intervals and paired tests. Samples
and scores are synthetic: 100 to 300 distinct answers per problem, a few of them common. The
baseline is plain Python that counts each random subset by itself.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from e2h_cli.common import parquet_store
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.measurements import Measurement, contrasts
from e2h_cli.evaluation.sample_groups import (
    SampleGroup,
    best_of_n_curve,
    pass_at_k_curve,
    vote_curves,
)
from e2h_cli.evaluation.score_tables import scores_by_aggregation
from e2h_cli.evaluation.statistics import Floats, Ints
from e2h_cli.evaluation.voting import NO_ANSWER, permutations, vote_accuracy
from e2h_cli.reports.results import problem_groups, summarise
from e2h_cli.settings.base import AGGREGATIONS

TARGET_SECONDS = 10.0
TARGET_GIB = 1.0
_LEVELS, _SUBJECTS = 5, 7
_NAIVE_DRAWS = 4

Result = TypeVar("Result")


def main() -> None:
    """Print seconds by part, peak memory, and the ratio to plain Python."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ns = [2**i for i in range(options.samples.bit_length())]
    groups, scores = synthetic(options.problems, options.samples, options.seed)
    print(
        f"{options.problems} problems x {options.samples:,} samples, {len(ns)} values of N, "
        f"{options.draws} draws; before: {_peak_gib():.2f} GiB"
    )
    weightings, seconds, counts = vote(groups, scores, ns, options.draws, options.seed)
    total = sum(seconds.values())
    for part, value in seconds.items():
        print(f"  {part:36s} {value:8.2f} s")
    print(f"  {'total':36s} {total:8.2f} s (target {TARGET_SECONDS:.0f})")
    print(f"  {'peak memory':36s} {_peak_gib():8.2f} GiB (target {TARGET_GIB:.0f})")
    print(f"  {counts}")

    naive = compare_with_python(groups[0], [w[0] for w in weightings], ns)
    scale = options.draws / _NAIVE_DRAWS * options.problems
    part = _vote_part(weightings)
    print(
        f"plain Python: {naive:.2f} s for {_NAIVE_DRAWS} draws of one problem, so "
        f"{naive * scale / 60:,.0f} min for all votes: {naive * scale / seconds[part]:.0f} times "
        "as long, same result"
    )


def vote(
    groups: list[SampleGroup], scores: pa.Table, ns: Sequence[int], draws: int, seed: int
) -> tuple[list[list[Floats]], dict[str, float], str]:
    """Run all methods; returns the weightings, seconds by part, and counts of results."""
    seconds: dict[str, float] = {}

    def timed(part: str, work: Callable[[], Result]) -> Result:
        start = time.perf_counter()
        result = work()
        seconds[part] = time.perf_counter() - start
        return result

    combined = timed(
        f"aggregate, {len(AGGREGATIONS)} aggregations",
        lambda: scores_by_aggregation(scores, groups, AGGREGATIONS),
    )
    weightings = [[np.ones(group.size) for group in groups], *combined.values()]
    (votes,) = timed(
        _vote_part(weightings), lambda: vote_curves(groups, weightings, ns, draws, seed)
    )
    best = timed(
        f"best-of-n, {len(AGGREGATIONS)} aggregations",
        lambda: [best_of_n_curve(groups, values, ns) for values in combined.values()],
    )
    passed = timed("pass@k", lambda: pass_at_k_curve(groups, ns))
    measurements = [
        Measurement("generator", "prm" if aggregate else "", method, aggregate, n, curve[:, j])
        for method, aggregate, curve in [
            ("majority", "", votes[0]),
            *(("weighted-voting", a, c) for a, c in zip(AGGREGATIONS, votes[1:], strict=True)),
            *(("best-of-n", a, c) for a, c in zip(AGGREGATIONS, best, strict=True)),
            ("pass", "", passed),
        ]
        for j, n in enumerate(ns)
    ]
    masks = problem_groups([group.problem for group in groups], max_level=3)
    results = timed(
        f"intervals and tests, {len(masks)} groups",
        lambda: summarise(
            measurements, contrasts(measurements), masks, grader="none", confidence=0.95
        ),
    )
    counts = f"{len(results.metrics):,} metrics, {len(results.comparisons)} comparisons"
    return weightings, seconds, counts


def _vote_part(weightings: Sequence[Any]) -> str:
    return f"vote, {len(weightings)} weightings"


def synthetic(problems: int, samples: int, seed: int) -> tuple[list[SampleGroup], pa.Table]:
    """Groups with few common and many rare answers, and rows of ``SCORE_SCHEMA`` for them."""
    rng = np.random.default_rng(seed)
    groups: list[SampleGroup] = []
    tables: list[pa.Table] = []
    for i in range(problems):
        level = 1 + i % _LEVELS
        problem = Problem(f"p{i}", "?", level, f"subject {i % _SUBJECTS}", "benchmark", "0")
        count = min(int(rng.integers(100, 301)), samples)
        chance = 1 / np.arange(1, count + 1) ** rng.uniform(0.8, 1.6)
        # Every answer once, and the rest by chance.
        more = rng.choice(count, size=samples - count, p=chance / chance.sum())
        classes = rng.permutation(np.append(np.arange(count), more))
        classes[rng.random(samples) < 0.03] = NO_ANSWER
        right = np.zeros(count, dtype=bool)
        # The right answer is the commonest one, or another common one on hard problems.
        right[min(int(rng.geometric(1 / (0.6 + 0.4 * level))), count) - 1] = True
        answers = tuple(None if c == NO_ANSWER else str(c) for c in classes)
        is_right = np.append(right, False)[classes]
        groups.append(SampleGroup(problem, tuple(range(len(answers))), answers, classes, is_right))
        tables.append(_scores(problem.id, is_right, rng))
    return groups, pa.concat_tables(tables)


def _scores(key: str, right: np.ndarray[Any, Any], rng: np.random.Generator) -> pa.Table:
    lengths = rng.integers(3, 13, size=len(right))
    ends = np.cumsum(lengths)
    values = rng.beta(np.repeat(np.where(right, 8.0, 3.0), lengths), 1.5).astype(np.float32)
    steps = pa.ListArray.from_arrays(np.append(0, ends).astype(np.int32), values)
    outcome = rng.beta(np.where(right, 3.0, 1.0), 1.5).astype(np.float32)
    columns = [[key] * len(right), np.arange(len(right), dtype=np.int32), steps, outcome]
    return pa.Table.from_arrays([pa.array(c) for c in columns], schema=parquet_store.SCORE_SCHEMA)


def compare_with_python(group: SampleGroup, weights: Sequence[Floats], ns: Sequence[int]) -> float:
    """Seconds that ``plain_accuracy`` takes for a few draws of one problem.

    Raises:
        SystemExit: its accuracy differs from that of ``vote_accuracy``.
    """
    order = permutations(group.size, _NAIVE_DRAWS, np.random.default_rng(0))
    start = time.perf_counter()
    plain = plain_accuracy(group, weights, ns, order)
    seconds = time.perf_counter() - start
    fast = vote_accuracy(group.answer_classes, weights, group.right_samples[None], ns, order)[0]
    if not np.array_equal(plain, fast):
        raise SystemExit("plain Python votes otherwise")
    return seconds


def plain_accuracy(
    group: SampleGroup, weights: Sequence[Floats], ns: Sequence[int], order: Ints
) -> Floats:
    """(weightings, ns): accuracy, with each subset counted by itself, answer by answer."""
    accuracy = np.zeros((len(weights), len(ns)))
    for w, weight in enumerate(weights):
        for j, n in enumerate(ns):
            for draw in order:
                totals: dict[int, float] = {}
                for sample in draw[:n]:
                    label = int(group.answer_classes[sample])
                    if label != NO_ANSWER:
                        totals[label] = totals.get(label, 0.0) + float(weight[sample])
                # Of equal totals the first drawn wins: dicts keep their order.
                if totals:
                    winner = max(totals, key=totals.__getitem__)
                    first = next(i for i in draw[:n] if group.answer_classes[i] == winner)
                    accuracy[w, j] += group.right_samples[first] / len(order)
    return accuracy


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
