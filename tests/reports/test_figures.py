"""The plots are written, and the same data gives the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2h_cli.evaluation.labelled_scores import LabelledScores, labelled_outcomes, labelled_steps
from e2h_cli.reports.figures import plot_reward_model
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
