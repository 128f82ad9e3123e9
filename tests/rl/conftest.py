"""Shared by the tests of ``e2h rl``: folders with finished inputs, and what a run leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from e2h_cli.common.files import read_jsonl
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.rl.rewards import Rewards
from e2h_cli.rl.rollouts import Rollout
from tests.conftest import RL, Done, copy_stages, e2h

RULES = ("vote", "easy", "paper")
QUESTIONS = [Problem(f"q{i}", f"a{i} b+4 c*2", 1, "", "", answer="1") for i in range(8)]


def rollout(
    tokens: PreTrainedTokenizerFast, problem: Problem, text: str, finished: bool, rewards: Rewards
) -> Rollout:
    ids = tokens(text, add_special_tokens=False).input_ids
    ids = [*ids, tokens.eos_token_id] if finished else ids or [tokens.eos_token_id]
    return Rollout(
        problem, 0, text, finished, ids, template.parse(text, finished=finished), rewards=rewards
    )


def log_lines(folder: Path) -> list[dict[str, Any]]:
    """The log of a stage."""
    return [line for _, line in read_jsonl(folder / "log.jsonl")]


def without_seconds(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the log without what differs from run to run."""
    return {key: value for key, value in line.items() if not key.endswith("seconds")}


def weights(folder: Path) -> torch.Tensor:
    """All weights of a model."""
    return torch.cat([t.flatten() for t in load_file(folder / "model.safetensors").values()])


def rl_command(*options: str | Path) -> list[str]:
    """Command line of ``e2h rl`` on the small recipe."""
    return ["rl", "--recipe", str(RL), "--scale", "tiny", "--run-dir", "run", *map(str, options)]


def rl(folder: Path, *options: str | Path) -> Done:
    """``e2h rl`` on the small recipe, in this process."""
    return e2h(*rl_command(*options), cwd=folder)


@pytest.fixture
def place(mini_run: Path, rl_run: Path, tmp_path: Path) -> Path:
    """A folder with the mini run, and votes."""
    (tmp_path / "mini").symlink_to(mini_run)
    copy_stages(rl_run, tmp_path / "run", "validation-samples", "votes")
    return tmp_path
