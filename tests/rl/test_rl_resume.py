"""Killed and stopped runs of ``e2h rl`` go on as if nothing had happened; several processes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file, save_file

from e2h_cli.models.loading import load_generator
from tests.conftest import copy_stages
from tests.rl.conftest import log_lines, rl, rl_command, weights, without_seconds

# What is killed before which call: the engine while it samples, scoring, the second optimizer step
# of an update, and a checkpoint that is not whole.
_CRASHES = {
    "rollout": ("e2h_cli.common.parquet_store:ShardedParquetStore.flush", 4),
    "scoring": ("e2h_cli.rl.on_policy:score_rollouts", 3),
    "update": ("e2h_cli.rl.policy_update:PolicyUpdater._optimizer_step", 6),
    "checkpoint": ("torch:save", 3),
}
_SCRIPT = """
import importlib, os, sys
path, call, action = sys.argv.pop(1), int(sys.argv.pop(1)), sys.argv.pop(1)
module, _, name = path.partition(":")
owner = importlib.import_module(module)
*owners, name = name.split(".")
for one in owners:
    owner = getattr(owner, one)
real, calls = getattr(owner, name), [0]
def interrupted(*arguments, **options):
    calls[0] += 1
    if calls[0] == call and action == "kill":
        os.kill(os.getpid(), 9)
    if calls[0] == call:
        from e2h_cli.common.errors import RunError
        raise RunError("the reward model returned NaN")
    return real(*arguments, **options)
setattr(owner, name, interrupted)
from e2h_cli.cli.app import main
main()
"""


def interrupted(
    folder: Path, path: str, call: int, *command: str, action: str = "kill"
) -> subprocess.CompletedProcess[str]:
    """e2h in a process that kills itself, or fails, before a call of the function at ``path``."""
    return subprocess.run(
        [sys.executable, "-c", _SCRIPT, path, str(call), action, *command],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole_run(mini_run: Path, rl_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four steps of PPO without an interruption."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "mini").symlink_to(mini_run)
    copy_stages(rl_run, folder / "run", "validation-samples", "votes")
    done = rl(folder, "--stage", "rl", "--steps", "4")
    assert done.returncode == 0, done.stderr
    return folder / "run/rl"


@pytest.mark.slow
@pytest.mark.parametrize("moment", _CRASHES)
def test_kill_9_changes_nothing(place: Path, whole_run: Path, moment: str) -> None:
    command = rl_command("--stage", "rl", "--steps", "4", "--checkpoint-seconds", "0.001")
    died = interrupted(place, *_CRASHES[moment], *command)
    assert died.returncode == -9, died.stderr
    folder = place / "run/rl"
    if moment == "scoring":
        # What was sampled is scored, not sampled again.
        kept = list((folder / "unfinished/rollouts").rglob("solutions.parquet"))
        assert [len(pq.read_table(file)) for file in kept] == [16]
    if moment == "checkpoint":
        assert list((folder / "unfinished").glob(".checkpoint.pt.*.tmp"))
    done = rl(place, *command[command.index("--stage") :])
    assert done.returncode == 0, done.stderr
    for a, b in zip(log_lines(folder), log_lines(whole_run), strict=True):
        for key in without_seconds(a).keys() | without_seconds(b).keys():
            assert a[key] == pytest.approx(b[key], rel=1e-4, abs=1e-5), key
    for step in range(4):
        name = f"rollouts/step-{step:06d}.parquet"
        ours, theirs = (pq.read_table(one / name) for one in (folder, whole_run))
        assert sorted(ours["text"].to_pylist()) == sorted(theirs["text"].to_pylist())
        assert set(ours["id"].to_pylist()) == set(theirs["id"].to_pylist())
    assert float((weights(folder) - weights(whole_run)).abs().max()) < 1e-5
    assert not (folder / "unfinished").exists()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["dpo", "rest-em"])
@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("e2h_cli.common.parquet_store:ShardedParquetStore.merge", 2),
        ("e2h_cli.rl.iterated:read_json", 3),
    ],
    ids=["samples", "complete"],
)
def test_a_killed_iteration_goes_on(
    place: Path, rl_run: Path, stage: str, path: str, call: int
) -> None:
    """Killed before the samples are merged, and right after the record of the iteration."""
    died = interrupted(place, path, call, *rl_command("--stage", stage))
    assert died.returncode == -9, died.stderr
    record = place / "run" / stage / "iteration-1/record.json"
    complete = record.is_file()
    assert complete == (call == 3)
    written = record.stat().st_mtime_ns if complete else None
    done = rl(place, "--stage", stage)
    assert done.returncode == 0, done.stderr
    assert "continues" in done.stdout
    assert log_lines(place / "run" / stage) == log_lines(rl_run / stage)
    # A complete iteration is not repeated.
    assert not complete or record.stat().st_mtime_ns == written


def test_a_reward_model_of_nan_is_refused(place: Path, mini_run: Path) -> None:
    broken = place / "broken"
    shutil.copytree(mini_run / "train-rm", broken)
    tensors = load_file(broken / "model.safetensors")
    tensors["score.weight"][:] = float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    done = rl(place, "--stage", "rl", "--reward-model", broken)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "score.weight has values that are not finite" in done.stderr


@pytest.mark.slow
def test_what_stops_a_run_leaves_a_usable_policy(place: Path) -> None:
    """The reward model's scores become NaN in the third step."""
    command = rl_command("--steps", "4")
    score = "e2h_cli.rl.on_policy:score_rollouts"
    stopped = interrupted(place, score, 3, *command, action="fail")
    assert stopped.returncode == 1
    assert "error: the reward model returned NaN" in stopped.stderr
    load_generator(str(place / "run/rl/stopped"))
    done = rl(place, "--steps", "4")
    assert done.returncode == 0, done.stderr
    assert "resuming from step 2" in done.stdout
    assert not (place / "run/rl/stopped").exists()


@pytest.mark.slow
def test_two_processes_train_what_one_trains(place: Path, rl_run: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone",
         "-m", "e2h_cli", *rl_command()],
        cwd=place, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for a, b in zip(log_lines(place / "run/rl"), log_lines(rl_run / "rl"), strict=True):
        for key in without_seconds(a):
            assert a[key] == pytest.approx(b[key], rel=2e-3, abs=1e-4), key
