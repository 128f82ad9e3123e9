"""Shards, workers and Ray tasks sample, score and complete what one process would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import MINI, Done, assert_one_line, copy_stages, e2h
from tests.inference.conftest import expected_keys, keys
from tests.inference.test_worker_pool import BACKENDS

ROLLOUTS = ("--source", "rollouts", "--model", "sft", "--temperature", "1", "--top-k", "0",
            "--max-tokens", "48", "--rollouts-per-step", "3", "--max-solutions", "2")  # fmt: skip
# So that there are part files long before the end.
SLOWLY = {
    "sample": ("--n", "128", "--flush-seconds", "0.01", "--generation-batch-size", "16"),
    "rerank": ("--batch-tokens", "64", "--flush-seconds", "0.0001"),
    "supervise": (*ROLLOUTS, "--flush-seconds", "0.01", "--generation-batch-size", "16"),
}
PARTS = {"sample": "unfinished", "rerank": "scores/parts", "supervise": "unfinished"}


@pytest.fixture
def run(mini_run: Path, tmp_path: Path) -> Path:
    """A run folder with samples that nobody has scored or completed."""
    names = ("split", "pretrain", "sft", "rm-samples", "train-rm", "sample")
    return copy_stages(mini_run, tmp_path / "run", *names)


@pytest.fixture(scope="module")
def alone(mini_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder where one process has completed the rollouts."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    copy_stages(mini_run, folder, "split", "pretrain", "sft", "rm-samples")
    done = stage(folder, "supervise", *ROLLOUTS)
    assert done.returncode == 0, done.stderr
    return folder


def arguments(run: Path, command: str, *options: str) -> list[str]:
    return [command, "--recipe", str(MINI), "--run-dir", str(run), *options]


def stage(run: Path, command: str, *options: str) -> Done:
    return e2h(*arguments(run, command, *options), cwd=run.parent)


def start(run: Path, command: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "e2h_cli", *arguments(run, command, *options)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=run.parent,
        env=dict(os.environ),
    )  # fmt: skip


def same_scores(run: Path, mini_run: Path) -> None:
    """The scores of a run are those of one process."""
    ours, theirs = (
        pq.read_table(r / "rerank/scores/scores.parquet").to_pylist() for r in (run, mini_run)
    )
    assert [(r["id"], r["sample"]) for r in ours] == [(r["id"], r["sample"]) for r in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a["step_scores"] == pytest.approx(b["step_scores"], abs=1e-4)
        assert a["outcome_score"] == pytest.approx(b["outcome_score"], abs=1e-4)
    assert not (run / "rerank/scores/parts").exists()


def same_completions(run: Path, alone: Path) -> None:
    """The completions of a run have the keys of one process, and nearly all its texts."""
    tables = [pq.read_table(r / "supervise/completions/completions.parquet") for r in (run, alone)]
    found = [
        {(row["id"], row["sample"]): row["text"] for row in table.to_pylist()} for table in tables
    ]
    assert found[0].keys() == found[1].keys()
    assert tables[0].num_rows == tables[1].num_rows
    same = sum(text == found[1][key] for key, text in found[0].items())
    assert same > 0.95 * len(found[0])  # batches of other shapes round differently
    assert not (run / "supervise/unfinished").exists()


def test_shards_of_scores_are_merged_when_all_are_there(run: Path, mini_run: Path) -> None:
    done = stage(run, "rerank", "--shard", "1/3")
    assert done.returncode == 0, done.stderr
    assert "when all shards are done, put them together with --merge" in done.stdout
    assert not (run / "rerank/results.json").exists()
    refused = stage(run, "rerank", "--merge")
    # Four of the twelve problems are scored.
    assert_one_line(
        refused, "cannot merge: 64 of 96 scores are missing", "--shard 2/3, --shard 3/3"
    )
    assert_one_line(stage(run, "rerank", "--merge", "--shard", "1/3"), "not together with --shard")
    other = stage(run, "rerank", "--shard", "2/3", "--ks", "1,2", "--force")
    assert_one_line(other, "holds work under other conditions", "other shards may be in it")
    assert stage(run, "rerank", "--shard", "3/3").returncode == 0
    assert_one_line(stage(run, "rerank", "--merge"), "(not done: --shard 2/3)")
    assert stage(run, "rerank", "--shard", "2/3").returncode == 0
    merged = stage(run, "rerank", "--merge")
    assert merged.returncode == 0, merged.stderr
    assert "to score" not in merged.stdout
    same_scores(run, mini_run)
    ours, theirs = (json.loads((r / "rerank/results.json").read_text()) for r in (run, mini_run))
    assert ours["metrics"] == theirs["metrics"]


def test_what_is_left_of_the_shards_is_done_without_merge(run: Path, mini_run: Path) -> None:
    assert stage(run, "rerank", "--shard", "2/2").returncode == 0
    done = stage(run, "rerank")
    assert done.returncode == 0, done.stderr
    assert "48 samples to score" in done.stdout
    same_scores(run, mini_run)


@pytest.mark.parametrize("early", [(), ("--until-first-mistake",)])
def test_shards_of_rollouts_are_merged_when_all_are_there(
    early: tuple[str, ...], run: Path, alone: Path, tmp_path: Path
) -> None:
    options = (*ROLLOUTS, *early)
    for shard in ("1/3", "3/3"):
        done = stage(run, "supervise", *options, "--shard", shard)
        assert done.returncode == 0, done.stderr
        assert "when all shards are done" in done.stdout
    assert not (run / "supervise/completions/completions.parquet").exists()
    refused = stage(run, "supervise", *options, "--merge")
    assert_one_line(refused, "completions are missing (not done: --shard 2/3)")
    assert stage(run, "supervise", *options, "--shard", "2/3").returncode == 0
    merged = stage(run, "supervise", *options, "--merge")
    assert merged.returncode == 0, merged.stderr
    if early:
        alone = copy_stages(run, tmp_path / "early", "split", "pretrain", "sft", "rm-samples")
        assert stage(alone, "supervise", *options).returncode == 0
    same_completions(run, alone)
    # Labels depend on a few texts that are rounded differently.
    ours, theirs = (
        json.loads((r / "supervise/stage.json").read_text())["counts"] for r in (run, alone)
    )
    assert ours["samples labelled"] == theirs["samples labelled"]
    assert ours["rows"]["prm"] == theirs["rows"]["prm"]


def test_there_is_nothing_to_share_without_engines(run: Path) -> None:
    assert_one_line(stage(run, "supervise", "--shard", "1/2"), "--shard shares rollouts")
    refused = stage(run, "rerank", "--shard", "1/2", "--reward-model", "none")
    assert_one_line(refused, "--shard shares the scoring; give --reward-model")


@pytest.mark.slow
def test_two_shards_of_scores_at_once_and_a_kill(run: Path, mini_run: Path) -> None:
    """Both start at the same moment in an empty folder; one is killed and started again."""
    options = SLOWLY["rerank"]
    both = [start(run, "rerank", *options, "--shard", f"{i}/2") for i in (1, 2)]
    parts = run / "rerank/scores/parts/shard-1-of-2"
    wait_for(lambda: any(parts.rglob("part-*.parquet")), both[:1])
    os.kill(both[0].pid, signal.SIGKILL)
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [-signal.SIGKILL, 0], outputs
    assert_one_line(stage(run, "rerank", "--merge"), "(not done: --shard 1/2)")
    held = sum(pq.read_metadata(file).num_rows for file in parts.rglob("part-*.parquet"))
    assert 0 < held < 48
    again = stage(run, "rerank", "--shard", "1/2", "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert f"{48 - held} samples to score" in again.stdout
    assert stage(run, "rerank", "--merge").returncode == 0
    same_scores(run, mini_run)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("command", ["sample", "rerank", "supervise"])
def test_a_killed_worker_is_replaced(
    command: str, backend: str, run: Path, mini_run: Path, alone: Path
) -> None:
    options = [*SLOWLY[command], "--workers", "2"]
    options += ["--ray", "local"] if backend == "ray" else []
    process = start(run, command, *options)
    parts = run / command / PARTS[command]
    wait_for(lambda: any(parts.rglob("*-of-2/part-*.parquet")), [process])
    title = b"ray::" if backend == "ray" else b"spawn_main"
    # Agents of Ray have such titles, too, and a node ends with them.
    others = (b"IDLE", b"Agent")
    workers = [
        p for p in descendants(process.pid) if title in p[1] and not any(o in p[1] for o in others)
    ]
    os.kill(workers[0][0], signal.SIGKILL)
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    assert "another one goes on from there" in " ".join(output.split())
    if command == "sample":
        assert keys(run) == expected_keys(run, "test", 128)
    elif command == "rerank":
        same_scores(run, mini_run)
    else:
        same_completions(run, alone)


def wait_for(condition: object, processes: list[subprocess.Popen[str]]) -> None:
    """Poll until a condition holds; the processes must live on until then."""
    assert callable(condition)
    deadline = time.monotonic() + 600
    while not condition():
        assert all(p.poll() is None for p in processes), [p.communicate()[0] for p in processes]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def descendants(pid: int) -> list[tuple[int, bytes]]:
    """Ids and command lines of the processes that a process has started, also indirectly."""
    parents, lines = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            lines[int(folder.name)] = (folder / "cmdline").read_bytes()
            parents[int(folder.name)] = int(stat[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return [(child, lines[child]) for child in sorted(found - {pid})]
