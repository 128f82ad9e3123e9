"""Metrics of ProcessBench and PRMBench, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from e2h_cli.evaluation.benchmark_metrics import (
    BenchmarkMetric,
    prmbench_metrics,
    processbench_metrics,
    step_counts,
)
from e2h_cli.evaluation.statistics import bootstrap


def by_name(metrics: list[BenchmarkMetric]) -> dict[tuple[str, str], BenchmarkMetric]:
    return {(m.group, m.metric): m for m in metrics}


def test_first_errors() -> None:
    # Of 4 wrong solutions one is hit, of 2 right ones both; of the other split all are hit.
    first = np.array([1, 0, -1, 2, -1, -1]), np.array([1, 1, 1, 1, -1, -1])
    second = np.array([0, -1]), np.array([0, -1])
    splits = {"gsm8k": first, "math": second}
    found = by_name(processbench_metrics(splits, confidence=0.95, seed=0))
    assert found["gsm8k", "error accuracy"].value == 25
    assert found["gsm8k", "error accuracy"].solutions == 4
    assert found["gsm8k", "correct accuracy"].value == 100
    # Wilson's interval of 1 of 4.
    wilson = found["gsm8k", "error accuracy"]
    assert (wilson.low, wilson.high) == pytest.approx((4.56, 69.94), abs=0.01)
    assert found["gsm8k", "F1"].value == 40  # 2 * 25 * 100 / 125
    assert found["math", "F1"].value == 100
    assert found["mean", "F1"].value == 70
    assert found["weighted", "F1"].value == 55  # (6 * 40 + 2 * 100) / 8


def test_f1_of_first_errors_without_a_kind_is_undefined() -> None:
    only_right = {"gsm8k": (np.array([-1, 0]), np.array([-1, -1]))}
    found = by_name(processbench_metrics(only_right, confidence=0.95, seed=0))
    assert found["gsm8k", "correct accuracy"].value == 50
    assert found["gsm8k", "error accuracy"].value is None
    assert found["gsm8k", "F1"].value is None
    assert found["mean", "F1"].value is None


def test_steps_of_solutions_are_counted() -> None:
    scores = np.array([0.9, 0.5, 0.2, 0.1, 0.8])
    wrong = np.array([False, True, False, True, False])
    counts = step_counts(scores, wrong, np.array([2, 3]), 0.5)
    # right called right, right called wrong, wrong called wrong, wrong called right
    assert counts.tolist() == [[1, 0, 0, 1], [1, 1, 1, 0]]


def test_prm_scores() -> None:
    counts = {
        "redundancy": np.array([[1.0, 0, 0, 1], [1, 1, 1, 0]]),
        "circular": np.array([[2.0, 0, 2, 0]]),
        "multi_solutions": np.array([[3.0, 1, 0, 0]]),
    }
    found = by_name(prmbench_metrics(counts, confidence=0.95, seed=0))
    # 2 right steps are called right, 1 wrong; 1 wrong step is called wrong, 1 right.
    assert found["redundancy", "right F1"].value == 66.67  # 2 * 2 / (2 * 2 + 1 + 1)
    assert found["redundancy", "wrong F1"].value == 50  # 2 * 1 / (2 * 1 + 1 + 1)
    assert found["redundancy", "PRMScore"].value == 58.33
    assert found["circular", "PRMScore"].value == 100
    assert found["simplicity", "PRMScore"].value == 79.17  # mean of both
    assert ("sensitivity", "PRMScore") not in found  # two of its categories are not there
    # Without wrong steps: 2 * 3 / (2 * 3 + 1) alone.
    assert found["multi_solutions", "PRMScore"].value == 85.71
    # All steps: right F1 2 * 7 / (14 + 2 + 1), wrong F1 2 * 3 / (6 + 1 + 2).
    assert found["overall", "PRMScore"].value == 74.51
    assert found["overall", "PRMScore"].solutions == 4


def test_the_bootstrap_is_of_solutions() -> None:
    """Its spread is that of a mean of so many units, and it is the same for the same seed."""
    values = np.repeat([[0.0], [1.0]], 50, axis=0)
    draws = bootstrap(lambda sums: sums[:, 0] / 100, values, seed=1)
    assert draws.shape == (2000,)
    assert draws.mean() == pytest.approx(0.5, abs=0.005)
    assert draws.std() == pytest.approx(0.05, abs=0.003)  # (0.25 / 100) ** 0.5
    assert (bootstrap(lambda sums: sums[:, 0] / 100, values, seed=1) == draws).all()
    assert (bootstrap(lambda sums: sums[:, 0] / 100, values, seed=2) != draws).any()
