"""Shared by the tests of ``e2h rl``: folders with finished inputs, and what a run leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from e2h_cli.common.files import read_jsonl
from tests.conftest import RL, Done, copy_stages, e2h

RULES = ("vote", "easy", "paper")


def log_lines(folder: Path) -> list[dict[str, Any]]:
    """The log of a stage."""
    return [line for _, line in read_jsonl(folder / "log.jsonl")]


def without_seconds(line: dict[str, Any]) -> dict[str, Any]:
    """A line of the log without what differs from run to run."""
    return {key: value for key, value in line.items() if not key.endswith("seconds")}


def weights(folder: Path) -> torch.Tensor:
    """All weights of a model."""
    return torch.cat([t.flatten() for t in load_file(folder / "model.safetensors").values()])


def rl_command(*options: str | Path, run: str = "run") -> list[str]:
    """Command line of ``e2h rl`` on the small recipe."""
    return ["rl", "--recipe", str(RL), "--scale", "tiny", "--run-dir", run, *map(str, options)]


def rl(folder: Path, *options: str | Path, run: str = "run") -> Done:
    """``e2h rl`` on the small recipe, in this process."""
    return e2h(*rl_command(*options, run=run), cwd=folder)


@pytest.fixture
def place(mini_run: Path, rl_run: Path, tmp_path: Path) -> Path:
    """A folder with the mini run, and votes."""
    (tmp_path / "mini").symlink_to(mini_run)
    copy_stages(rl_run, tmp_path / "run", "validation-samples", "votes")
    return tmp_path
