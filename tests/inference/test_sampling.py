"""``e2h sample`` as a user runs it: presets, shards, workers, a full disk, kills at any moment."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.data.split_files import read_split
from e2h_cli.inference.engines.base import Decoding, Request
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.inference.sampling import missing_requests
from e2h_cli.models import tiny
from e2h_cli.models.loading import load_generator, load_tokenizer
from e2h_cli.models.wide_heads import with_head_size
from tests.conftest import MINI, copy_stages, e2h

WITHOUT_VLLM = pytest.mark.skipif(
    find_spec("vllm") is None, reason="vLLM is not installed here; run: make test-vllm"
)
ENGINE_STATS = ["transformers", pytest.param("vllm", marks=WITHOUT_VLLM)]


@pytest.fixture
def run(mini_run: Path, tmp_path: Path) -> Path:
    """A run folder with a split and a generator, and nothing sampled."""
    return copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "sft")


def arguments(run: Path, *more: str) -> list[str]:
    return ["sample", "--recipe", str(MINI), "--run-dir", str(run), *more]


def sample(run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return e2h(*arguments(run, *more), cwd=run.parent)


def wanted(run: Path, part: str, n: int) -> list[tuple[str, int]]:
    return [(p.id, i) for p in read_split(run / "split", part) for i in range(n)]


def keys(run: Path) -> list[tuple[str, int]]:
    table = pq.read_table(run / "sample/samples.parquet")
    return list(zip(table["id"].to_pylist(), table["sample"].to_pylist(), strict=True))


def counts(run: Path) -> dict:
    return json.loads((run / "sample/stage.json").read_text())["counts"]


# What is drawn


def test_presets_give_way_to_what_is_said_outright(run: Path) -> None:
    done = sample(run, "--preset", "rest-em", "--n", "2", "--limit", "3")
    assert done.returncode == 0, done.stderr
    held = json.loads((run / "sample/stage.json").read_text())["settings"]
    assert (held["n"], held["temperature"], held["top_k"]) == (2, 1.0, 40)
    assert "preset" not in held
    assert keys(run) == wanted(run, "test", 2)[:6]


def test_shots_stand_in_front_and_the_next_question_ends_the_solution(run: Path) -> None:
    done = sample(run, "--preset", "icl", "--shots", "2", "--n", "2", "--logprob")
    assert done.returncode == 0, done.stderr
    table = pq.read_table(run / "sample/samples.parquet")
    assert not any(template.QUESTION_HEADER in text for text in table["text"].to_pylist())
    assert table["logprob"].null_count == 0
    assert "easy.jsonl" in counts(run)["read"]
    too_many = sample(run, "--shots", "900", "--force")
    assert too_many.returncode == 2
    assert "900 are needed" in too_many.stderr


def test_stop_texts_end_a_solution_in_both_engines_at_the_same_place(run: Path) -> None:
    model, tokenizer = load_generator(str(run / "sft")), load_tokenizer(str(run / "sft"))
    prompts = [template.prompt(p.problem) for p in read_split(run / "split", "test")]
    requests = [Request(str(i), (0,), p, 0) for i, p in enumerate(prompts)]
    plain, cut = (
        {
            g.id: g
            for many in TransformersEngine(model, tokenizer).generate(requests, decoding)
            for g in many
        }
        for decoding in (
            Decoding(temperature=0, max_tokens=60),
            Decoding(temperature=0, max_tokens=60, stop=("c=", "\n\n# Answer")),
        )
    )
    ended = 0
    for key, whole in plain.items():
        ends = [whole.text.find(mark) for mark in ("c=", "\n\n# Answer") if mark in whole.text]
        assert cut[key].text == (whole.text[: min(ends)] if ends else whole.text)
        assert cut[key].tokens <= whole.tokens
        if ends:
            assert cut[key].finish_reason == "stop"
            ended += 1
    assert ended


def test_run_records_tell_how_fast_and_how_idle(run: Path) -> None:
    assert sample(run, "--n", "4").returncode == 0
    found = counts(run)
    assert found["engines"] == ["transformers"]
    assert found["tokens_per_engine_second"] > 0
    assert 0 <= found["idle_share"] < 1
    assert sum(found["finish_reasons"].values()) == found["samples"] == 48
    assert sample(run, "--n", "6").returncode == 0
    lines = [json.loads(line) for line in (run / "sample/engines.jsonl").open()]
    assert [line["samples"] for line in lines] == [48, 24]
    # How fast it was is no part of what was made.
    assert "engines.jsonl" not in json.loads((run / "sample/stage.json").read_text())["outputs"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "3/2"], "not of the form i/n"),
        (["--engine-arg", "x"], "'x' is not key=value"),
        (["--engine-arg", "max_num_seqs=4"], "only vLLM takes engine arguments"),
        (["--preset", "greed"], "Input should be 'greedy'"),
        (["--max-tokens", "5000"], "lower --max-tokens to 4"),
        (["--ray", "127.0.0.1:1"], "--ray 127.0.0.1:1"),
        (["--stop", ""], "not a list of texts"),
    ],
)
def test_bad_options_are_one_line(run: Path, options: list[str], message: str) -> None:
    done = sample(run, *options)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_asking_for_an_engine_that_is_not_installed(run: Path) -> None:
    done = sample(run, "--engine", "vllm")
    assert done.returncode == 2
    assert "vLLM is not installed; install it with: pip install 'e2h[vllm]'" in done.stderr


# Shares of the work


@pytest.mark.parametrize("shares", [(2,), (3,), (2, 3), (7,)])
def test_shares_are_disjoint_and_complete(shares: tuple[int, ...]) -> None:
    problems = [Problem(str(i), "q", 1, "s", "t") for i in range(9)]
    whole = {(r.id, s) for r in missing_requests(problems, 300, set(), 0) for s in r.samples}
    assert len(whole) == 2700
    found: list[tuple[str, int]] = []
    for numbers in itertools.product(*(range(count) for count in shares)):
        own = list(zip(numbers, shares, strict=True))
        share = [
            (r.id, s) for r in missing_requests(problems, 300, set(), 0, own) for s in r.samples
        ]
        assert share
        found += share
        # A share keeps what it had when n grows.
        before = [
            (r.id, s) for r in missing_requests(problems, 128, set(), 0, own) for s in r.samples
        ]
        assert set(before) <= set(share)
    assert len(found) == len(whole)
    assert set(found) == whole


def test_shards_are_merged_only_when_all_are_there(run: Path) -> None:
    common = ("--n", "130")
    assert sample(run, *common, "--shard", "1/3").returncode == 0
    assert sample(run, *common, "--shard", "3/3").returncode == 0
    refused = sample(run, *common, "--merge")
    assert refused.returncode == 2
    assert "samples are missing (not done: --shard 2/3)" in refused.stderr
    other = sample(run, *common, "--temperature", "0.9", "--shard", "2/3", "--force")
    assert other.returncode == 2
    assert "other shards may be in it" in other.stderr
    assert sample(run, *common, "--shard", "2/3").returncode == 0
    merged = sample(run, *common, "--merge")
    assert merged.returncode == 0, merged.stderr
    assert keys(run) == wanted(run, "test", 130)
    # The same noise, whoever draws: one process draws the same samples.
    alone = run.parent / "alone"
    for stage in ("split", "pretrain", "sft"):
        shutil.copytree(run / stage, alone / stage)
    assert sample(alone, *common).returncode == 0
    ours, theirs = (
        pq.read_table(r / "sample/samples.parquet")["text"].to_pylist() for r in (run, alone)
    )
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    assert same > 0.95 * len(ours)  # batches of other shapes round otherwise


def test_workers_and_ray_draw_the_keys_of_one_process(run: Path) -> None:
    assert sample(run, "--n", "70", "--workers", "2").returncode == 0
    assert keys(run) == wanted(run, "test", 70)
    lines = [json.loads(line) for line in (run / "sample/engines.jsonl").open()]
    assert len(lines) == 2
    assert sum(line["samples"] for line in lines) == 840
    done = sample(run, "--n", "140", "--workers", "2", "--ray", "local")
    assert done.returncode == 0, done.stderr
    assert keys(run) == wanted(run, "test", 140)
    assert len((run / "sample/engines.jsonl").read_text().splitlines()) == 4


def test_a_worker_that_fails_is_one_line(run: Path) -> None:
    shutil.rmtree(run / "sft")
    shutil.copytree(run / "split", run / "sft")
    done = sample(run, "--n", "70", "--workers", "2", "--model", str(run / "sft"))
    assert done.returncode == 2, done.stdout
    assert "no config.json" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_parts_are_readable_as_they_are(run: Path, tmp_path: Path) -> None:
    import datasets

    assert sample(run, "--n", "64", "--shard", "1/2").returncode == 0
    files = [str(f) for f in (run / "sample/unfinished").rglob("part-*.parquet")]
    found = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert found["train"].num_rows == 12 // 2 * 64
    assert found["train"].column_names == [
        "id", "sample", "text", "answer", "finish_reason", "tokens", "logprob",
    ]  # fmt: skip


# What a kill and a full disk cost


def killed(run: Path, options: Sequence[str], delay: float, *, in_write: bool) -> bool:
    """Start sampling and kill it: ``delay`` s after its first new file, or inside a write.

    Returns whether it was killed, and not done before.
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
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("engine", ENGINE_STATS)
def test_twenty_kills_cost_no_key(engine: str, run: Path) -> None:
    """At random moments, half of them inside a write."""
    options = ["--part", "easy", "--n", "256", "--engine", engine, "--part-seconds", "0.05"]
    rng = random.Random(0)
    kills = 0
    for i in range(20):
        # A leftover of an earlier kill is no write of this run.
        for torn in (run / "sample").rglob("*.tmp"):
            torn.unlink()
        kills += killed(run, options, rng.uniform(0, 0.4), in_write=i % 2 == 0)
    assert kills == 20, "the work was done before all kills: ask for more samples"
    done = sample(run, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are on disk already" in done.stdout
    assert keys(run) == wanted(run, "easy", 256)
    table = pq.read_table(run / "sample/samples.parquet")
    assert all(text is not None for text in table["text"].to_pylist())
    assert not (run / "sample/unfinished").exists()
    assert not list((run / "sample").rglob("*.tmp"))


@pytest.mark.parametrize("engine", ENGINE_STATS)
def test_two_shards_at_once_and_kills(engine: str, run: Path) -> None:
    options = ["--part", "easy", "--n", "192", "--engine", engine, "--part-seconds", "0.05"]
    rng = random.Random(1)
    for _ in range(2):
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
        for process in both:
            time.sleep(rng.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            process.communicate()
    assert sample(run, *options, "--merge").returncode == 2
    for i in (1, 2):
        done = sample(run, *options, "--shard", f"{i}/2")
        assert done.returncode == 0, done.stderr
    assert sample(run, *options, "--merge").returncode == 0
    assert keys(run) == wanted(run, "easy", 192)


def _small_disks() -> bool:
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _small_disks(), reason="this user may not mount a small file system")
def test_a_full_disk_costs_no_key(run: Path) -> None:
    """On a file system of 200 KiB; then it grows, and the same command goes on."""
    options = ["--part", "easy", "--n", "64", "--part-seconds", "0.05"]
    command = " ".join([sys.executable, "-m", "e2h_cli", *arguments(run, *options)])
    script = f"""
        set -u
        mkdir -p {run}/sample && mount -t tmpfs -o size=200k tmpfs {run}/sample
        {command} 2> {run.parent}/full; echo $? > {run.parent}/first
        mount -o remount,size=100m {run}/sample
        {command} > {run.parent}/out 2>&1; echo $? > {run.parent}/second
        cp -r {run}/sample {run}/copy
    """
    subprocess.run(["unshare", "-rm", "bash", "-c", script], check=True, timeout=300)
    assert (run.parent / "first").read_text().strip() == "1"
    line = (run.parent / "full").read_text().strip()
    assert "cannot write: No space left on device; free space or choose another folder" in line
    assert len(line.splitlines()) == 1
    assert (run.parent / "second").read_text().strip() == "0", (run.parent / "out").read_text()
    assert "are on disk already" in (run.parent / "out").read_text()
    (run / "sample").rmdir()
    (run / "copy").rename(run / "sample")
    assert keys(run) == wanted(run, "easy", 64)


# vLLM


def test_wider_heads_compute_the_same() -> None:
    import torch

    torch.manual_seed(0)
    tokens = tiny.tokenizer()
    model = tiny.model(tokens, hidden_size=32, num_layers=2, num_heads=4).eval()
    ids = torch.randint(3, len(tokens), (3, 40))
    for size in (16, 32):
        wide = with_head_size(model, size).eval()
        assert wide.config.head_dim == size
        torch.testing.assert_close(wide(ids).logits, model(ids).logits, atol=1e-5, rtol=1e-4)


@WITHOUT_VLLM
def test_vllm_options_are_checked_and_passed_on(run: Path) -> None:
    wrong = sample(run, "--engine", "vllm", "--engine-arg", "max_num_seq=3")
    assert wrong.returncode == 2
    assert "did you mean 'max_num_seqs'?" in wrong.stderr
    right = sample(
        run, "--engine", "vllm", "--engine-arg", "max_num_seqs=3", "--n", "3", "--logprob",
        "--stop", r"\n\n# Answer",
    )  # fmt: skip
    assert right.returncode == 0, right.stdout + right.stderr
    table = pq.read_table(run / "sample/samples.parquet")
    assert table["logprob"].null_count == 0
    assert not any("\n\n# Answer" in text for text in table["text"].to_pylist())


@WITHOUT_VLLM
def test_both_engines_write_the_same_greedy_solutions(run: Path) -> None:
    texts = []
    for engine in ("vllm", "transformers"):
        done = sample(run, "--engine", engine, "--preset", "greedy", "--logprob", "--force")
        assert done.returncode == 0, done.stdout + done.stderr
        (run / "sample/samples.parquet").rename(run.parent / f"{engine}.parquet")
        shutil.rmtree(run / "sample")
        texts.append(pq.read_table(run.parent / f"{engine}.parquet").to_pylist())
    same = [a["text"] == b["text"] for a, b in zip(*texts, strict=True)]
    # Two programs round differently, and an untrained model has near ties.
    assert sum(same) >= 0.8 * len(same)
    for a, b in zip(*texts, strict=True):
        if a["text"] == b["text"]:
            assert a["finish_reason"] == b["finish_reason"]
            assert a["tokens"] == b["tokens"]
            assert a["logprob"] == pytest.approx(b["logprob"], abs=1e-2)


@WITHOUT_VLLM
def test_the_quickstart_s_accuracy_is_the_same_with_both_engines(tmp_path: Path) -> None:
    """Same model, same problems, other noise: they differ by no more than chance."""
    run = tmp_path / "run"
    made = e2h(
        "run", "quickstart", "--scale", "tiny", "--run-dir", run, "--until", "sft",
        cwd=tmp_path, timeout=1200,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    problems = {p.id: p for p in read_split(run / "split", "test")}
    right = []
    for engine in ("vllm", "transformers"):
        done = e2h(
            "sample", "--scale", "tiny", "--run-dir", run, "--engine", engine, "--n", "32",
            "--force", cwd=tmp_path, timeout=1200,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"'{engine}'" in str(counts(run)["engines"])
        rates: dict[str, list[bool]] = {}
        for sample in pq.read_table(run / "sample/samples.parquet").to_pylist():
            rates.setdefault(sample["id"], []).append(
                sample["answer"] == problems[sample["id"]].answer
            )
        right.append([sum(rates[key]) / len(rates[key]) for key in problems])
        shutil.rmtree(run / "sample")
    difference = np.subtract(*right)
    mean, error = difference.mean(), difference.std() / len(difference) ** 0.5
    print(f"pass@1 vllm {np.mean(right[0]):.4f}, transformers {np.mean(right[1]):.4f}, "
          f"difference {mean:.4f} +- {error:.4f}")  # fmt: skip
    assert abs(mean) < 3 * error
    assert error < 0.01
