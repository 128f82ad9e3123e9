"""``e2h grade`` as a user calls it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.conftest import TESTS, Cli, assert_one_line


def test_a_file_of_pairs(cli: Cli, tmp_path: Path) -> None:
    rows = [
        {"gold": "\\frac{1}{2}", "pred": "0.5", "id": 7},
        {"gold": "10{,}000", "pred": "9999"},
        {"gold": "x+1", "pred": "1+x"},
        {"gold": "2", "pred": "9**9**9**9"},
        {"gold": "2", "pred": None},
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = cli("grade", "--in", "pairs.jsonl", "--out", "verdicts.jsonl")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").open()]
    assert [row["verdict"] == "right" for row in found] == [True, False, True, False, False]
    assert (found[4]["verdict"], found[4]["reason"]) == ("unreadable", "empty")
    assert found[0]["id"] == 7
    assert all(row["reason"] and row["ms"] >= 0 for row in found)
    assert "e2h" in done.stdout


def test_rules_differ_where_they_should(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"gold": "\\\\frac{1}{2}", "pred": "2/4"}\n')
    verdicts = {}
    for rule in ("e2h", "math-verify", "prm800k", "official", "exact"):
        assert (
            cli("grade", "--in", "pairs.jsonl", "--out", "v.jsonl", "--grader", rule).returncode
            == 0
        )
        verdicts[rule] = json.loads((tmp_path / "v.jsonl").read_text())["verdict"]
    assert verdicts == {
        "e2h": "right", "math-verify": "right", "prm800k": "wrong", "official": "wrong",
        "exact": "wrong",
    }  # fmt: skip


def test_two_rules_are_compared(cli: Cli, tmp_path: Path) -> None:
    pairs = [
        ("x+1", "1+x"),
        ("5", "5"),
        ("Monday", "mon"),
        ("5", "6"),
        ("5", ""),
        (5, "[/b]5\x1b[2J"),
    ]
    rows = [json.dumps({"gold": gold, "pred": pred}) for gold, pred in pairs]
    (tmp_path / "pairs.jsonl").write_text("\n\n".join(rows))
    done = cli("grade", "--in", "pairs.jsonl", "--against", "official", "--out", "d.jsonl")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.rstrip().endswith("%")]
    numbers = {" ".join(line[:-3]): line[-3] for line in lines}
    assert numbers == {
        "both right": "1", "only e2h": "1", "only official": "1", "neither": "3",
        "unreadable by e2h": "2", "unreadable by official": "2",
    }  # fmt: skip
    assert 'pairs.jsonl:1: ["x+1", "1+x"]: e2h right (equal expressions), official wrong' in (
        done.stdout
    )
    assert 'pairs.jsonl:5: ["Monday", "mon"]: e2h wrong' in done.stdout
    found = [json.loads(line) for line in (tmp_path / "d.jsonl").open()]
    assert [row["line"] for row in found] == [1, 5]
    assert found[0] == {
        "line": 1, "gold": "x+1", "pred": "1+x", "e2h": "right (equal expressions)",
        "official": "wrong (different strings)",
    }  # fmt: skip
    before = sorted(path.name for path in tmp_path.iterdir())
    assert cli("grade", "--in", "pairs.jsonl", "--against", "exact").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_example_of_the_documentation(cli: Cli, tmp_path: Path) -> None:
    page = (TESTS.parent / "docs" / "grading.md").read_text(encoding="utf-8")
    example = page.partition("## Two rules")[2]
    rows, command, output = re.findall(r"```(?:json|text)?\n(.+?)```", example, re.DOTALL)
    (tmp_path / "pairs.jsonl").write_text(rows)
    done = cli(*command.split()[1:])
    printed = [" ".join(line.split()) for line in done.stdout.splitlines() if line.strip()]
    expected = [" ".join(line.split()) for line in output.splitlines()]
    assert printed[-len(expected) :] == expected, done.stdout


def test_mistakes(cli: Cli, tmp_path: Path) -> None:
    assert_one_line(cli("grade", "--in", "none.jsonl", "--out", "v.jsonl"), "none.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"gold": "1", "pred": "1"}\n{"gold": "1"}\n')
    assert_one_line(cli("grade", "--in", "bad.jsonl", "--out", "v.jsonl"), "bad.jsonl", "2", "pred")
    assert not (tmp_path / "v.jsonl").exists()
    assert_one_line(cli("grade", "--in", "bad.jsonl", "--out", "/dev/null"), "not a regular file")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "one.jsonl").write_text('{"gold": "1", "pred": "1"}\n')
    assert cli("grade", "--in", "one.jsonl", "--out", "link").returncode == 0
    assert (tmp_path / "link").is_symlink()
    assert "right" in (tmp_path / "target").read_text()
    (tmp_path / "null.jsonl").write_text('{"gold": null, "pred": "1"}\n')
    assert_one_line(cli("grade", "--in", "null.jsonl", "--out", "v.jsonl"), "null.jsonl:1", "gold")
    (tmp_path / "empty.jsonl").write_text("")
    assert cli("grade", "--in", "empty.jsonl", "--out", "v.jsonl").returncode == 0
    assert_one_line(cli("grade", "--in", "empty.jsonl"), "--out")
    same = cli("grade", "--in", "empty.jsonl", "--against", "e2h")
    assert_one_line(same, "--against", "another rule")
    assert_one_line(cli("grade", "--in", "empty.jsonl", "--against", "best"), "best")
    done = cli("grade", "--in", "bad.jsonl", "--out", "v.jsonl", "--grader", "best")
    assert_one_line(done, "best", "math-verify")
