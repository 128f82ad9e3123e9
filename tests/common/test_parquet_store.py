"""Rows are on disk whole or not at all, and never twice."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa
import pytest

from e2h_cli.common import parquet_store
from e2h_cli.common.errors import InputError


def row(key: str, sample: int, text: str = "t") -> dict[str, object]:
    return {
        "id": key, "sample": sample, "text": text, "answer": None,
        "finish_reason": "stop", "tokens": 1, "logprob": -1.0,
    }  # fmt: skip


def store(folder: Path) -> parquet_store.ShardedParquetStore:
    return parquet_store.ShardedParquetStore(
        folder / "all.parquet", folder / "work", parquet_store.SAMPLE_SCHEMA
    )


def test_rows_survive_the_process(tmp_path: Path) -> None:
    first = store(tmp_path)
    first.add([row("a", 0), row("b", 1)])
    first.flush()
    first.add([row("a", 1)])  # never flushed: in flight when the process dies
    second = store(tmp_path)
    assert second.keys() == {("a", 0), ("b", 1)}
    second.add([row("a", 1)])
    second.merge(["b", "a"])
    merged = parquet_store.read_table(second.target, parquet_store.SAMPLE_SCHEMA)
    assert list(zip(merged["id"].to_pylist(), merged["sample"].to_pylist(), strict=True)) == [
        ("b", 1), ("a", 0), ("a", 1),
    ]  # fmt: skip


def test_merging_again_with_leftover_part_files_changes_nothing(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.add([row("a", 0, "first")])
    one.merge(["a"])  # the part files are still there, as after a kill between merge and clean-up
    again = store(tmp_path)
    again.add([row("a", 0, "second"), row("a", 1)])
    again.merge(["a"])
    merged = parquet_store.read_table(again.target, parquet_store.SAMPLE_SCHEMA)
    assert merged["text"].to_pylist() == ["first", "t"]


def test_merging_in_small_chunks_changes_nothing(tmp_path: Path) -> None:
    ids = [f"p{i}" for i in range(20)]
    one = store(tmp_path)
    for sample in range(6):
        one.add([row(key, sample) for key in reversed(ids)])
        one.flush()
    one.merge(ids)
    whole = parquet_store.read_table(one.target, parquet_store.SAMPLE_SCHEMA)
    one.target.unlink()
    chunks: list[pa.Table] = []
    one.merge(ids, chunks.append, max_bytes=1)
    assert parquet_store.read_table(one.target, parquet_store.SAMPLE_SCHEMA) == whole
    assert len(chunks) == 20
    assert all(len(set(chunk["id"].to_pylist())) == 1 for chunk in chunks)


def test_torn_and_foreign_files_are_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Off after a command line has run in this process.
    monkeypatch.setattr(logging.getLogger("e2h_cli"), "propagate", True)
    one = store(tmp_path)
    one.add([row("a", 0)])
    one.flush()
    one.add([row("a", 1)])
    one.flush()
    torn, whole = sorted((tmp_path / "work").glob("*.parquet"))
    torn.write_bytes(torn.read_bytes()[:-20])
    assert store(tmp_path).keys() == {("a", 1)}
    assert torn.with_suffix(".unreadable").exists()
    assert whole.exists()
    assert f"{torn.name} cannot be read" in caplog.text


def test_reading_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="cannot read"):
        parquet_store.read_table(tmp_path / "x.parquet", parquet_store.SAMPLE_SCHEMA)
    with pytest.raises(InputError, match="cannot read"):
        parquet_store.read_table(tmp_path / "missing.parquet", parquet_store.SAMPLE_SCHEMA)
