"""Tables of scores as arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.common.parquet_store import SCORE_SCHEMA
from e2h_cli.evaluation.score_tables import aggregate_scores, require_probabilities, sigmoid
from tests.evaluation.score_rows import tables


def test_scores_of_each_problem_end_with_the_outcome() -> None:
    _, scores = tables()
    a, b = aggregate_scores(scores, 2, "prod")
    assert a == pytest.approx([0.9 * 0.8 * 0.7, 0.9 * 0.2 * 0.1])
    assert b == pytest.approx([0.6 * 0.9, 0.3])
    first, _ = aggregate_scores(scores, 1, "last")
    assert first == pytest.approx([0.7])


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
    require_probabilities("probability", "all", ["prod"])
    require_probabilities("logit", "best-of-n", ["min", "last"])
    require_probabilities("logit", "majority", ["prod"])
    for method in ("all", "weighted-voting"):
        with pytest.raises(InputError, match="weighted voting needs probabilities"):
            require_probabilities("unknown", method, [])
    with pytest.raises(InputError, match=r"mean_odd, prod needs probabilities.*logit scale"):
        require_probabilities("logit", "best-of-n", ["prod", "mean_odd", "min"])
