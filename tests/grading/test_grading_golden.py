"""The rules compared with the recorded verdicts of the originals on 7,155 pairs.

The columns ``official``, ``prm800k`` and ``math_verify`` of the file hold the verdicts of the
paper's released code, of the PRM800K grader and of math-verify. The known numbers of disagreements
are asserted exactly, so that any change of a verdict shows.
"""

from __future__ import annotations

import json

import pytest

from e2h_cli.grading import get_grader
from tests.conftest import DATA


@pytest.mark.parametrize(
    ("rule", "column", "only_ours_right", "only_original_right"),
    [
        ("official", "official", 201, 6),
        ("prm800k", "prm800k", 250, 38),
        pytest.param("math-verify", "math_verify", 231, 103, marks=pytest.mark.slow),
    ],
)
def test_disagreements_with_the_original(
    rule: str, column: str, only_ours_right: int, only_original_right: int
) -> None:
    with (DATA / "golden" / "grading_pairs.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 7_155
    with get_grader(rule, workers=2) as grader:
        ours = [v.right for v in grader.grade([(row["gold"], row["pred"]) for row in rows])]
    original = [row[column] for row in rows]
    assert (
        sum(right and not other for right, other in zip(ours, original, strict=True)),
        sum(other and not right for right, other in zip(ours, original, strict=True)),
    ) == (only_ours_right, only_original_right)
