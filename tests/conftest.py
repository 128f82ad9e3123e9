"""Shared fixtures: a recipe that runs in seconds, and the command line as a user calls it.

``cli`` calls e2h in this process, which saves the seconds that a new process needs to import torch.
``cli_process`` starts a process: for kills, signals, several processes and exit codes of the
interpreter.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

# One thread per process: several test processes on two cores must not fight over them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["COLUMNS"] = "200"
# Caches of the user who runs the tests are neither read nor written.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="e2h-tests-")

# Shells ignore Ctrl-C in background jobs, and tests and their processes would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test is timed: on a busy machine any example may take long.
hypothesis.settings.register_profile("e2h", deadline=None)
hypothesis.settings.load_profile("e2h")

TESTS = Path(__file__).parent
MINI = TESTS / "recipes" / "mini.yaml"
RL = TESTS / "recipes" / "rl.yaml"
DATA = TESTS / "data"
Done = subprocess.CompletedProcess[str]
Cli = Callable[..., Done]


def e2h(*arguments: str | Path, cwd: Path) -> Done:
    """Run a command line of e2h in this process, in a folder."""
    from e2h_cli.cli.app import run_app

    out, err = io.StringIO(), io.StringIO()
    before = Path.cwd()
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run_app([*map(str, arguments)])
    finally:
        os.chdir(before)
    return Done(arguments, code, out.getvalue(), err.getvalue())


def e2h_process(*arguments: str | Path, cwd: Path, timeout: float = 300) -> Done:
    """Run e2h in a process of its own, in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "e2h_cli", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def assert_one_line(done: Done, *words: str, code: int = 2) -> None:
    """The exit code, one line on stderr that holds the words, and no traceback."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == code, done.stdout + done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0], lines[0]
    assert "Traceback" not in done.stdout + done.stderr


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """e2h in an empty folder, in this process."""
    return lambda *arguments: e2h(*arguments, cwd=tmp_path)


@pytest.fixture
def cli_process(tmp_path: Path) -> Cli:
    """e2h in an empty folder, in a process of its own."""
    return lambda *arguments, **options: e2h_process(*arguments, cwd=tmp_path, **options)


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


def copy_stages(mini_run: Path, folder: Path, *stages: str) -> Path:
    """A run folder of a test's own, with some stages of the mini recipe finished."""
    for stage in stages:
        shutil.copytree(mini_run / stage, folder / stage)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(mini_run / "run.json", folder)
    return folder


@pytest.fixture(scope="session")
def math_data() -> Path:
    """A folder with train.jsonl and test.jsonl of MATH."""
    return DATA / "math"
