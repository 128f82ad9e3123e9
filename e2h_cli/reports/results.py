"""Accuracy by group of problems with intervals, paired comparisons, and the finding in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e2h_cli.data.problem import Problem
from e2h_cli.evaluation import statistics
from e2h_cli.evaluation.measurements import Measurement
from e2h_cli.evaluation.sample_groups import ACCURACY
from e2h_cli.evaluation.statistics import MIN_TESTED, Bools
from e2h_cli.evaluation.voting import BEST_AGGREGATE

MAIN_GROUPS = ("easy", "hard", "all")
SIGNIFICANCE = 0.05
# Between a method and its reward model, where there are several.
BY = " by "


@dataclass(frozen=True, slots=True)
class Metric:
    """Mean accuracy of a method over a group of problems, in percent, with its interval."""

    group: str
    generator: str
    reward_model: str
    method: str
    aggregate: str
    n: int
    accuracy: float
    low: float
    high: float
    problems: int
    grader: str
    metric: str = ACCURACY


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two methods on the same problems: a - b in percentage points, interval and p-value.

    ``p`` is None for groups that are too small for the test; ``p_holm`` is corrected for the
    ``family`` of so many tests that are reported together (``with_holm``).
    """

    group: str
    a: str
    b: str
    n: int
    difference: float
    low: float
    high: float
    p: float | None
    p_holm: float | None = None
    family: int = 0


@dataclass(frozen=True, slots=True)
class Results:
    """All metrics and comparisons of a stage or a run."""

    metrics: list[Metric]
    comparisons: list[Comparison]


def problem_groups(problems: Sequence[Problem], max_level: int) -> dict[str, Bools]:
    """``group_masks`` of problems."""
    levels, subjects = (np.array([getattr(p, k) for p in problems]) for k in ("level", "subject"))
    return group_masks(levels, subjects, max_level)


def group_masks(levels: NDArray[Any], subjects: NDArray[Any], max_level: int) -> dict[str, Bools]:
    """Masks (problems,) of easy, hard, all, each level and subject; empty ones are left out.

    ``levels``, ``subjects``: (problems,).
    """
    # Imported problems without a level have level 0: neither easy nor hard.
    groups = {
        "easy": (levels > 0) & (levels <= max_level),
        "hard": levels > max_level,
        "all": levels >= 0,
    }
    groups |= {f"level-{level}": levels == level for level in np.unique(levels[levels > 0])}
    groups |= {f"subject-{name}": subjects == name for name in np.unique(subjects)}
    return {name: mask for name, mask in groups.items() if mask.any()}


def summarise(
    measurements: Sequence[Measurement],
    contrasts: Sequence[tuple[Measurement, Measurement]],
    groups: Mapping[str, Bools],
    *,
    grader: str,
    confidence: float,
    rounded: bool = True,
) -> Results:
    """Means, intervals over problems, and paired tests, for every group.

    Groups of less than ``MIN_TESTED`` problems get no p-values. ``rounded``: percent to two
    decimals, p-values to three digits.
    """

    def percent(*shares: float) -> tuple[float, float, float]:
        mean, low, high = (100 * float(share) for share in shares)
        return (round(mean, 2), round(low, 2), round(high, 2)) if rounded else (mean, low, high)

    results = Results([], [])
    for group, mask in groups.items():
        problems = int(mask.sum())
        for m in measurements:
            values = m.accuracy[mask]
            numbers = percent(values.mean(), *statistics.mean_interval(values, confidence))
            about = (m.generator, m.reward_model, m.method, m.aggregate, m.n)
            results.metrics.append(Metric(group, *about, *numbers, problems, grader, m.metric))
        for a, b in contrasts:
            test = statistics.compare(a.accuracy[mask], b.accuracy[mask], confidence)
            numbers = percent(test.difference, test.low, test.high)
            p = None if problems < MIN_TESTED else significant(test.p) if rounded else test.p
            results.comparisons.append(Comparison(group, label(a), label(b), a.n, *numbers, p))
    return results


def with_holm(results: Results) -> Results:
    """Add Holm's correction; a family is the tests of one table, and those of one kind of group.

    Families are easy, hard and all together, the levels, and the subjects, each under the best
    aggregations (the ones that tables show) and under the others.
    """
    names = main_names(results.metrics)
    families: dict[tuple[str, bool], list[int]] = {}
    for i, c in enumerate(results.comparisons):
        if c.p is not None:
            kind = "main" if c.group in MAIN_GROUPS else c.group.partition("-")[0]
            families.setdefault((kind, is_main(c, names)), []).append(i)
    comparisons = list(results.comparisons)
    for family in families.values():
        corrected = statistics.holm([comparisons[i].p or 0.0 for i in family])
        for i, p in zip(family, corrected, strict=True):
            comparisons[i] = replace(comparisons[i], p_holm=significant(p), family=len(family))
    return Results(results.metrics, comparisons)


