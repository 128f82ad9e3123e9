"""Samples of problems as arrays, and their accuracy as a function of N."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.common.parquet_store import SAMPLE_SCHEMA
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.sample_groups import (
    best_of_n_curve,
    group_samples,
    pass_at_k_curve,
    vote_curves,
)
from e2h_cli.grading import get_grader

PROBLEMS = {
    key: Problem(key, key, 1, "", "", answer=gold) for key, gold in (("p", "1/2"), ("q", "5"))
}


def samples(**answers: list[str | None]) -> pa.Table:
    rows = [
        {"id": key, "sample": i, "text": "", "answer": answer}
        for key, given in answers.items()
        for i, answer in enumerate(given)
    ]
    return pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)


def test_equal_answers_are_one_class_and_groups_are_of_one_size() -> None:
    table = samples(q=["5", None, "7", "7"], p=["0.5", "3", "\\frac12"])
    with get_grader("e2h") as grader:
        q, p = group_samples(table, PROBLEMS, grader)
    assert (q.problem.id, q.size, q.answers) == ("q", 3, ("5", None, "7"))
    assert q.answer_classes.tolist() == [0, -1, 1]
    assert q.right_samples.tolist() == [True, False, False]
    assert p.answer_classes.tolist() == [0, 1, 0]
    assert p.right_classes.tolist() == [True, False]


def test_no_answer_is_right_for_another_of_its_class() -> None:
    pair = {"p": Problem("p", "p", 1, "", "", answer="(-2,1)")}
    given = ["1,-2", "-2,1", "(-2,1)", "1, -2"]
    with get_grader("e2h") as grader:
        assert len(set(grader.classes(["1,-2", "-2,1"]))) == 1
        alone = [verdict.right for verdict in grader.grade([("(-2,1)", a) for a in given])]
        (group,) = group_samples(samples(p=given), pair, grader)
    assert group.right_samples.tolist() == alone == [False, True, True, False]
    assert group.answer_classes.tolist() == [0, 1, 2, 0]
    assert group.right_classes.tolist() == [False, True, True]


def test_accuracy_as_a_function_of_n() -> None:
    with get_grader("exact") as grader:
        (group,) = group_samples(samples(q=["5", "7", "7", "5"]), PROBLEMS, grader)
    assert pass_at_k_curve([group], [1, 2, 4])[0] == pytest.approx([1 / 2, 5 / 6, 1])
    scores = [np.array([0.9, 0.8, 0.1, 0.2])]
    # Of two samples the best is right if the first is among them (3 of 6), or 2 and 3 are (1 of 6).
    assert best_of_n_curve([group], scores, [1, 2, 4])[0] == pytest.approx([1 / 2, 4 / 6, 1])
    curves = vote_curves([group], [[np.ones(4)], scores], [1, 4], 50, 0)
    assert curves.shape == (2, 1, 2)
    assert curves[0, 0, 0] == curves[1, 0, 0]  # the same subsets, and one sample is one sample
    assert curves[1, 0, 1] == 1.0
    again = vote_curves([group], [[np.ones(4)], scores], [1, 4], 50, 0)
    assert np.array_equal(curves, again)


def test_samples_without_a_gold_answer_are_refused() -> None:
    hidden = {**PROBLEMS, "p": PROBLEMS["p"].hidden()}
    with get_grader("exact") as grader:
        with pytest.raises(InputError, match="1 sampled problems have no gold answer here, 'p'"):
            group_samples(samples(p=["1"], q=["5"]), hidden, grader)
        with pytest.raises(InputError, match="no samples to vote on"):
            group_samples(samples(), PROBLEMS, grader)
