"""The rules compared with the recorded verdicts of the originals on 7,155 pairs.

The columns ``official``, ``prm800k`` and ``math_verify`` of the file hold the verdicts of the
paper's released code, of the PRM800K grader and of math-verify. Every pair on which a rule differs
is listed, with the reason.
"""

from __future__ import annotations

import json

import pytest

from e2h_cli.grading import get_grader
from tests.conftest import DATA

DIFFERENCES = {
    "official": [],
    "prm800k": [
        ("3R^2", "3R^2.", True),  # sympy keeps r^2 and r^2.0 apart
        ("64a^6", "64a^6.", True),
        ("[-4,0)", "[-4,03)", False),  # sympy reads 03 as 0 times 3
    ],
    "math-verify": [],
}


@pytest.mark.parametrize(
    ("rule", "column"),
    [
        ("official", "official"),
        ("prm800k", "prm800k"),
        pytest.param("math-verify", "math_verify", marks=pytest.mark.slow),
    ],
)
def test_disagreements_with_the_original(rule: str, column: str) -> None:
    with (DATA / "golden" / "grading_pairs.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 7_155
    with get_grader(rule, workers=2) as grader:
        ours = [v.right for v in grader.grade([(row["gold"], row["pred"]) for row in rows])]
    differences = [
        (row["gold"], row["pred"], right)
        for row, right in zip(rows, ours, strict=True)
        if right is not row[column]
    ]
    assert sorted(differences) == sorted(DIFFERENCES[rule])
