"""Kills at any moment and a full disk cost no sample that was finished."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.inference.conftest import ENGINES, arguments, expected_keys, keys, sample_process

pytestmark = pytest.mark.slow


def killed(run: Path, options: Sequence[str], delay: float, *, in_write: bool) -> bool:
    """Start sampling and kill it ``delay`` s after its first new file, or while it writes one.

    Returns whether it was killed before it was done.
    """
    scratch = run / "sample/unfinished"
    before = set(scratch.rglob("*.parquet"))
    process = subprocess.Popen(
        [sys.executable, "-m", "e2h_cli", *arguments(run, *options)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=run.parent, env=dict(os.environ),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if in_write and any(scratch.rglob("*.tmp")):
            break
        if not in_write and set(scratch.rglob("*.parquet")) - before:
            time.sleep(delay)
            break
        time.sleep(0.001)  # a file is written in less than 10 ms
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("engine", ENGINES)
def test_many_kills_cost_no_key(engine: str, run: Path) -> None:
    """At random moments, half of them inside a write; less often with vLLM, which starts slowly."""
    wanted = 2 if engine == "vllm" else 6
    options = ["--part", "easy", "--n", "256", "--engine", engine, "--flush-seconds", "0.05"]
    options.append("--seed-per-sample")  # without, vLLM writes whole waves, and the work is short
    rng = random.Random(0)
    kills = 0
    for i in range(wanted):
        # Temporary files of earlier kills are not a write of this process.
        for torn in (run / "sample").rglob("*.tmp"):
            torn.unlink()
        kills += killed(run, options, rng.uniform(0, 0.4), in_write=i % 2 == 0)
    assert kills == wanted, "the work was done before all kills: ask for more samples"
    done = sample_process(run, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are on disk already" in done.stdout
    assert keys(run) == expected_keys(run, "easy", 256)
    table = pq.read_table(run / "sample/samples.parquet")
    assert all(text is not None for text in table["text"].to_pylist())
    assert not (run / "sample/unfinished").exists()
    assert not list((run / "sample").rglob("*.tmp"))


@pytest.mark.parametrize("engine", ENGINES)
def test_two_shards_at_once_and_kills(engine: str, run: Path) -> None:
    options = ["--part", "easy", "--n", "192", "--engine", engine, "--flush-seconds", "0.05"]
    rng = random.Random(1)
    for _ in range(1 if engine == "vllm" else 2):
        both = [
            subprocess.Popen(
                [sys.executable, "-m", "e2h_cli", *arguments(run, *options, "--shard", f"{i}/2")],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=run.parent,
                env=dict(os.environ),
            )
            for i in (1, 2)
        ]  # fmt: skip
        scratch = run / "sample/unfinished"
        before = set(scratch.rglob("*.parquet"))
        deadline = time.monotonic() + 120
        while not set(scratch.rglob("*.parquet")) - before and time.monotonic() < deadline:
            assert all(p.poll() is None for p in both), [p.communicate()[1] for p in both]
            time.sleep(0.02)
        assert time.monotonic() < deadline
        for process in both:
            time.sleep(rng.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            process.communicate()
    assert sample_process(run, *options, "--merge").returncode == 2
    for i in (1, 2):
        done = sample_process(run, *options, "--shard", f"{i}/2")
        assert done.returncode == 0, done.stderr
    assert sample_process(run, *options, "--merge").returncode == 0
    assert keys(run) == expected_keys(run, "easy", 192)


@pytest.fixture
def own_mounts() -> list[str]:
    """A command prefix: what follows may mount file systems that nobody else sees."""
    prefix = ["unshare", "-rm"]
    probe = [*prefix, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
    try:
        allowed = subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("this user may not mount a small file system")
    return prefix


def test_a_full_disk_costs_no_key(run: Path, own_mounts: list[str]) -> None:
    """On a file system of 200 KiB; then it grows, and the same command goes on."""
    options = ["--part", "easy", "--n", "64", "--flush-seconds", "0.05"]
    command = " ".join([sys.executable, "-m", "e2h_cli", *arguments(run, *options)])
    script = f"""
        set -u
        mkdir -p {run}/sample && mount -t tmpfs -o size=200k tmpfs {run}/sample
        {command} 2> {run.parent}/full; echo $? > {run.parent}/first
        mount -o remount,size=100m {run}/sample
        {command} > {run.parent}/out 2>&1; echo $? > {run.parent}/second
        cp -r {run}/sample {run}/copy
    """
    subprocess.run([*own_mounts, "bash", "-c", script], check=True, timeout=300)
    assert (run.parent / "first").read_text().strip() == "1"
    line = (run.parent / "full").read_text().strip()
    assert "cannot write: No space left on device; free space or choose another folder" in line
    assert len(line.splitlines()) == 1
    assert (run.parent / "second").read_text().strip() == "0", (run.parent / "out").read_text()
    assert "are on disk already" in (run.parent / "out").read_text()
    (run / "sample").rmdir()
    (run / "copy").rename(run / "sample")
    assert keys(run) == expected_keys(run, "easy", 64)
