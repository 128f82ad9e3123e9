"""Scoring a few solutions in memory, as a notebook does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import e2h_cli.inference
from e2h_cli.data import template
from e2h_cli.inference import score_texts, token_scores
from e2h_cli.models.reward_formats import RewardModel, open_reward_model

QUESTIONS = ["a3 b+4"] * 5 + ["a1 b*2 c-3"]
SOLUTIONS = [
    template.completion([f"b={i}+4={i + 4}"] * (1 + i % 3), str(i)) for i in range(len(QUESTIONS))
]


@pytest.fixture(scope="module")
def reward_model(mini_run: Path) -> RewardModel:
    return open_reward_model(str(mini_run / "train-rm"))


def test_texts_are_scored_in_their_order_as_if_alone(
    reward_model: RewardModel, mini_run: Path
) -> None:
    together = score_texts(reward_model, QUESTIONS, SOLUTIONS)
    for question, solution, scores in zip(QUESTIONS, SOLUTIONS, together, strict=True):
        [alone] = score_texts(reward_model, [question], [solution])
        assert len(scores.steps) == len(template.parse(solution, finished=True).steps)
        assert scores.steps == pytest.approx(alone.steps, abs=1e-5)
        assert scores.outcome == pytest.approx(alone.outcome, abs=1e-5)
    assert len({round(scores.outcome, 6) for scores in together}) > 1
    assert score_texts(str(mini_run / "train-rm"), QUESTIONS, SOLUTIONS) == together
    assert score_texts(reward_model, [], []) == []
    with pytest.raises(ValueError, match="zip"):
        score_texts(reward_model, QUESTIONS, SOLUTIONS[1:])


def test_token_scores_are_those_of_the_solution_where_it_is_read(reward_model: RewardModel) -> None:
    tokens = token_scores(reward_model, QUESTIONS[1], SOLUTIONS[1], True)
    encoded = reward_model.encode(QUESTIONS[1], SOLUTIONS[1], True)
    [scores] = score_texts(reward_model, QUESTIONS[1:2], SOLUTIONS[1:2])
    assert "".join(text for text, _ in tokens).startswith(template.prompt(QUESTIONS[1]))
    scored = {i: score for i, (_, score) in enumerate(tokens) if score is not None}
    assert list(scored) == [*encoded.step_positions, encoded.outcome_position]
    assert list(scored.values()) == pytest.approx([*scores.steps, scores.outcome], abs=1e-5)


def test_the_package_exports_names_without_importing_torch() -> None:
    assert all(hasattr(e2h_cli.inference, name) for name in e2h_cli.inference.__all__)
    with pytest.raises(AttributeError, match="attribute nothing"):
        e2h_cli.inference.nothing  # noqa: B018
    script = "import sys, e2h_cli.inference; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
