"""Several shards, workers and Ray tasks draw the samples that one process would draw."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2h_cli.data.problem import Problem
from e2h_cli.inference.sampling import missing_requests
from tests.conftest import copy_stages
from tests.inference.conftest import expected_keys, keys, sample


def requested(
    problems: list[Problem], n: int, shares: Sequence[tuple[int, int]] = ()
) -> list[tuple[str, int]]:
    requests = missing_requests(problems, n, set(), 0, shares)
    return [(request.id, sample) for request in requests for sample in request.samples]


@pytest.mark.parametrize("shares", [(2,), (3,), (2, 3), (7,)])
def test_shares_are_disjoint_and_complete(shares: tuple[int, ...]) -> None:
    problems = [Problem(str(i), "q", 1, "s", "t") for i in range(9)]
    whole = set(requested(problems, 300))
    assert len(whole) == 2700
    found: list[tuple[str, int]] = []
    for numbers in itertools.product(*(range(count) for count in shares)):
        levels = list(zip(numbers, shares, strict=True))
        share = requested(problems, 300, levels)
        assert share
        found += share
        # A share keeps its samples when n grows.
        assert set(requested(problems, 128, levels)) <= set(share)
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
    assert keys(run) == expected_keys(run, "test", 130)
    # One process draws the same samples, since their noise is the same.
    alone = copy_stages(run, run.parent / "alone", "split", "pretrain", "sft")
    assert sample(alone, *common).returncode == 0
    ours, theirs = (
        pq.read_table(r / "sample/samples.parquet")["text"].to_pylist() for r in (run, alone)
    )
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    assert same > 0.95 * len(ours)  # batches of other shapes round differently


@pytest.mark.slow
def test_workers_and_ray_draw_the_keys_of_one_process(run: Path) -> None:
    assert sample(run, "--n", "70", "--workers", "2").returncode == 0
    assert keys(run) == expected_keys(run, "test", 70)
    lines = [json.loads(line) for line in (run / "sample/engines.jsonl").open()]
    assert len(lines) == 2
    assert sum(line["samples"] for line in lines) == 840
    done = sample(run, "--n", "140", "--workers", "2", "--ray", "local")
    assert done.returncode == 0, done.stderr
    assert keys(run) == expected_keys(run, "test", 140)
    assert len((run / "sample/engines.jsonl").read_text().splitlines()) == 4


@pytest.mark.slow
def test_the_shards_that_are_missing_are_named_if_there_are_workers(run: Path) -> None:
    assert sample(run, "--n", "70", "--shard", "1/3", "--workers", "2").returncode == 0
    refused = sample(run, "--n", "70", "--merge")
    assert "(not done: --shard 2/3, --shard 3/3)" in refused.stderr


@pytest.mark.slow
def test_a_worker_that_fails_is_one_line(run: Path) -> None:
    shutil.rmtree(run / "sft")
    shutil.copytree(run / "split", run / "sft")
    done = sample(run, "--n", "70", "--workers", "2", "--model", str(run / "sft"))
    assert done.returncode == 2, done.stdout
    assert "no config.json" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_part_files_are_readable_by_datasets(run: Path, tmp_path: Path) -> None:
    import datasets

    assert sample(run, "--n", "64", "--shard", "1/2").returncode == 0
    files = [str(f) for f in (run / "sample/unfinished").rglob("part-*.parquet")]
    found = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert found["train"].num_rows == 12 // 2 * 64
    assert found["train"].column_names == [
        "id", "sample", "text", "answer", "finish_reason", "tokens", "logprob",
    ]  # fmt: skip
