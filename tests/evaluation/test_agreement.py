"""Agreement of reward models with one another and with the true outcome."""

from __future__ import annotations

import numpy as np
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.evaluation.agreement import OUTCOME, Said, agreements, agrees_more, said_of
from e2h_cli.evaluation.labelled_scores import ScoredSamples
from tests.evaluation.score_rows import many, tables


def said(*rows: str, problem: list[int]) -> Said:
    """ORM, PRM and outcome, each a string of one sign per sample: + is right."""
    names = ("ORM", "PRM", OUTCOME)
    right = {n: np.array([sign == "+" for sign in row]) for n, row in zip(names, rows, strict=True)}
    return Said(right, np.array(problem))


def test_shares_and_kappa_by_hand() -> None:
    """ORM and PRM differ in one of 8 samples, ORM and outcome in two."""
    eight = said("++------", "+-------", "++++----", problem=[0, 0, 1, 1, 2, 2, 3, 3])
    groups = {"all": np.ones(4, dtype=bool), "easy": np.array([True, False, False, False])}
    rows = {(r.group, r.a, r.b): r for r in agreements(eight, groups)}
    pairs = [("ORM", "PRM"), ("ORM", OUTCOME), ("PRM", OUTCOME)]
    assert list(rows) == [(group, *pair) for group in groups for pair in pairs]
    both = rows["all", "ORM", "PRM"]
    assert (both.share, both.samples, both.problems) == (7 / 8, 8, 4)
    assert (both.a_right, both.b_right) == (2 / 8, 1 / 8)
    # Chance: 2/8 of 1/8 and 6/8 of 7/8 say the same.
    assert both.kappa == pytest.approx((7 / 8 - 44 / 64) / (1 - 44 / 64))
    assert rows["all", "ORM", OUTCOME].kappa == pytest.approx((6 / 8 - 1 / 2) / (1 - 1 / 2))
    assert both.low is not None and both.high is not None and both.low < 7 / 8 < both.high
    easy = rows["easy", "ORM", "PRM"]
    assert (easy.share, easy.low, easy.kappa_low) == (0.5, None, None)


def test_nearly_all_wrong_is_easy_to_agree_on() -> None:
    """98 of 100 samples agree, and no better than by chance."""
    rare = said("+" + 99 * "-", "-+" + 98 * "-", 100 * "-", problem=list(range(100)))
    by_pair = {(r.a, r.b): r for r in agreements(rare, {"all": np.ones(100, dtype=bool)})}
    pair = by_pair["ORM", "PRM"]
    assert pair.share == 0.98
    assert pair.kappa == pytest.approx(-0.01, abs=1e-3)
    nothing = said(*3 * ["-" * 4], problem=[0, 0, 1, 1])
    assert {r.kappa for r in agreements(nothing, {"all": np.ones(2, dtype=bool)})} == {None}


def test_whether_the_orm_agrees_more_with_the_prm_than_with_its_target() -> None:
    """In each of 40 problems the ORM differs from the outcome once more than from the PRM."""
    pattern = said("++--" * 40, "+---" * 40, "----" * 40, problem=sorted([*range(40)] * 4))
    test = agrees_more(pattern, "ORM", "PRM", OUTCOME)
    assert test.difference == 0.25
    assert test.low > 0 and test.p < 0.001
    assert agrees_more(pattern, "PRM", "ORM", OUTCOME).difference == 0


def test_predictions_are_joined_by_sample_and_cut_at_half() -> None:
    samples, scores = tables()
    graded = ScoredSamples(samples, scores, np.array([True, False, True, False]), [], None)
    shuffled = scores.take([3, 1, 0, 2])
    found = said_of(graded, {"ORM": shuffled, "PRM": shuffled}, {"ORM": "last", "PRM": "prod"})
    assert found.right["ORM"].tolist() == [True, False, True, False]
    # prod: 0.9 x 0.8 x 0.7 = 0.504, 0.018, 0.54, 0.3.
    assert found.right["PRM"].tolist() == [True, False, True, False]
    assert found.problem.tolist() == [0, 0, 1, 1]
    assert found.right[OUTCOME] is graded.right
    with pytest.raises(InputError, match="has no score"):
        said_of(graded, {"ORM": scores.slice(1)}, {"ORM": "last"})


def test_intervals_cover_the_value_and_shrink() -> None:
    samples, scores, right, _ = many()
    graded = ScoredSamples(samples, scores, right, [], None)
    found = said_of(graded, {"ORM": scores, "PRM": scores}, {"ORM": "last", "PRM": "min"})
    whole, few = (
        agreements(found, {"": np.arange(60) < problems})[0] for problems in (60, 8)
    )  # fmt: skip
    for row in (whole, few):
        assert row.low < row.share < row.high  # type: ignore[operator]
        assert row.kappa_low < row.kappa < row.kappa_high  # type: ignore[operator]
    assert whole.high - whole.low < few.high - few.low  # type: ignore[operator]
