"""Groups of problems, intervals and comparisons by group, and the finding in words."""

from __future__ import annotations

import numpy as np
import pytest

from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.measurements import Measurement
from e2h_cli.reports.results import (
    Comparison,
    Metric,
    Results,
    ScoreOrigin,
    finding,
    problem_groups,
    shown_p,
    summarise,
    with_holm,
)


def test_groups_of_problems() -> None:
    problems = [
        Problem(str(i), "", level, subject, "")
        for i, (level, subject) in enumerate([(1, "x"), (3, "y"), (4, "x"), (0, "x")])
    ]
    groups = {name: mask.tolist() for name, mask in problem_groups(problems, 3).items()}
    # A problem of unknown level, 0, is neither easy nor hard.
    assert groups["easy"] == [True, True, False, False]
    assert groups["hard"] == [False, False, True, False]
    assert groups["all"] == [True] * 4
    assert groups["subject-x"] == [True, False, True, True]
    assert set(groups) == {
        "easy", "hard", "all", "level-1", "level-3", "level-4", "subject-x", "subject-y"
    }  # fmt: skip
    assert "hard" not in problem_groups(problems[:2], 3)


def test_means_intervals_and_comparisons_by_group() -> None:
    a = Measurement("sft", "prm", "weighted-voting", "prod", 4, np.array([1.0, 1.0, 1 / 3]))
    b = Measurement("sft", "", "majority", "", 4, np.array([0.0, 1.0, 1 / 3]))
    groups = {"all": np.ones(3, dtype=bool), "hard": np.array([False, False, True])}
    common = {"grader": "exact 1", "confidence": 0.95}
    results = summarise([a, b], [(a, b)], groups, **common)  # type: ignore[arg-type]
    every, _, hard, _ = results.metrics
    assert (every.accuracy, every.problems, every.grader) == (77.78, 3, "exact 1")
    assert every.low < every.accuracy < every.high
    # One problem says next to nothing.
    assert hard.low < 10 < 80 < hard.high
    difference, same = results.comparisons
    assert (difference.a, difference.b) == ("weighted-voting (prod)", "majority")
    assert difference.difference == 33.33
    # Three problems are too few for a test.
    assert (same.difference, same.p) == (0.0, None)
    exact = summarise([a, b], [(a, b)], groups, rounded=False, **common)  # type: ignore[arg-type]
    assert exact.metrics[0].accuracy == pytest.approx(700 / 9, abs=1e-9)
    assert exact.comparisons[0].difference == pytest.approx(100 / 3, abs=1e-9)


def test_holm_within_the_tests_of_a_table() -> None:
    """Two tests of the table, one under another aggregation, one of a level, one without p."""
    methods = [("majority", "", ""), *(("weighted-voting", "r", a) for a in ("prod", "min"))]
    metrics = [
        Metric("all", "sft", name, method, aggregate, 8, 50.0, 40.0, 60.0, 99, "exact")
        for method, name, aggregate in methods
    ]
    rows = [("easy", "prod", 0.03), ("hard", "prod", 0.02), ("hard", "min", 0.01),
            ("level-1", "prod", 0.01), ("all", "prod", None)]  # fmt: skip
    comparisons = [
        Comparison(group, f"weighted-voting ({a}) by r", "majority", 8, 1.0, 0.0, 2.0, p)
        for group, a, p in rows
    ]
    found = with_holm(Results(metrics, comparisons)).comparisons
    assert [(c.p, c.p_holm, c.family) for c in found] == [
        (0.03, 0.04, 2), (0.02, 0.04, 2), (0.01, 0.01, 1), (0.01, 0.01, 1), (None, None, 0)
    ]  # fmt: skip


def test_p_values_in_text() -> None:
    shown = [shown_p(p, "= ") for p in (0.0001, 1e-9, 0.01234, 1.0, None)]
    assert shown == ["<= 0.0001", "<= 0.0001", "= 0.0123", "= 1.0000", "= -"]


@pytest.mark.parametrize(
    ("difference", "p", "easy_only", "verdict"),
    [
        (10.0, 0.01, True, "the scores lift accuracy beyond what they were trained on"),
        (10.0, 0.01, False, "the scores lift accuracy"),
        (-10.0, 0.01, True, "the scores do harm"),
        (10.0, 0.05, True, "no difference is shown"),
    ],
)
def test_the_finding_claims_no_more_than_the_test_and_the_lineage(
    difference: float, p: float, easy_only: bool, verdict: str
) -> None:
    def metric(method: str, aggregate: str, accuracy: float) -> Metric:
        name = "prm" if aggregate else ""
        about = ("hard", "sft", name, method, aggregate, 8)
        return Metric(*about, accuracy, 0.0, 100.0, 20, "exact")

    metrics = [metric("majority", "", 40.0), metric("weighted-voting", "min", 45.0),
               metric("weighted-voting", "prod", 40.0 + difference)]  # fmt: skip
    comparisons = [
        Comparison("hard", f"weighted-voting ({a})", "majority", 8, d, -1.0, 1.0, p / 9, p, 9)
        for a, d in (("min", 5.0), ("prod", difference))
    ]
    origins = {"prm": ScoreOrigin("scores of FILE", easy_only, "A note.")}
    text = finding(Results(metrics, comparisons), "tiny scale", 3, origins)
    assert text.endswith(f"; {verdict}. A note.")
    assert "voting weighted by scores of FILE solves" in text
    assert f"solves {40 + difference:.1f} % of 20 hard problems (levels 4 and up)" in text
    assert f"with 8 solutions each: {difference:+.1f} points" in text
    assert "no weighted voting on hard problems" in finding(
        Results(metrics, []), "tiny scale", 3, {}
    )
