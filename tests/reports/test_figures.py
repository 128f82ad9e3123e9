"""The plots are written, and the same data gives the same file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2h_cli.evaluation.labelled_scores import LabelledScores, labelled_outcomes, labelled_steps
from e2h_cli.reports.figures import plot_accuracy_against_n, plot_reward_model
from e2h_cli.reports.paper_numbers import MATH500, paper_curves
from e2h_cli.reports.results import Metric
from tests.evaluation.score_rows import many


def test_plot_is_written_twice(tmp_path: Path) -> None:
    _, scores, right, labels = many(10, 20)
    items = {
        "Steps": labelled_steps(scores, labels),
        "Outcomes": labelled_outcomes(scores, right, "last"),
    }
    paths = plot_reward_model(items, tmp_path / "reward", note="tiny scale")
    assert [p.name for p in paths] == ["reward.png", "reward.svg"]
    assert all(p.stat().st_size > 5_000 for p in paths)
    again = plot_reward_model(items, tmp_path / "again", note="tiny scale")
    assert again[1].read_bytes() == paths[1].read_bytes()


def test_plot_of_outcomes_that_are_all_right(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    only = LabelledScores(np.array([0.2, 0.9]), np.array([True, True]), np.array([0, 1]))
    paths = plot_reward_model({"Outcomes": only}, tmp_path / "reward", note="")
    assert all(path.is_file() for path in paths)
    assert not recwarn.list


def test_curves_of_the_paper_are_dashed_and_named(tmp_path: Path) -> None:
    """One panel per group, each with a dashed line per method that we have, too."""
    metrics = [
        Metric(group, "sft", "", "majority", "", n, 20.0 + n, 10.0, 30.0, problems, "exact")
        for group, problems in MATH500.items()
        for n in (1, 4)
    ]

    def svg(**options: Any) -> str:
        plot_accuracy_against_n(metrics, tmp_path / "n", max_level=3, note="", **options)
        return (tmp_path / "n.svg").read_text()

    with_paper, without = svg(paper=paper_curves(4, size="7b")), svg()
    assert with_paper.count("stroke-dasharray") == 3 + 1
    assert "<!-- Paper, Figure 4 (7b + OPRM-7b) -->" in with_paper
    assert "<!-- 1024 -->" in with_paper
    assert not any(text in without for text in ("stroke-dasharray", "Paper", "<!-- 1024 -->"))
