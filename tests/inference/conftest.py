"""A run folder with a generator, and ``e2h sample`` in it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2h_cli.data.split_files import read_split
from tests.conftest import MINI, Done, copy_stages, e2h, e2h_process

needs_vllm = pytest.mark.skipif(
    find_spec("vllm") is None, reason="vLLM is not installed here; run: make test-vllm"
)
ENGINES = ["transformers", pytest.param("vllm", marks=needs_vllm)]


@pytest.fixture
def run(mini_run: Path, tmp_path: Path) -> Path:
    """A run folder with a split and a generator, and nothing sampled."""
    return copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "sft")


def arguments(run: Path, *options: str) -> list[str]:
    return ["sample", "--recipe", str(MINI), "--run-dir", str(run), *options]


def sample(run: Path, *options: str) -> Done:
    return e2h(*arguments(run, *options), cwd=run.parent)


def sample_process(run: Path, *options: str) -> Done:
    """For vLLM, which needs the file descriptor of stdout."""
    return e2h_process(*arguments(run, *options), cwd=run.parent)


def expected_keys(run: Path, part: str, n: int) -> list[tuple[str, int]]:
    """(problem id, sample number) of all samples of a part, in the order of the samples file."""
    return [(p.id, i) for p in read_split(run / "split", part) for i in range(n)]


def keys(run: Path) -> list[tuple[str, int]]:
    """The same of the samples file."""
    table = pq.read_table(run / "sample/samples.parquet")
    return list(zip(table["id"].to_pylist(), table["sample"].to_pylist(), strict=True))


def counts(run: Path) -> dict:
    return json.loads((run / "sample/stage.json").read_text())["counts"]