def holm_of(p_values: Iterable[float | None]) -> list[float | None]:
    """Corrected by Holm as one family; None, where there was no test, stays None."""
    given = list(p_values)
    corrected = iter(statistics.holm([p for p in given if p is not None]))
    return [None if p is None else next(corrected) for p in given]


def main_names(metrics: Sequence[Metric]) -> set[str]:
    """Labels of the methods under their best aggregations."""
    return {label(m) for m in main_metrics(metrics)}


def is_main(c: Comparison, names: set[str]) -> bool:
    """Whether both methods are among ``names``, whatever the reward model."""
    return {c.a.partition(BY)[0], c.b} <= names


def significant(p: float) -> float:
    """A p-value to three digits."""
    return float(f"{p:.3g}")


def shown_p(p: float | None, equals: str = "") -> str:
    """A p-value in text, ``equals`` before it: ``= 0.0123``; ``<= 0.0001``; ``= -`` for None."""
    if p is None:
        return f"{equals}-"
    return "<= 0.0001" if p <= 0.0001 else f"{equals}{p:.4f}"


def label(m: Measurement | Metric) -> str:
    """A method and its aggregation: ``weighted-voting (prod)``."""
    return f"{m.method} ({m.aggregate})" if m.aggregate else m.method


def main_metrics(metrics: Sequence[Metric], metric: str = ACCURACY) -> list[Metric]:
    """Accuracies under the best aggregation of each method (paper p.8).

    Where a reward model was not used under the best aggregation, its first one is taken.
    """
    aggregates: dict[tuple[str, str], list[str]] = {}
    metrics = [m for m in metrics if m.metric == metric]
    for m in metrics:
        aggregates.setdefault((m.reward_model, m.method), []).append(m.aggregate)
    for (_, method), given in aggregates.items():
        # False sorts first: the best aggregation, if it is there.
        given.sort(key=lambda aggregate: aggregate != BEST_AGGREGATE.get(method))
    return [m for m in metrics if m.aggregate == aggregates[m.reward_model, m.method][0]]


def several_reward_models(metrics: Iterable[Metric | Measurement]) -> bool:
    """Whether more than one reward model was used."""
    return len({m.reward_model for m in metrics} - {""}) > 1


@dataclass(frozen=True, slots=True)
class ScoreOrigin:
    """Where scores are from, as the lineage proves it.

    Attributes:
        name: "a reward model with labels of levels 1-3 only", "scores of unknown training (FILE)".
        easy_only: whether it is proved that their training saw labels of easy problems only.
        note: what else is to be known of the training; may be empty.
    """

    name: str
    easy_only: bool = False
    note: str = ""


def finding(
    results: Results, made_at: str, max_level: int, origins: Mapping[str, ScoreOrigin]
) -> str:
    """One sentence on hard problems that claims no more than the test and the lineage show.

    ``origins``: where the scores of each reward model of the results are from.
    """
    place = f"{'On' if made_at == 'own data' else 'At'} {made_at}"
    hard = [c for c in results.comparisons if c.group == "hard"]
    main = f"weighted-voting ({BEST_AGGREGATE['weighted-voting']})"
    best = [c for c in hard if c.a.startswith(main) and "majority" in c.b]
    comparison = next(iter(best or [c for c in hard if c.a.startswith("weight")]), None)
    if comparison is None:
        return f"{place}: no weighted voting on hard problems was measured."
    shown = [m for m in main_metrics(results.metrics) if (m.group, m.n) == ("hard", comparison.n)]
    metrics = {m.method: m for m in reversed(shown)}
    weighted, majority = metrics["weighted-voting"], metrics["majority"]
    numbers = (
        f"{weighted.accuracy:.1f} % of {weighted.problems} hard problems "
        f"(levels {max_level + 1} and up) against {majority.accuracy:.1f} % by majority, with "
        f"{comparison.n} solutions each: {comparison.difference:+.1f} points "
        f"(one training run; over problems {comparison.low:+.1f} to {comparison.high:+.1f}, "
        f"p {shown_p(comparison.p_holm, '= ')})"
    )
    origin = origins[weighted.reward_model]
    verdict = "the scores do harm"
    if comparison.p_holm is None or comparison.p_holm >= SIGNIFICANCE:
        verdict = "no difference is shown"
    elif comparison.difference > 0:
        verdict = "the scores lift accuracy"
        verdict += " beyond what they were trained on" if origin.easy_only else ""
    return (
        f"{place}, voting weighted by {origin.name} solves {numbers}; {verdict}."
        + f" {origin.note}".rstrip()
    )
