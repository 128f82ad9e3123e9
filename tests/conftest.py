"""Shared fixtures: a recipe that runs in seconds, and the command line as a user calls it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# One thread per process: several test processes on two cores must not fight over them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

MINI = Path(__file__).parent / "recipes" / "mini.yaml"
RL = Path(__file__).parent / "recipes" / "rl.yaml"
Cli = Callable[..., subprocess.CompletedProcess[str]]


def e2h(
    *arguments: str | Path, cwd: Path, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run the e2h program in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "e2h_cli", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """e2h in an empty folder."""

    def call(*arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return e2h(*arguments, cwd=tmp_path, timeout=timeout)

    return call


@pytest.fixture(scope="session")
def mini_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a whole mini recipe. Tests must not change it."""
    folder = tmp_path_factory.mktemp("mini")
    done = e2h("run", MINI, "--scale", "tiny", "--run-dir", "run", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def rl_run(mini_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of the mini recipe for reinforcement learning. Tests must not change it."""
    folder = tmp_path_factory.mktemp("rl")
    (folder / "mini").symlink_to(mini_run)
    done = e2h("run", RL, "--scale", "tiny", "--run-dir", "run", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def taken_over(mini_run: Path, folder: Path, *stages: str) -> Path:
    """A run folder of a test's own, with some stages of the mini recipe finished."""
    for stage in stages:
        shutil.copytree(mini_run / stage, folder / stage)
    return folder


@pytest.fixture(scope="session")
def math_data() -> Path:
    """Real MATH rows, which are no part of the project."""
    place = Path(os.environ.get("E2H_DATA", Path(__file__).parents[2] / "shared" / "data"))
    folder = place / "math"
    if not folder.is_dir():
        pytest.skip(
            f"no MATH rows in {folder}; set E2H_DATA to a folder that has math/test500.jsonl"
        )
    return folder
