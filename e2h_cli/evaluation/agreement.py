"""Agreement of reward models with one another and with the true outcome (paper p.29, Figure 15).

Each model says of each sample whether it is right: its score is at or above 0.5. The score of an
ORM is that of the final token ("last"). The score of a PRM is the lowest of its step scores ("min",
as in the paper's best-of-n): it is at or above 0.5 where no step is called wrong. The product,
which the paper's votes take, orders solutions but has no such border: of ten steps of 0.9 it is
0.35. The border decides a lot, so each row holds how often either one says "right".

It is not known which score the PRM of the paper's figure predicts with, nor whether its right and
wrong samples are balanced. They are not here: agreement is easy where nearly all are wrong, so that
Cohen's kappa stands beside each share. It is 0 for two that agree as often as by chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pyarrow as pa
from scipy.special import stdtrit

from e2h_cli.common.parquet_store import KEY_COLUMNS
from e2h_cli.evaluation.labelled_scores import ScoredSamples, labelled_outcomes
from e2h_cli.evaluation.rm_metrics import THRESHOLD
from e2h_cli.evaluation.score_tables import aggregate_rows, take_keys
from e2h_cli.evaluation.statistics import (
    Bools,
    Floats,
    Ints,
    PairedTest,
    compare,
    jackknife_variance,
    wilson_interval,
)

# The name of the verdict on the answer among those who say whether a sample is right.
OUTCOME = "outcome"
# The aggregation of scores that a kind of reward model predicts with.
PREDICTS = {"orm": "last", "prm": "min", "oprm": "min"}


@dataclass(frozen=True, slots=True)
class Said:
    """What models, and the grader as ``OUTCOME``, say of the same n samples.

    ``right``: name -> (n,) whether a sample is right; ``problem``: (n,) number of its problem.
    """

    right: Mapping[str, Bools]
    problem: Ints

    def select(self, problems: Bools) -> Said:
        """Samples of the problems in a mask (problems,); problems are renumbered."""
        chosen, number = problems[self.problem], np.cumsum(problems) - 1
        right = {name: said[chosen] for name, said in self.right.items()}
        return Said(right, number[self.problem[chosen]])


@dataclass(frozen=True, slots=True)
class Agreement:
    """How often ``a`` and ``b`` say the same of a sample, and Cohen's kappa, with intervals.

    ``a_right``, ``b_right``: share of samples that each calls right. Intervals are over problems.
    None: an interval that is unknown, or a kappa where both say the
    same of all samples.
    """

    group: str
    a: str
    b: str
    share: float
    low: float | None
    high: float | None
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    a_right: float
    b_right: float
    samples: int
    problems: int


def said_of(
    graded: ScoredSamples, scores: Mapping[str, pa.Table], aggregations: Mapping[str, str]
) -> Said:
    """What models and the grader say of graded samples, by name; the grader's is ``OUTCOME``.

    ``scores``: rows of ``SCORE_SCHEMA`` of each model, in any order; ``aggregations``: of
    each model, see ``PREDICTS``. InputError if a model has not scored one of the samples.
    """
    keys = [*zip(*(graded.samples[name].to_pylist() for name in KEY_COLUMNS), strict=True)]
    right = {
        name: aggregate_rows(take_keys(table, keys), aggregations[name]) >= THRESHOLD
        for name, table in scores.items()
    }
    problem = labelled_outcomes(graded.scores, graded.right, "last").problem
    return Said({**right, OUTCOME: graded.right}, problem)


def agreements(
    said: Said, groups: Mapping[str, Bools], *, confidence: float = 0.95
) -> list[Agreement]:
    """Agreement of each pair by group of problems; groups without samples are left out.

    ``groups``: masks (problems,). The interval of a share is Wilson's with the variance of a
    jackknife over problems, that of kappa Student's with the same variance.
    """
    rows = []
    for group, mask in groups.items():
        some, problems = said.select(mask), int(mask.sum())
        for a, b in combinations(some.right if len(some.problem) else (), 2):
            sums = _crossed(some.right[a], some.right[b], some.problem, problems)
            share, kappa = (float(of(sums.sum(axis=0)[None])[0]) for of in (_share, _kappa))
            low = high = kappa_low = kappa_high = None
            if not np.isnan(variance := jackknife_variance(_share, sums)):
                low, high = wilson_interval(share, variance, problems, confidence)
            if not np.isnan(variance := jackknife_variance(_kappa, sums)):
                half = (variance / problems) ** 0.5 * stdtrit(problems - 1, (1 + confidence) / 2)
                kappa_low, kappa_high = max(float(kappa - half), -1), min(float(kappa + half), 1)
            known = None if np.isnan(kappa) else kappa
            numbers = share, low, high, known, kappa_low, kappa_high
            a_right, b_right = (float(some.right[name].mean()) for name in (a, b))
            counts = a_right, b_right, len(some.problem), problems
            rows.append(Agreement(group, a, b, *numbers, *counts))
    return rows


def agrees_more(said: Said, model: str, a: str, b: str, confidence: float = 0.95) -> PairedTest:
    """Whether ``model`` agrees more with ``a`` than with ``b``: a paired comparison over problems.

    The paper's claim is that an ORM agrees more with a PRM than with the outcome, its own training
    target (p.29). A problem counts by the shares of its samples, whatever their number.
    """
    of_problem = np.bincount(said.problem)
    with_a, with_b = (
        np.bincount(said.problem, said.right[model] == said.right[other]) / of_problem
        for other in (a, b)
    )
    return compare(with_a, with_b, confidence)


def _crossed(a: Bools, b: Bools, problem: Ints, problems: int) -> Floats:
    """(problems, 4): samples that are right by both, by ``a`` alone, by ``b`` alone, by neither."""
    flags = (a & b, a & ~b, ~a & b, ~a & ~b)
    return np.column_stack([np.bincount(problem, flag, minlength=problems) for flag in flags])


def _share(sums: Floats) -> Floats:
    """(n,) share of samples on which both say the same, of ``_crossed`` (n, 4)."""
    return (sums[:, 0] + sums[:, 3]) / sums.sum(axis=1)


def _kappa(sums: Floats) -> Floats:
    """(n,) Cohen's kappa of ``_crossed`` (n, 4): (share - chance) / (1 - chance).

    Chance is what two would agree by that say "right" as often, each at random.
    """
    both, a, b, neither = sums.T
    samples = sums.sum(axis=1)
    chance = ((both + a) * (both + b) + (neither + a) * (neither + b)) / samples**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return (_share(sums) - chance) / (1 - chance)
