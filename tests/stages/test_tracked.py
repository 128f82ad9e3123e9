"""``--track``: what stages tell a tracker, by a recording one in place of the tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from e2h_cli.common import tracking
from e2h_cli.common.tracking import TrackedRun
from e2h_cli.pipeline.run_folder import StageFolder
from tests.conftest import MINI, RL, assert_one_line, copy_stages, e2h

COMMON = ("--recipe", MINI, "--scale", "tiny", "--run-dir", "run", "--no-make-inputs")


class Recorder:
    """A tool that keeps what it is told, one per run that is opened."""

    opened: list[Recorder]
    first_step = 0

    def __init__(self, run: TrackedRun) -> None:
        self.run, self.logged, self.summary, self.finished = run, [], {}, None
        self.opened.append(self)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self.logged.append((step, dict(numbers)))

    def summarise(self, numbers: Mapping[str, float]) -> None:
        self.summary = dict(numbers)

    def close(self, *, finished: bool) -> None:
        self.finished = finished


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    Recorder.opened = []
    monkeypatch.setitem(tracking._TOOLS, "trackio", Recorder)
    monkeypatch.setattr(tracking, "_require", lambda tool: None)
    return Recorder.opened


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_training(mini_run: Path, tmp_path: Path, opened: list[Recorder]) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain")
    done = e2h("sft", *COMMON, "--track", "trackio", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [one] = opened
    told = [(step, numbers["loss"]) for step, numbers in one.logged]
    assert told == [(line["step"], line["loss"]) for line in logged(run / "sft")]
    record = StageFolder(run / "sft").record
    assert one.run.name == "sft" and one.run.group == "run"
    config = one.run.config
    assert (config["experiment"], config["scale"], config["seed"]) == ("mini", "tiny", 0)
    assert config["learning_rate"] == record["settings"]["learning_rate"]
    assert one.summary["final_loss"] == record["counts"]["final_loss"]
    assert one.finished
    # What is reported does not change what is made.
    assert "track" not in record["settings"]
    done = e2h("sft", *COMMON, cwd=tmp_path)
    assert "up to date" in done.stdout
    assert (run / "sft/model.safetensors").read_bytes() == (
        mini_run / "sft/model.safetensors"
    ).read_bytes()
    # Made anew, it is another run.
    e2h("sft", *COMMON, "--track", "trackio", "--learning-rate", "0.01", "--force", cwd=tmp_path)
    record = StageFolder(run / "sft").record
    assert opened[1].run.key.splitlines()[:2] == [str(run.resolve()), "sft"]
    assert opened[1].run.key.endswith(record["started"])


def test_a_stage_that_continues_has_the_run_that_it_had(
    mini_run: Path, tmp_path: Path, opened: list[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_stages(mini_run, tmp_path / "run", "split", "pretrain")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("e2h_cli.training.trainer._save", killed)
        done = e2h("sft", *COMMON, "--track", "trackio", cwd=tmp_path)
        assert done.returncode == 130
    done = e2h("sft", *COMMON, "--track", "trackio", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = opened
    assert (first.finished, second.finished) == (False, True)
    assert first.run.identity == second.run.identity


def test_votes(mini_run: Path, tmp_path: Path, opened: list[Recorder]) -> None:
    copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "sft", "supervise", "train-rm",
                "sample")  # fmt: skip
    done = e2h("rerank", *COMMON, "--track", "trackio", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [one] = opened
    assert [step for step, _ in one.logged] == [1, 2, 4, 8]
    metrics = json.loads((tmp_path / "run/rerank/results.json").read_text())["metrics"]
    for m in metrics:
        name = f"{m['group']}/{m['method']}" + (f" ({m['aggregate']})" if m["aggregate"] else "")
        if m["group"] in ("easy", "hard", "all"):
            assert one.summary[f"{name}/N={m['n']}"] == m["accuracy"]
            assert dict(one.logged)[m["n"]][name] == m["accuracy"]


@pytest.mark.parametrize("stage", ["rl", "rest-em"])
def test_reinforcement_learning(
    mini_run: Path, rl_run: Path, tmp_path: Path, opened: list[Recorder], stage: str
) -> None:
    (tmp_path / "mini").symlink_to(mini_run)
    copy_stages(rl_run, tmp_path / "run", "validation-samples", "votes")
    done = e2h("rl", "--recipe", RL, "--scale", "tiny", "--run-dir", "run", "--stage", stage,
               "--track", "trackio", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    [one] = opened
    lines = logged(tmp_path / "run" / stage)
    assert [step for step, _ in one.logged] == [line["step"] for line in lines]
    for (_, numbers), line in zip(one.logged, lines, strict=True):
        assert numbers.get("reward") == line.get("reward")
    assert one.summary["best_step"] in [line["step"] for line in lines]


def test_another_tool_is_refused(mini_run: Path, tmp_path: Path) -> None:
    copy_stages(mini_run, tmp_path / "run", "split", "pretrain")
    done = e2h("sft", *COMMON, "--track", "mlflow", cwd=tmp_path)
    assert_one_line(done, "--track", "trackio", "wandb")
