"""Rows on disk: whole or not there, and never twice."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from e2h_cli.common import parquet_store
from e2h_cli.common.errors import InputError, RunError
from e2h_cli.common.files import fingerprint, read_jsonl, write_atomic, write_jsonl


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


def test_merging_twice_or_over_leftover_parts_changes_nothing(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.add([row("a", 0, "first")])
    one.merge(["a"])  # the parts are still there, as after a kill between merge and clean-up
    again = store(tmp_path)
    again.add([row("a", 0, "second"), row("a", 1)])
    again.merge(["a"])
    assert parquet_store.read_table(again.target, parquet_store.SAMPLE_SCHEMA)[
        "text"
    ].to_pylist() == [
        "first",
        "t",
    ]


def test_merging_in_small_pieces_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [f"p{i}" for i in range(20)]
    one = store(tmp_path)
    for sample in range(6):
        one.add([row(key, sample) for key in reversed(wanted)])
        one.flush()
    one.merge(wanted)
    whole = parquet_store.read_table(one.target, parquet_store.SAMPLE_SCHEMA)
    one.target.unlink()
    monkeypatch.setattr(parquet_store, "_MERGE_BYTES", 1)
    pieces = []
    one.merge(wanted, pieces.append)
    assert parquet_store.read_table(one.target, parquet_store.SAMPLE_SCHEMA) == whole
    assert len(pieces) == 20
    assert all(len(set(piece["id"].to_pylist())) == 1 for piece in pieces)


def test_torn_and_foreign_files_are_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert "cannot be read" in capsys.readouterr().out


def test_reading_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="cannot read"):
        parquet_store.read_table(tmp_path / "x.parquet", parquet_store.SAMPLE_SCHEMA)
    with pytest.raises(InputError, match="cannot read"):
        parquet_store.read_table(tmp_path / "missing.parquet", parquet_store.SAMPLE_SCHEMA)


def test_a_failed_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f"
    write_atomic(file, "old")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="No space left"):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_half_characters_are_kept(tmp_path: Path) -> None:
    rows = [{"a": "\ud800 \u00e9"}, {"a": "\u00e9"}]
    write_jsonl(tmp_path / "f", rows)
    assert [row for _, row in read_jsonl(tmp_path / "f")] == rows
    assert "\u00e9" in (tmp_path / "f").read_text()


def test_fingerprints_see_names_and_bytes(tmp_path: Path) -> None:
    folders = []
    for name, content in itertools.product("xy", "12"):
        folder = tmp_path / f"{name}{content}"
        folder.mkdir()
        (folder / name).write_text(content)
        folders.append(folder)
    assert len({fingerprint(f) for f in folders}) == 4
