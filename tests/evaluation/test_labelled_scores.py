"""Scores with labels: which items are taken, and by which score."""

from __future__ import annotations

import numpy as np
import pytest

from e2h_cli.evaluation.labelled_scores import (
    labelled_outcomes,
    labelled_solutions,
    labelled_steps,
)
from tests.evaluation.score_rows import LABELS, tables


def test_labelled_steps_and_outcomes() -> None:
    _, scores = tables()
    steps = labelled_steps(scores, LABELS)
    np.testing.assert_allclose(steps.scores, [0.9, 0.8, 0.9, 0.2], atol=1e-6)
    assert steps.right.tolist() == [True, True, True, False]
    assert steps.problem.tolist() == [0, 0, 0, 0]
    outcomes = labelled_outcomes(scores, np.array([True, False, True, False]), "prod")
    np.testing.assert_allclose(outcomes.scores, [0.504, 0.018, 0.54, 0.3], atol=1e-6)
    assert outcomes.select(np.array([False, True])).problem.tolist() == [0, 0]
    with pytest.raises(ValueError, match="2 step scores, but 1 labels"):
        labelled_steps(scores, [[True]] * 4)


def test_solutions_leave_out_what_is_not_known() -> None:
    _, scores = tables()
    known = labelled_solutions(scores, LABELS)
    assert known.first_wrong.tolist() == [-1, 1]
    assert known.lengths.tolist() == [2, 2]
    assert known.problem.tolist() == [0, 0]
    # The first wrong step of the second sample is beyond its scored ones.
    beyond = [[True, True], [True, True, False], [False], []]
    assert labelled_solutions(scores, beyond).first_wrong.tolist() == [-1, 0]
