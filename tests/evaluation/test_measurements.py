"""Voting methods, the answers they choose, and what is compared."""

from __future__ import annotations

import numpy as np
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.measurements import (
    Measurement,
    VotingMethod,
    contrasts,
    measure,
    predictions,
    values_of_n,
    voting_methods,
)
from e2h_cli.evaluation.sample_groups import SampleGroup
from tests.evaluation.score_rows import tables

GROUPS = [
    SampleGroup(Problem(key, key, 1, "", "", answer="1"), (0, 1), ("1", "2"), np.array([0, 1]),
                np.array([True, False]))
    for key in ("a", "b")
]  # fmt: skip


def problem(name: str) -> Problem:
    return Problem(name, name, 1, "", "", answer="2")


def test_values_of_n() -> None:
    assert values_of_n(8, None) == [1, 2, 4, 8]
    assert values_of_n(6, None) == [1, 2, 4, 6]
    assert values_of_n(6, [5, 1, 5]) == [1, 5]
    with pytest.raises(InputError, match="--ks 9: there are 8 samples per problem"):
        values_of_n(8, [1, 9])


def test_methods_and_their_aggregations() -> None:
    _, scores = tables()

    def names(methods: list[VotingMethod]) -> list[tuple[str, str]]:
        return [(m.name, m.aggregate) for m in methods]

    majority = ("majority", "")
    assert names(voting_methods(GROUPS, None)) == [majority]
    best = [majority, ("weighted-voting", "prod"), ("best-of-n", "min")]
    assert names(voting_methods(GROUPS, scores)) == best
    orm = [majority, ("weighted-voting", "last"), ("best-of-n", "last")]
    assert names(voting_methods(GROUPS, scores, only_outcome=True)) == orm
    chosen = voting_methods(GROUPS, scores, method="best-of-n", aggregates=["min", "max"])
    assert names(chosen) == [majority, ("best-of-n", "min"), ("best-of-n", "max")]
    assert names(voting_methods(GROUPS, scores, method="majority")) == [majority]
    assert chosen[2].weights[1] == pytest.approx([0.9, 0.3])


def test_predictions_by_hand() -> None:
    group = SampleGroup(problem("p"), (0, 1, 2, 3, 4), ("1", "2", None, "2", "3"),
                np.array([0, 1, -1, 1, 2]), np.array([0, 1, 0, 1, 0], dtype=bool))  # fmt: skip
    none = SampleGroup(
        problem("q"), (0, 1, 2, 3, 4), (None,) * 5, np.array([-1] * 5), np.zeros(5, dtype=bool)
    )
    scores = [np.array([0.9, 0.3, 1.0, 0.4, 0.1]), np.ones(5)]
    methods = [
        VotingMethod("majority", "", [np.ones(5), np.ones(5)]),
        VotingMethod("weighted-voting", "prod", scores),
        VotingMethod("best-of-n", "min", scores),
    ]
    rows = list(predictions([group, none], methods))
    assert [row["answer"] for row in rows] == ["2", None, "1", None, "1", None]
    assert rows[2] == {"id": "p", "method": "weighted-voting", "aggregate": "prod", "answer": "1"}


def test_accuracy_of_each_method_for_each_n() -> None:
    _, scores = tables()
    methods = voting_methods(GROUPS, scores)
    common = {"draws": 20, "seed": 0, "generator": "sft", "reward_model": "prm"}
    found = measure(GROUPS, methods, [1, 2], **common)  # type: ignore[arg-type]
    at = {(m.method, m.n): m for m in found}
    assert list(at) == [
        (method, n)
        for method in ("majority", "weighted-voting", "best-of-n", "pass")
        for n in (1, 2)
    ]
    assert {m.method: m.reward_model for m in found} == {
        "majority": "", "weighted-voting": "prm", "best-of-n": "prm", "pass": ""
    }  # fmt: skip
    for method in ("weighted-voting", "best-of-n", "pass"):
        assert at[method, 2].accuracy.tolist() == [1.0, 1.0]
    assert at["pass", 1].accuracy.tolist() == [0.5, 0.5]
    without = measure(GROUPS, methods, [2], with_pass_at_n=False, **common)  # type: ignore[arg-type]
    assert {m.method for m in without} == {"majority", "weighted-voting", "best-of-n"}


def test_what_is_compared() -> None:
    def one(method: str, aggregate: str = "", n: int = 4, generator: str = "sft") -> Measurement:
        return Measurement(generator, "prm" if aggregate else "", method, aggregate, n, np.zeros(1))

    majority, prod, low = one("majority"), one("weighted-voting", "prod"), one("best-of-n", "min")
    other = one("weighted-voting", "min")
    given = [one("majority", n=2), majority, one("weighted-voting", "prod", 2), prod, other, low]
    found = contrasts([*given, one("pass"), one("greedy", generator="rl")])
    assert found == [(prod, majority), (other, majority), (low, majority), (prod, low)]
