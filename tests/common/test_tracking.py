"""Trackers: with the real tools offline where they are installed, and with tools that fail."""

from __future__ import annotations

import importlib
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.common.tracking import TrackedRun, Tracker, open_tracker

RUN = TrackedRun("sft", "experiment-tiny", "runs/experiment-tiny sft then", {"seed": 3})
# In a process of its own: the tools keep threads, and find their folders when they are imported.
REPORT = """
import sys
from e2h_cli.common.tracking import TrackedRun, open_tracker
tool, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open_tracker(tool, TrackedRun("sft", "experiment-tiny", "key", {"seed": 3})) as tracker:
    for step in range(first, last):
        tracker.log(step, {"step": step, "loss": 1 / (step + 1), "note": "x", "nan": float("nan")})
    if last == 6:
        tracker.finish({"final_loss": 0.25, "read": {"easy.jsonl": "0"}})
"""


def installed(tool: str) -> None:
    # Not importorskip: a folder of data named wandb in the working folder imports, too.
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed; pip install 'e2h[track]'")


def report(tool: str, first: int, last: int, folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPORT, tool, str(first), str(last)],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_trackio_continues_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    report("trackio", 0, 4, tmp_path)
    # The process was killed at step 4, and goes on from a checkpoint of step 2.
    report("trackio", 2, 6, tmp_path)
    with sqlite3.connect(tmp_path / "trackio/e2h.db") as data:
        rows = data.execute("select run_name, step, metrics from metrics order by id").fetchall()
        configs = data.execute("select distinct run_name, run_id from configs").fetchall()
    steps = [step for _, step, metrics in rows if b"loss" in metrics and b"summary" not in metrics]
    assert steps == [0, 1, 2, 3, 4, 5]
    assert len(configs) == 1 and configs[0][0].startswith("sft-")
    assert b'"loss":0.5' in rows[1][2] and b"nan" not in rows[1][2] and b"note" not in rows[1][2]
    assert b'"summary/final_loss":0.25' in rows[-1][2]


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    report("wandb", 0, 6, tmp_path)
    [file] = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    content = file.read_bytes()
    for word in (b"experiment-tiny", b"sft", b"loss", b"final_loss", b"seed"):
        assert word in content
    assert b"easy.jsonl" not in content


class FakeRun(SimpleNamespace):
    """A run of wandb that remembers what it was told, and fails when asked to."""

    def log(self, metrics: dict[str, float], step: int) -> None:
        if self.fails:
            raise OSError("no network\nmore")
        self.logged.append((step, metrics))

    def finish(self, exit_code: int) -> None:
        self.codes.append(exit_code)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRun]:
    module: Any = ModuleType("wandb")
    module.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    run = FakeRun(logged=[], codes=[], summary={}, step=0, url="https://x", dir="", offline=False,
                  disabled=False, fails=False, options={})  # fmt: skip

    def init(**options: Any) -> FakeRun:
        run.options.update(options)
        return run

    module.init, module.Settings = init, SimpleNamespace
    monkeypatch.setitem(sys.modules, "wandb", module)
    return run


def test_what_a_tool_is_told(fake: FakeRun) -> None:
    with open_tracker("wandb", RUN) as tracker:
        tracker.log(1, {"loss": 2.0, "rule": "vote", "kl": None, "warning": "text"})
        tracker.finish({"steps": 1, "seen": {"labels": [1]}})
    assert fake.logged == [(1, {"loss": 2.0})]
    assert fake.summary == {"steps": 1}
    assert fake.codes == [0]
    assert fake.options["name"] == "sft" and fake.options["group"] == "experiment-tiny"
    assert fake.options["config"] == {"seed": 3}
    assert fake.options["id"] == RUN.identity and fake.options["resume"] == "allow"


def test_the_id_is_of_the_key_alone() -> None:
    same = TrackedRun("other", "other", RUN.key, {})
    assert same.identity == RUN.identity
    assert TrackedRun("sft", "experiment-tiny", "later", {"seed": 3}).identity != RUN.identity


def test_steps_of_an_earlier_process_are_not_told_again(fake: FakeRun) -> None:
    fake.step = 5
    with open_tracker("wandb", RUN) as tracker:
        for step in (4, 5):
            tracker.log(step, {"loss": 1.0})
    assert [step for step, _ in fake.logged] == [5]


def test_work_that_stops_ends_the_run_as_failed(fake: FakeRun) -> None:
    with pytest.raises(KeyboardInterrupt), open_tracker("wandb", RUN):
        raise KeyboardInterrupt
    assert fake.codes == [1]


def test_a_tool_that_fails_is_told_once(fake: FakeRun, caplog: pytest.LogCaptureFixture) -> None:
    fake.fails = True
    with caplog.at_level(logging.WARNING), open_tracker("wandb", RUN) as tracker:
        for step in range(3):
            tracker.log(step, {"loss": 1.0})
        tracker.finish({})
    assert [r.getMessage() for r in caplog.records] == [
        "warning: no more is told to the tracker: no network"
    ]


def test_a_tool_that_does_not_open_is_told_once(
    fake: FakeRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_login(**_: Any) -> None:
        raise RuntimeError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setattr(sys.modules["wandb"], "init", no_login)
    with caplog.at_level(logging.WARNING), open_tracker("wandb", RUN) as tracker:
        tracker.log(0, {"loss": 1.0})
        tracker.finish({})
    [record] = caplog.records
    assert "wandb login" in record.getMessage()


def test_a_tool_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with (
        pytest.raises(InputError, match="trackio is not installed; pip install trackio"),
        open_tracker("trackio", RUN),
    ):
        pass


def test_without_a_tool_nothing_happens() -> None:
    with open_tracker(None, RUN) as tracker:
        tracker.log(0, {"loss": 1.0})
        tracker.finish({})
    assert isinstance(tracker, Tracker)
