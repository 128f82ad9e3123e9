from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.grading import get_grader, grade_file


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_rows_keep_their_fields_and_order(tmp_path: Path) -> None:
    source = write(
        tmp_path / "pairs.jsonl",
        '{"id": 1, "gold": "\\\\frac{1}{2}", "pred": "0.5"}',
        "",
        '{"id": 2, "gold": 5, "pred": 6.0, "more": ["ä"]}',
        '{"id": 3, "gold": "5", "pred": ""}',
    )
    target = tmp_path / "out" / "verdicts.jsonl"
    counts = grade_file(source, target, get_grader("e2h"))
    assert counts == {"right": 1, "wrong": 1, "unreadable": 1}
    rows = [json.loads(line) for line in target.open(encoding="utf-8")]
    assert [row["id"] for row in rows] == [1, 2, 3]
    assert [row["verdict"] for row in rows] == ["right", "wrong", "unreadable"]
    assert rows[1]["more"] == ["ä"]
    assert all(isinstance(row["reason"], str) and row["ms"] >= 0 for row in rows)
    assert [path.name for path in target.parent.iterdir()] == ["verdicts.jsonl"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "jsonl:2: not valid JSON"),
        ("[1]", "jsonl:2: not a JSON object"),
        ('{"gold": "5"}', "jsonl:2: no 'pred'"),
        ('{"pred": "5"}', "jsonl:2: no 'gold'"),
        ('{"gold": null, "pred": "5"}', "jsonl:2: 'gold' is neither"),
        ('{"gold": true, "pred": "5"}', "jsonl:2: 'gold' is neither"),
        ("[" * 100_000, "jsonl:2: not valid JSON"),
    ],
)
def test_bad_rows_name_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    source = write(tmp_path / "pairs.jsonl", '{"gold": "5", "pred": "5"}', line)
    target = tmp_path / "verdicts.jsonl"
    target.write_text("old")
    with pytest.raises(InputError, match=message) as caught:
        grade_file(source, target, get_grader("exact"))
    assert "pairs.jsonl" in caught.value.line
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.jsonl", "verdicts.jsonl"]


def test_bytes_that_are_not_utf8_are_bad_input(tmp_path: Path) -> None:
    source = tmp_path / "pairs.jsonl"
    source.write_bytes(b'{"gold": "\xff", "pred": "5"}\n')
    with pytest.raises(InputError, match=r"not valid JSON|not UTF-8"):
        grade_file(source, tmp_path / "out.jsonl", get_grader("exact"))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        grade_file(tmp_path / "none.jsonl", tmp_path / "out.jsonl", get_grader("exact"))
