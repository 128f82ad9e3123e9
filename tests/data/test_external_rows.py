"""Records of JSON lines, JSON arrays and Parquet, one at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data.external_rows import read_file_or_hub, read_records

ROWS = [{"a": i, "text": 'é "]}, [{' * i} for i in range(5)]


@pytest.mark.parametrize(
    ("suffix", "place"), [("jsonl", ":{}"), ("json", ": row {}"), ("parquet", ": row {}")]
)
def test_records_of_every_form(tmp_path: Path, suffix: str, place: str) -> None:
    file = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), file)
    elif suffix == "json":
        file.write_text("\n " + json.dumps(ROWS, indent=1, ensure_ascii=False))
    else:
        file.write_text("\n".join(json.dumps(row) for row in ROWS))
    found = list(read_records(file))
    assert [record.row for record in found] == ROWS
    assert [record.number for record in found] == [1, 2, 3, 4, 5]
    assert [record.where for record in found] == [f"{file}{place.format(i)}" for i in range(1, 6)]
    assert list(read_file_or_hub(str(file))) == found


def test_arrays_are_read_exactly(tmp_path: Path) -> None:
    """Floats bit by bit, integers of any size, half characters, the last of equal keys."""
    text = (
        '[{"f": [0.1, 1e5, -0.0, 3.0, 123456789.123456789, 5e-324], "b": [true, false, null],'
        '"i": [-0, 9223372036854775808, 123456789012345678901234567890],'
        '"s": ["\\ud83d", "\\ud83d\\ude00", "\\u00e9\\n"], "k": 1, "k": 2}, {}]'
    )
    (tmp_path / "a.json").write_text(text)
    found = [record.row for record in read_records(tmp_path / "a.json")]
    assert repr(found) == repr(json.loads(text))


def test_arrays_longer_than_the_read_buffer(tmp_path: Path) -> None:
    rows = [{"n": i, "s": 'é\\"' * i, "l": [i, [i / 7]]} for i in range(500)]
    text = json.dumps(rows, ensure_ascii=False)
    assert len(text) > 2**19
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    assert [record.row for record in read_records(tmp_path / "a.json")] == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(ROWS)[:-8].encode(), "a.json: not valid JSON after 4 rows"),
        (b'[{"a": 1}, {"a": NaN}]', "a.json: not valid JSON after 1 rows"),
        (b'[{"a": 1}] {"a": 2}', "a.json: not valid JSON after 1 rows"),
        (b'[{"a": 1},, {"a": 2}]', "a.json: not valid JSON after 1 rows"),
        (b'[{"a": "\xff"}]', "a.json: not valid JSON after 0 rows"),
        (b'[{"a": "x\ny"}]', "a.json: not valid JSON after 0 rows"),
        (b"[{}, 2]", "a.json: row 2: not a JSON object"),
    ],
)
def test_broken_arrays_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(read_records(tmp_path / "a.json"))
    assert message in caught.value.line


def test_an_empty_folder_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"doesn't contain any data files; give one of its files"):
        list(read_file_or_hub(str(tmp_path)))
