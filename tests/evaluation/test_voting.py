"""Aggregation and votes on hand-computed numbers, and against brute force."""

from __future__ import annotations

import math
from itertools import permutations as all_orders

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2h_cli.evaluation.voting import (
    aggregate,
    best_of_n,
    permutations,
    vote_accuracy,
    weighted_vote,
)
from e2h_cli.settings.base import AGGREGATIONS


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("min", [0.2, 0.5]),
        ("max", [0.8, 0.5]),
        ("prod", [0.08, 0.5]),
        ("mean", [0.5, 0.5]),
        ("last", [0.2, 0.5]),
        ("mean_logit", [0.5, 0.5]),
        ("mean_odd", [(4 + 1 + 0.25) / 3, 1.0]),
    ],
)
def test_aggregations_by_hand(aggregation: str, expected: list[float]) -> None:
    scores = np.array([0.8, 0.5, 0.2, 0.5])
    assert aggregate(scores, np.array([3, 1]), aggregation) == pytest.approx(expected)


def test_the_case_studies_of_the_paper_are_plain_products() -> None:
    """Paper p.37: the shown step scores multiply to the shown final rewards."""
    wrong = np.array([0.97, 0.97, 0.28, 0.11, 0.07, 0.03])
    right = np.array([0.98, 0.98, 0.98, 0.98, 0.79])
    lengths = np.array([6, 5])
    result = aggregate(np.concatenate([wrong, right]), lengths, "prod")
    assert result == pytest.approx([6.1e-5, 0.73], rel=0.02)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_certain_scores_stay_finite(aggregation: str) -> None:
    assert np.isfinite(aggregate(np.array([0.0, 1.0]), np.array([2]), aggregation)).all()


def test_aggregate_refuses_nonsense() -> None:
    assert aggregate(np.zeros(0), np.zeros(0, dtype=np.int64), "min").tolist() == []
    with pytest.raises(ValueError, match="no scores"):
        aggregate(np.array([0.5]), np.array([1, 0]), "min")
    with pytest.raises(ValueError, match="unknown"):
        aggregate(np.array([0.5]), np.array([1]), "median")


def test_votes_by_hand() -> None:
    classes = np.array([0, 1, 1, -1, 2])
    assert weighted_vote(classes, np.ones(5)) == 1
    assert weighted_vote(classes, np.array([0.9, 0.2, 0.2, 5.0, 0.1])) == 0  # no answer, no vote
    assert best_of_n(classes, np.array([0.1, 0.2, 0.3, 0.9, 0.8])) == 2
    assert weighted_vote(np.array([-1, -1]), np.ones(2)) == -1
    assert best_of_n(np.array([-1]), np.ones(1)) == -1


def test_the_weighted_vote_of_the_paper_s_example() -> None:
    """Paper p.37: 36 has the most votes, 10 the largest sum of scores."""
    votes, totals = [139, 99, 132, 94], [11.3, 23.7, 0.03, 17.3]
    classes = np.repeat(np.arange(4), votes)
    weights = np.repeat(np.array(totals) / votes, votes)
    assert weighted_vote(classes, np.ones(len(classes))) == 0
    assert weighted_vote(classes, weights) == 1


def test_ties_go_to_the_first() -> None:
    assert weighted_vote(np.array([1, 0, 0, 1]), np.ones(4)) == 1
    assert best_of_n(np.array([1, 0]), np.array([0.5, 0.5])) == 1
    assert weighted_vote(np.array([1, 0]), np.zeros(2)) == 1


def test_draws_are_without_replacement() -> None:
    order = permutations(10, 7, np.random.default_rng(0))
    assert order.shape == (7, 10)
    assert all(sorted(row) == list(range(10)) for row in order.tolist())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(-1, 3), min_size=1, max_size=5),
    st.integers(0, 15),
    st.integers(0, 10_000),
)
def test_accuracy_over_all_orders_is_that_of_single_votes(
    classes: list[int], right_bits: int, seed: int
) -> None:
    """All orders, with ties and missing answers, against ``weighted_vote`` one by one."""
    right = np.array([bool(right_bits >> c & 1) for c in range(4)])
    rng = np.random.default_rng(seed)
    answers = np.array(classes)
    weightings = [np.ones(len(answers)), rng.choice([0.0, 0.25, 0.5, 1.0], len(answers))]
    order = np.array(list(all_orders(range(len(answers)))))
    ks = list(range(1, len(answers) + 1))
    # What each sample is worth may differ within a class, as of programs of equal behaviour.
    shares = rng.random(len(answers))
    values = np.stack([(right[answers] & (answers >= 0)).astype(float), shares])
    found = vote_accuracy(answers, weightings, values, ks, order)
    for w, weights in enumerate(weightings):
        for j, k in enumerate(ks):
            winners = [weighted_vote(answers[row[:k]], weights[row[:k]]) for row in order]
            expected = np.mean([c >= 0 and right[c] for c in winners])
            assert found[0, w, j] == pytest.approx(expected)
            first = [
                row[answers[row] == c][0] for row, c in zip(order, winners, strict=True) if c >= 0
            ]
            assert found[1, w, j] == pytest.approx(shares[first].sum() / len(order) if first else 0)


def test_majority_of_one_is_the_share_of_right_samples() -> None:
    classes = np.array([0, 0, 1, -1])
    order = permutations(4, 20_000, np.random.default_rng(1))
    found = vote_accuracy(classes, [np.ones(4)], np.array([[1.0, 1, 0, 0]]), [1, 4], order)
    assert math.isclose(found[0, 0, 0], 0.5, abs_tol=0.02)
    assert found[0, 0, 1] == 1.0
