"""Voting methods, the answers they choose, and their accuracy on each problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from e2h_cli.common.errors import InputError
from e2h_cli.evaluation import sample_groups
from e2h_cli.evaluation.sample_groups import ACCURACY, AVERAGE, SampleGroup
from e2h_cli.evaluation.score_tables import scores_by_aggregation
from e2h_cli.evaluation.statistics import Floats
from e2h_cli.evaluation.voting import BEST_AGGREGATE, NO_ANSWER, best_of_n, weighted_vote


@dataclass(frozen=True, slots=True)
class Measurement:
    """Accuracy of one method with N = ``n`` samples: (problems,), in [0, 1].

    ``method``: majority, weighted-voting, best-of-n, pass, greedy or single sample;
    ``reward_model`` and ``aggregate`` are empty where the method uses no scores; ``metric``:
    "accuracy", of programs the share that passes all tests, or "average accuracy", of programs
    the share of tests that are passed (paper p.10).
    """

    generator: str
    reward_model: str
    method: str
    aggregate: str
    n: int
    accuracy: Floats
    metric: str = ACCURACY


@dataclass(frozen=True, slots=True)
class VotingMethod:
    """How one answer is chosen from N samples. ``weights``: one (N,) array per problem."""

    name: str
    aggregate: str
    weights: Sequence[Floats]


def values_of_n(samples: int, wanted: Sequence[int] | None) -> list[int]:
    """Values of N to report: those asked for, or powers of two and all samples of a problem.

    InputError if more samples are asked for than there are.
    """
    if wanted is None:
        return sorted({2**i for i in range(samples.bit_length())} | {samples})
    if max(wanted) > samples:
        raise InputError(
            f"--ks {max(wanted)}: there are {samples} samples per problem",
            hint=f"draw more with: e2h sample --n {max(wanted)}",
        )
    return sorted(set(wanted))


def voting_methods(
    groups: Sequence[SampleGroup],
    scores: pa.Table | None,
    *,
    method: str = "all",
    aggregates: Sequence[str] | None = None,
    only_outcome: bool = False,
) -> list[VotingMethod]:
    """Majority voting, and the chosen methods under each aggregation.

    Args:
        scores: rows of ``SCORE_SCHEMA``, or None; then there is only majority voting.
        method: weighted-voting, best-of-n, or all.
        aggregates: aggregations of step scores; by default the best of each method.
        only_outcome: the scores are of an ORM, which has one score, that of the final token.
    """
    methods = [VotingMethod("majority", "", [np.ones(group.size) for group in groups])]
    if scores is None:
        return methods
    chosen = {
        name: list(aggregates or ["last" if only_outcome else best])
        for name, best in BEST_AGGREGATE.items()
        if method in ("all", name)
    }
    names = dict.fromkeys(name for of_method in chosen.values() for name in of_method)
    combined = scores_by_aggregation(scores, groups, names)
    return methods + [
        VotingMethod(name, aggregation, combined[aggregation])
        for name, of_method in chosen.items()
        for aggregation in of_method
    ]


def predictions(
    groups: Sequence[SampleGroup], methods: Iterable[VotingMethod]
) -> Iterator[dict[str, Any]]:
    """The answer that each method chooses from all N samples of each problem.

    It is the first drawn text of the winning answer class, or None where no sample has an answer.
    """
    for method in methods:
        choose = best_of_n if method.name == "best-of-n" else weighted_vote
        for group, weights in zip(groups, method.weights, strict=True):
            winner = choose(group.answer_classes, weights)
            first = int(np.argmax(group.answer_classes == winner))
            yield {
                "id": group.problem.id,
                "method": method.name,
                "aggregate": method.aggregate,
                "answer": None if winner == NO_ANSWER else group.answers[first],
            }


def measure(
    groups: Sequence[SampleGroup],
    methods: Sequence[VotingMethod],
    ns: Sequence[int],
    *,
    draws: int,
    seed: int,
    generator: str,
    reward_model: str,
    with_pass_at_n: bool = True,
) -> list[Measurement]:
    """Accuracy of each method on each problem for each N in ``ns``.

    Voting is averaged over ``draws`` random subsets of size N; best-of-n and pass@N are exact.
    """
    metrics = metrics_of(groups)
    votes = [m for m in methods if m.name != "best-of-n"]
    best = [m for m in methods if m.name == "best-of-n"]
    weights = [m.weights for m in votes]
    curves = sample_groups.vote_curves(groups, weights, ns, draws, seed, metrics)
    rows = []
    for metric, of_votes in zip(metrics, curves, strict=True):
        found = [(m.name, m.aggregate, curve) for m, curve in zip(votes, of_votes, strict=True)]
        for m in best:
            curve = sample_groups.best_of_n_curve(groups, m.weights, ns, metric)
            found.append((m.name, m.aggregate, curve))
        if with_pass_at_n and metric == ACCURACY:
            found.append(("pass", "", sample_groups.pass_at_k_curve(groups, ns)))
        rows += [(metric, *row) for row in found]
    return [
        Measurement(
            generator, reward_model if aggregate else "", name, aggregate, n, curve[:, j], metric
        )
        for metric, name, aggregate, curve in rows
        for j, n in enumerate(ns)
    ]


def metrics_of(groups: Sequence[SampleGroup]) -> tuple[str, ...]:
    """What is measured on samples: of programs also the share of tests that are passed."""
    return (ACCURACY,) if groups[0].shares is None else (ACCURACY, AVERAGE)


def contrasts(measurements: Iterable[Measurement]) -> list[tuple[Measurement, Measurement]]:
    """Pairs to compare at the largest N.

    Every use of the reward model against majority voting, and the first weighted voting against the
    first best-of-n.
    """
    largest: dict[tuple[str, str, str, str], Measurement] = {}
    for m in (m for m in measurements if m.metric == ACCURACY):
        key = (m.generator, m.reward_model, m.method, m.aggregate)
        if key not in largest or m.n > largest[key].n:
            largest[key] = m
    pairs = []
    for generator in dict.fromkeys(m.generator for m in largest.values()):
        same = [m for m in largest.values() if m.generator == generator]
        scored = [m for m in same if m.method in BEST_AGGREGATE]
        pairs += [(m, base) for m in scored for base in same if base.method == "majority"]
        first = {m.method: m for m in reversed(scored)}
        if len(first) > 1:
            pairs.append((first["weighted-voting"], first["best-of-n"]))
    return pairs
