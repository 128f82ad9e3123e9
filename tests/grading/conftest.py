from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2h_cli.grading import RuleGrader, get_grader

DATA = Path(os.environ.get("E2H_DATA") or Path(__file__).parents[3] / "shared" / "data")


@pytest.fixture(scope="session")
def gold_answers() -> list[str]:
    files = sorted((DATA / "math").glob("*.jsonl"))
    if not files:
        pytest.skip(f"no MATH answers in {DATA / 'math'}; set E2H_DATA to a folder that has them")
    return [json.loads(line)["answer"] for file in files for line in file.open(encoding="utf-8")]


@pytest.fixture(scope="session")
def math_verify() -> Iterator[RuleGrader]:
    with get_grader("math-verify", workers=1) as grader:
        yield grader


@pytest.fixture(scope="session")
def prm800k() -> Iterator[RuleGrader]:
    with get_grader("prm800k", workers=1) as grader:
        yield grader


@pytest.fixture(scope="session")
def official() -> Iterator[RuleGrader]:
    with get_grader("official", workers=1) as grader:
        yield grader


def verdict(grader: RuleGrader, gold: str, answer: str) -> str:
    return grader.grade([(gold, answer)])[0].verdict
