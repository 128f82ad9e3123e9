"""``e2h rerank`` with reward models of other families, after kills, and with two at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from e2h_cli.data.split_files import read_answered_problems
from e2h_cli.inference import scoring, worker_pool
from e2h_cli.inference.sampling import read_samples
from tests import builders
from tests.builders import reward_model
from tests.conftest import MINI, copy_stages, e2h


@pytest.fixture
def run(mini_run: Path, tmp_path: Path) -> Path:
    """A run folder with samples that nobody has scored."""
    stages = ("split", "pretrain", "sft", "rm-samples", "supervise", "train-rm", "sample")
    return copy_stages(mini_run, tmp_path / "run", *stages)


def rerank(run: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return e2h("rerank", "--recipe", MINI, "--run-dir", run, *options, cwd=run.parent)


@pytest.mark.parametrize(
    ("family", "steps"), [("llemma", True), ("math-shepherd", True), ("sequence", False)]
)
def test_foreign_models_score_and_vote(family: str, steps: bool, run: Path, tmp_path: Path) -> None:
    tokens = builders.tokenizer(
        "character", ["Step 1: ки +-*= The answer is: # Question\n# Solution 0123456789 abcdefghi"]
    )
    if steps:
        path = reward_model(tmp_path, AutoModelForCausalLM, tokens)
        options = ["--reward-model", path, "--family", family]
    else:
        path = reward_model(tmp_path, AutoModelForSequenceClassification, tokens, num_labels=1)
        options = ["--reward-model", path]
    done = rerank(run, *options, "--show-tokens")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "]=0." in done.stdout
    found = pq.read_table(run / "rerank/scores/scores.parquet")
    assert found.num_rows == 96
    assert any(found["step_scores"].to_pylist()) == steps
    results = json.loads((run / "rerank/results.json").read_text())["metrics"]
    hows = {f["aggregate"] for f in results if f["method"] == "best-of-n"}
    assert hows == ({"min"} if steps else {"last"})
    line = json.loads((run / "rerank/scores/engines.jsonl").read_text())
    assert line["tokens_per_second"] > 0
    assert line["samples"] == 96
    assert line["distinct"] <= 96


@pytest.mark.slow
def test_kill_9_while_scoring_changes_no_score(run: Path, mini_run: Path) -> None:
    killed = 0
    for delay in (0.0, 0.05, 0.2, 0.5):
        process = subprocess.Popen(
            [sys.executable, "-m", "e2h_cli", "rerank", "--recipe", str(MINI), "--run-dir",
             str(run), "--batch-tokens", "64"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=run.parent,
            env=dict(os.environ),
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if (run / "rerank/scores/conditions.json").exists():
                time.sleep(delay)
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed
    done = rerank(run)
    assert done.returncode == 0, done.stderr
    ours, theirs = (
        pq.read_table(r / "rerank/scores/scores.parquet").to_pylist() for r in (run, mini_run)
    )
    assert [(r["id"], r["sample"]) for r in ours] == [(r["id"], r["sample"]) for r in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a["step_scores"] == pytest.approx(b["step_scores"], abs=1e-4)
        assert a["outcome_score"] == pytest.approx(b["outcome_score"], abs=1e-4)


@pytest.mark.slow
def test_two_models_at_once_score_the_same(
    run: Path, mini_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with two GPUs: a process each, with part files of its own."""
    monkeypatch.setattr(worker_pool, "gpu_count", lambda: 2)
    table = scoring.score_samples(
        read_samples(run / "sample"), read_answered_problems(run / "split"),
        str(run / "train-rm"), run / "two", conditions={}, batch_tokens=4096, precision="auto",
    )  # fmt: skip
    theirs = pq.read_table(mini_run / "rerank/scores/scores.parquet").to_pylist()
    assert len((run / "two/engines.jsonl").read_text().splitlines()) == 2
    for a, b in zip(table.to_pylist(), theirs, strict=True):
        assert (a["id"], a["sample"]) == (b["id"], b["sample"])
        assert a["step_scores"] == pytest.approx(b["step_scores"], abs=1e-4)
