"""Which solutions of a problem the page holds; votes and verdicts are counted over all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from e2h_cli.evaluation.sample_groups import SampleGroup
from e2h_cli.evaluation.statistics import Bools, Floats

# Solutions that a page holds of each problem, at most and at least, where the user names no number.
MOST, FEWEST = 64, 4
# Characters of all solutions together. Of English and LaTeX a quarter is left after compression.
BUDGET = 24_000_000
# Of each voting method, beside the first solutions.
_HIGHEST = 4


def rule(size: int, limit: int) -> str:
    """In words, which of ``size`` solutions of a problem are kept; empty for all."""
    if size <= limit:
        return ""
    return (
        f"Of the {size:,} solutions of a problem, this page holds the first {limit:,} and, by the "
        f"scores of each voting method, the {_HIGHEST} highest, the best one with the chosen "
        "answer and the best right one. Votes, sums of weights and verdicts are counted over all."
    )


def kept_indices(group: SampleGroup, limit: int, votes: Iterable[tuple[Floats, int]]) -> list[int]:
    """Ascending indices of the solutions that are kept by the rule.

    ``votes``: of each method the weights (N,) and the answer class that it chooses.
    """
    if group.size <= limit:
        return list(range(group.size))
    kept = set(range(limit))
    for weights, winner in votes:
        kept.update(np.argsort(-weights, kind="stable")[:_HIGHEST].tolist())
        for mask in (group.answer_classes == winner, group.right_samples):
            if (best := best_of(mask, weights)) is not None:
                kept.add(best)
    return sorted(kept)


def best_of(mask: Bools, weights: Floats) -> int | None:
    """Index of the highest weight in a mask (N,), the first of equal ones; None in an empty one."""
    return int(np.argmax(np.where(mask, weights, -np.inf))) if mask.any() else None


def limit_for(sizes: Sequence[tuple[int, int, float]]) -> int:
    """Solutions of each problem with which all sample sets together keep to the budget.

    ``sizes``: of each set its number of problems, solutions per problem, and mean characters.
    """
    limit = MOST
    while limit > FEWEST:
        if sum(count * min(limit, size) * length for count, size, length in sizes) <= BUDGET:
            break
        limit //= 2
    return limit
