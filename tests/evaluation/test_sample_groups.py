"""Samples of problems as arrays, and their accuracy as a function of N."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest

from e2h_cli.common.errors import InputError, RunError
from e2h_cli.common.parquet_store import SAMPLE_SCHEMA
from e2h_cli.data.problem import Problem
from e2h_cli.data.program_tests import ProgramTests
from e2h_cli.evaluation.measurements import VotingMethod, measure
from e2h_cli.evaluation.sample_groups import (
    AVERAGE,
    best_of_n_curve,
    group_samples,
    pass_at_k_curve,
    vote_curves,
)
from e2h_cli.grading import Verdict, get_grader

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


def test_no_answer_is_right_for_another_of_its_class() -> None:
    pair = {"p": Problem("p", "p", 1, "", "", answer="(-2,1)")}
    given = ["1,-2", "-2,1", "(-2,1)", "1, -2"]
    with get_grader("e2h") as grader:
        assert len(set(grader.classes(["1,-2", "-2,1"]))) == 1
        alone = [verdict.right for verdict in grader.grade([("(-2,1)", a) for a in given])]
        (group,) = group_samples(samples(p=given), pair, grader)
    assert group.right_samples.tolist() == alone == [False, True, True, False]
    assert group.answer_classes.tolist() == [0, 1, 2, 0]


def test_accuracy_as_a_function_of_n() -> None:
    with get_grader("exact") as grader:
        (group,) = group_samples(samples(q=["5", "7", "7", "5"]), PROBLEMS, grader)
    assert pass_at_k_curve([group], [1, 2, 4])[0] == pytest.approx([1 / 2, 5 / 6, 1])
    scores = [np.array([0.9, 0.8, 0.1, 0.2])]
    # Of two samples the best is right if the first is among them (3 of 6), or 2 and 3 are (1 of 6).
    assert best_of_n_curve([group], scores, [1, 2, 4])[0] == pytest.approx([1 / 2, 4 / 6, 1])
    (curves,) = vote_curves([group], [[np.ones(4)], scores], [1, 4], 50, 0)
    assert curves.shape == (2, 1, 2)
    assert curves[0, 0, 0] == curves[1, 0, 0]  # the same subsets, and one sample is one sample
    assert curves[1, 0, 1] == 1.0
    (again,) = vote_curves([group], [[np.ones(4)], scores], [1, 4], 50, 0)
    assert np.array_equal(curves, again)


def test_samples_without_a_gold_answer_are_refused() -> None:
    hidden = {**PROBLEMS, "p": PROBLEMS["p"].hidden()}
    with get_grader("exact") as grader:
        with pytest.raises(InputError, match="1 sampled problems have no gold answer here, 'p'"):
            group_samples(samples(p=["1"], q=["5"]), hidden, grader)
        with pytest.raises(InputError, match="no samples to vote on"):
            group_samples(samples(), PROBLEMS, grader)


class FakeProgramGrader:
    """Programs "a" to "d": a and b behave alike, b and c pass all tests."""

    name, version = "programs", "fake"
    passed: ClassVar = {"a": 1, "b": 4, "c": 4, "d": 0}

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        return [
            Verdict("right" if self.passed[p] == 4 else "wrong", "", passed=self.passed[p], run=4)
            for _, p in pairs
        ]

    def classes(self, answers: Sequence[str]) -> list[int]:
        raise AssertionError("classes of programs need public tests")

    def classes_of(self, groups: Sequence[tuple[Sequence[str], str | None]]) -> list[list[int]]:
        assert all(public == PUBLIC for _, public in groups)
        return [["aacd".index({"b": "a"}.get(p, p)) for p in programs] for programs, _ in groups]


PUBLIC = ProgramTests(("[1]",), (), "f").text()


def test_programs_vote_by_behaviour_and_count_by_their_own_tests() -> None:
    gold = ProgramTests(("[1]", "[2]", "[3]", "[4]"), ("1", "2", "3", "4"), "f").text()
    asked = {"p": Problem("p", "p", 1, "", "", answer=gold, public_tests=PUBLIC)}
    (group,) = group_samples(samples(p=["a", "b", "c", "d", None]), asked, FakeProgramGrader())
    # One class, although only one of the two passes the tests, which no vote may see.
    assert group.answer_classes.tolist() == [0, 0, 1, 2, -1]
    assert group.right_samples.tolist() == [False, True, True, False, False]
    assert group.values(AVERAGE).tolist() == [0.25, 1, 1, 0, 0]
    votes = [VotingMethod("majority", "", [np.ones(5)]),
             VotingMethod("best-of-n", "last", [np.array([0.9, 0.1, 0.5, 0.2, 1.0])])]  # fmt: skip
    found = measure([group], votes, [1, 5], draws=20_000, seed=0, generator="", reward_model="")
    value = {(m.method, m.metric, m.n): m.accuracy[0] for m in found}
    # The class of a and b wins; each is drawn first in half of the orders.
    assert value["majority", "accuracy", 5] == pytest.approx(0.5, abs=0.02)
    assert value["majority", "average accuracy", 5] == pytest.approx(0.625, abs=0.02)
    assert value["best-of-n", "accuracy", 5] == 0
    assert value["best-of-n", "average accuracy", 5] == 0.25
    assert value["best-of-n", "average accuracy", 1] == pytest.approx(2.25 / 5)
    assert value["pass", "accuracy", 1] == pytest.approx(2 / 5)
    assert ("pass", "average accuracy", 1) not in value


def test_programs_that_were_not_judged_are_no_wrong_ones() -> None:
    class Broken(FakeProgramGrader):
        def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
            return [Verdict("not judged", "no processes") for _ in pairs]

    asked = {"p": Problem("p", "p", 1, "", "", answer="{}", public_tests=PUBLIC)}
    with pytest.raises(RunError, match="2 of 2 programs could not be judged: no processes"):
        group_samples(samples(p=["a", "b"]), asked, Broken())
