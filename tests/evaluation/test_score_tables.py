"""Tables of scores as arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.common.parquet_store import SCORE_SCHEMA
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.sample_groups import SampleGroup
from e2h_cli.evaluation.score_tables import aggregate_scores, require_probabilities, sigmoid
from tests.evaluation.score_rows import tables


def group(key: str, *samples: int) -> SampleGroup:
    size = len(samples)
    problem = Problem(key, key, 1, "", "", answer="1")
    return SampleGroup(problem, samples, ("1",) * size, np.zeros(size, int), np.ones(size, bool))


def test_scores_of_each_problem_end_with_the_outcome() -> None:
    _, scores = tables()
    a, b = aggregate_scores(scores, [group("a", 0, 1), group("b", 0, 1)], "prod")
    assert a == pytest.approx([0.9 * 0.8 * 0.7, 0.9 * 0.2 * 0.1])
    assert b == pytest.approx([0.6 * 0.9, 0.3])
    (first,) = aggregate_scores(scores, [group("a", 0)], "last")
    assert first == pytest.approx([0.7])


def test_scores_are_joined_by_key_in_any_order() -> None:
    _, scores = tables()
    groups = [group("a", 0, 1), group("b", 0, 1)]
    expected = np.concatenate(aggregate_scores(scores, groups, "prod"))
    for order in ([3, 1, 2, 0], [2, 0, 3, 1]):
        shuffled = aggregate_scores(scores.take(order), groups, "prod")
        assert np.concatenate(shuffled) == pytest.approx(expected)
    with pytest.raises(InputError, match="sample 7 of 'a' has no score"):
        aggregate_scores(scores, [group("a", 0, 7)], "prod")
    with pytest.raises(InputError, match="stands twice"):
        aggregate_scores(pa.concat_tables([scores, scores]), groups, "prod")


def test_sigmoid_keeps_rows_and_schema() -> None:
    rows = [
        {"id": "a", "sample": 0, "step_scores": [0.0, 2.0], "outcome_score": -2.0},
        {"id": "a", "sample": 1, "step_scores": [], "outcome_score": 0.0},
        {"id": "b", "sample": 0, "step_scores": [-1e38], "outcome_score": 1e38},
    ]
    done = sigmoid(pa.Table.from_pylist(rows, schema=SCORE_SCHEMA))
    assert done.schema == SCORE_SCHEMA
    assert done["id"].to_pylist() == ["a", "a", "b"]
    high = 1 / (1 + np.exp(-2))
    steps = done["step_scores"].to_pylist()
    assert steps[0] == pytest.approx([0.5, high])
    assert steps[1:] == [[], [0.0]]
    assert done["outcome_score"].to_pylist() == pytest.approx([1 - high, 0.5, 1.0])


def test_sums_and_products_need_probabilities() -> None:
    require_probabilities("probability", "weighted-voting", ["prod"])
    require_probabilities("logit", "best-of-n", ["min", "last"])
    require_probabilities("logit", "majority", ["prod"])
    with pytest.raises(InputError, match="weighted voting needs probabilities"):
        require_probabilities("unknown", "weighted-voting", [])
    with pytest.raises(InputError, match=r"mean_odd, prod needs probabilities.*logit scale"):
        require_probabilities("logit", "best-of-n", ["prod", "mean_odd", "min"])
