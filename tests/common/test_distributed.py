"""Several processes at one training, as ``accelerate launch`` starts them (through torchrun)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from safetensors.torch import load_file

from tests.conftest import MINI, copy_stages, e2h

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def run(mini_run: Path, tmp_path: Path) -> Path:
    return copy_stages(
        mini_run, tmp_path / "run", "split", "pretrain", "sft", "rm-samples", "supervise"
    )


def launch(run: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone",
         "-m", "e2h_cli", *options, "--recipe", str(MINI), "--run-dir", str(run)],
        cwd=run.parent, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "train-rm/log.jsonl").open()]
    return [line["loss"] for line in lines]


@pytest.mark.slow
def test_two_processes_train_what_one_trains(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(run, alone)
    done = e2h("train-rm", "--recipe", MINI, "--run-dir", alone, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    both = launch(run, "train-rm", "--checkpoint-seconds", "0.01")
    assert both.returncode == 0, both.stdout + both.stderr
    assert both.stdout.count("train-rm done in") == 1
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
