"""PPO and GRPO on parts of models (FSDP): what is learned, what a process holds, and kills."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.rl import update_twice
from tests.rl.conftest import log_lines, rl, rl_command, without_seconds
from tests.rl.test_rl_resume import _SCRIPT

ROOT = Path(__file__).parents[2]


def launch(folder: Path, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Two processes of FSDP on CPUs."""
    return subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch",
         "--config_file", ROOT / "tests/recipes/fsdp-cpu.yaml", *command],
        cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def checkpoint(file: Path) -> dict[str, Any]:
    return dict(torch.load(file, weights_only=True))


def largest_difference(a: Any, b: Any) -> float:
    """Of the tensors of two nests."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        return max((largest_difference(a[key], b[key]) for key in a), default=0.0)
    return float((a - b).abs().max()) if isinstance(a, torch.Tensor) else 0.0


@pytest.mark.slow
@pytest.mark.parametrize(("algo", "stage"), [("ppo", "rl"), ("grpo", "grpo")])
def test_parts_learn_what_whole_models_learn(
    mini_run: Path, rl_run: Path, tmp_path: Path, algo: str, stage: str
) -> None:
    names = [mini_run / "sft", mini_run / "train-rm", mini_run / "split"]
    arguments = [algo, *names, rl_run / stage / "rollouts/step-000000.parquet"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    update_twice.main([*map(str, [*arguments, whole])])
    done = launch(tmp_path, "-m", "tests.rl.update_twice", *arguments, parts)
    assert done.returncode == 0, done.stderr
    for name in ("first.pt", "second.pt", "again.pt"):
        one, two = checkpoint(whole / name), checkpoint(parts / name)
        assert two["state"]["metrics"] == pytest.approx(one["state"]["metrics"], rel=1e-3, abs=1e-5)
        # The learning rate is 1e-3, and Adam makes steps of that size.
        assert largest_difference(one["weights"], two["weights"]) < 1e-5
        # Each process holds half of the weights and of the moments.
        for kind, (size,) in one["state"]["memory"].items():
            assert two["state"]["memory"][kind] == pytest.approx([size / 2] * 2, rel=0.02)
    second, again = (checkpoint(parts / name) for name in ("second.pt", "again.pt"))
    for key in ("weights", "optimizers"):
        assert largest_difference(second[key], again[key]) == 0.0


@pytest.mark.slow
def test_kill_9_changes_nothing(place: Path, rl_run: Path) -> None:
    """Killed in the second update; goes on as parts, and, killed again, as a whole model."""
    script = place / "interrupted.py"
    script.write_text("import tests.fsdp_on_cpu\n" + _SCRIPT)
    command = rl_command("--stage", "grpo", "--checkpoint-seconds", "0.001")
    update = "e2h_cli.rl.policy_update:PolicyUpdater._optimizer_step"
    for call in (4, 2):
        died = launch(place, script, update, str(call), "kill", *command)
        assert died.returncode != 0
        assert "-9" in died.stderr
    assert (place / "run/grpo/unfinished/checkpoint.pt").is_file()
    done = rl(place, *command[command.index("--stage") :])
    assert done.returncode == 0, done.stderr
    assert "resuming from step 1" in done.stdout
    for a, b in zip(log_lines(place / "run/grpo"), log_lines(rl_run / "grpo"), strict=True):
        for key in without_seconds(a):
            assert a[key] == pytest.approx(b[key], rel=2e-3, abs=1e-4), key


@pytest.mark.slow
def test_lora_is_refused_in_one_line(place: Path) -> None:
    done = launch(place, "-m", "tests.fsdp_on_cpu", *rl_command("--lora-rank", "2"))
    assert done.returncode != 0
    assert "--lora-rank needs the whole model in every process" in done.stderr
    assert "/e2h_cli/" not in done.stderr  # the traceback is that of accelerate launch alone
