"""Several processes at one training, as ``accelerate launch`` starts them (through torchrun)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import torch
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from safetensors.torch import load_file

from tests.conftest import MINI, copy_stages, e2h

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
ENVIRONMENT = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
# Whole models in both processes, and parts of one in each (FSDP).
WHOLE = ("torch.distributed.run", "--nproc_per_node", "2", "--standalone", "-m", "e2h_cli")
PARTS = (
    "accelerate.commands.launch", "--config_file", str(ROOT / "tests/recipes/fsdp-cpu.yaml"),
    "-m", "tests.fsdp_on_cpu",
)  # fmt: skip


@pytest.fixture
def run(mini_run: Path, tmp_path: Path) -> Path:
    return copy_stages(
        mini_run, tmp_path / "run", "split", "pretrain", "sft", "rm-samples", "supervise"
    )


def command(run: Path, options: Sequence[str], launcher: Sequence[str] = WHOLE) -> list[str]:
    return [
        sys.executable, "-m", *launcher, *options, "--recipe", str(MINI), "--run-dir", str(run)
    ]  # fmt: skip


def launch(
    run: Path, *options: str, launcher: Sequence[str] = WHOLE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(run, options, launcher),
        cwd=run.parent, capture_output=True, text=True, timeout=300, check=False, env=ENVIRONMENT,
    )  # fmt: skip


def launch_and_kill(run: Path, *options: str, launcher: Sequence[str]) -> None:
    """Kill all processes as soon as there is a checkpoint."""
    process = subprocess.Popen(command(run, options, launcher), cwd=run.parent, env=ENVIRONMENT)
    checkpoints = run / "train-rm/unfinished/checkpoints"
    while not list(checkpoints.glob("*/trainer_state.json")):
        assert process.poll() is None
        time.sleep(0.05)
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.kill()
    process.wait()


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "train-rm/log.jsonl").open()]
    return [line["loss"] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [WHOLE, PARTS], ids=["whole", "parts"])
def test_two_processes_train_what_one_trains(
    run: Path, tmp_path: Path, launcher: tuple[str, ...]
) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(run, alone)
    done = e2h("train-rm", "--recipe", MINI, "--run-dir", alone, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    options = ("train-rm", "--checkpoint-seconds", "0.01")
    launch_and_kill(run, *options, launcher=launcher)
    both = launch(run, *options, launcher=launcher)
    assert both.returncode == 0, both.stdout + both.stderr
    assert both.stdout.count("train-rm done in") == 1
    assert both.stdout.count("resuming from step") == 1
    # The short last batch of an epoch is filled up, so that both have as many rows.
    assert losses(run) == pytest.approx(losses(alone), rel=2e-2)
    # Adam turns rounding into steps of the size of the learning rate, so weights are compared as a
    # whole: they have gone the same way.
    before, ours, theirs = (
        torch.cat([load_file(r / "model.safetensors")[name].flatten() for name in names])
        for r in (run / "pretrain", run / "train-rm", alone / "train-rm")
        for names in [
            sorted(load_file(run / "pretrain/model.safetensors").keys() - {"lm_head.weight"})
        ]
    )
    assert torch.cosine_similarity(ours - before, theirs - before, dim=0) > 0.95
    again = launch(run, "train-rm")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("is up to date") == 1


@pytest.mark.slow
def test_mistakes_stop_all_processes_with_one_line(run: Path) -> None:
    for options, message in [
        (("rerank",), "rerank is one process; start it without accelerate launch"),
        (("train-rm", "--max-length", "8"), "no labelled row fits into 8 tokens"),
    ]:
        done = launch(run, *options)
        assert done.returncode != 0
        assert message in done.stderr


def test_the_fsdp_file_is_one_that_accelerate_reads() -> None:
    config = load_config_from_file(str(RECIPES / "accelerate/fsdp.yaml"))
    assert isinstance(config, ClusterConfig)
    assert config.distributed_type == "FSDP"
    assert config.fsdp_config["fsdp_version"] == 2
