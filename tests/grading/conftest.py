from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from e2h_cli.grading import RuleGrader, get_grader
from tests.conftest import DATA


@pytest.fixture(scope="session")
def gold_answers() -> list[str]:
    """Distinct gold answers of MATH."""
    answers: list[str] = json.loads((DATA / "math/answers.json").read_text(encoding="utf-8"))
    return answers


@pytest.fixture(scope="session")
def e2h() -> Iterator[RuleGrader]:
    with get_grader("e2h", workers=1) as grader:
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
