"""Case studies of finished stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data.split_files import read_answered_problems
from e2h_cli.grading import get_grader
from e2h_cli.reports.case_pages import study_markdown
from e2h_cli.reports.cases import CaseStudy
from e2h_cli.stages.case_inputs import CaseKind, read_cases
from tests.conftest import copy_stages


def read(kind: CaseKind, *stages: Path) -> CaseStudy:
    problems = read_answered_problems(stages[0].parent / "split")
    with get_grader("exact") as grader:
        return read_cases(kind, stages, problems, 3, grader)


def test_cases_of_stages(mini_run: Path, tmp_path: Path) -> None:
    votes = read("votes", mini_run / "rerank")
    assert "Of 6 hard problems" in votes.rule and "weighted by prod" in votes.rule
    assert sum(number for _, number in votes.outcomes) == 6
    # With scores and without.
    style = read("style", mini_run / "greedy", mini_run / "rerank")
    assert sum(number for _, number in style.outcomes) == 12
    (case,) = style.cases
    assert (case.left.name, case.left.outcome_score) == ("greedy", None)
    assert case.right.name == "rerank" and case.right.outcome_score is not None
    assert len(case.right.step_scores) <= len(case.right.steps)
    other = copy_stages(mini_run, tmp_path / "other", "greedy")
    same = read("first-wrong", mini_run / "greedy", other / "greedy")
    assert f"{mini_run.name}/greedy wrong, other/greedy right: 0" in study_markdown(same)


def test_stages_that_have_no_such_cases(mini_run: Path) -> None:
    with pytest.raises(InputError, match="cases of style are of 2 stages, not of 1"):
        read("style", mini_run / "greedy")
    with pytest.raises(InputError, match=r"no accuracy\.parquet here"):
        read("votes", mini_run / "sample")
