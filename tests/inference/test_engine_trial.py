"""A token of a tiny random model in a process of its own, and processes that break."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from e2h_cli.inference.engine_trial import try_engine


def python_that(tmp_path: Path, script: str) -> str:
    """A program that stands for the interpreter of the child."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_a_token_of_transformers() -> None:
    trial = try_engine("transformers", 300)
    assert (trial.outcome, trial.detail) == ("sampled", "")


def test_an_engine_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # A module of that name that breaks when it is imported.
    (tmp_path / "vllm.py").write_text("raise ImportError('libcudart.so.13 is missing')\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", ""), "."]))
    monkeypatch.setenv("PYTHONPATH", path)
    trial = try_engine("vllm", 300)
    assert trial.outcome == "crashed"
    assert "libcudart.so.13 is missing" in trial.detail


def test_a_crash(tmp_path: Path) -> None:
    trial = try_engine("vllm", 30, python_that(tmp_path, "echo starting; kill -SEGV $$"))
    assert (trial.outcome, trial.detail.partition(":")[0]) == ("crashed", "SIGSEGV")


def test_an_error_that_the_engine_tells(tmp_path: Path) -> None:
    script = "echo 'e2h-trial:\"no such device\"'"
    trial = try_engine("vllm", 30, python_that(tmp_path, script))
    assert (trial.outcome, trial.detail) == ("failed", "no such device")


def test_a_hang_is_killed_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"sleep 60 & echo $! > {child}; wait"
    started = time.monotonic()
    trial = try_engine("vllm", 1, python_that(tmp_path, script))
    assert trial.outcome == "timeout"
    assert time.monotonic() - started < 20
    state = Path(f"/proc/{int(child.read_text())}/stat")

    def ended() -> bool:
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"

    # A killed process ends when the kernel next runs it.
    while not ended():
        assert time.monotonic() - started < 20
        time.sleep(0.01)
