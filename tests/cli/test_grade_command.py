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


PROGRAMS = [
    {
        "tests": {"inputs": ["1 2\n", "5 5"], "outputs": ["3\n", "10\n"]},
        "program": "print(sum(map(int, input().split())))",
        "id": 7,
    },
    {
        "input_output": json.dumps({"inputs": ["1 2"], "outputs": ["1\n2\n"]}),
        "program": "print(*input().split()[::-1], sep='\\n')",
    },
    {
        "input_output": {"fn_name": "add", "inputs": [[1, 2], [2, 2]], "outputs": [[3], [4]]},
        "program": "def add(a, b):\n    return a + b if a == 1 else 0",
    },
]


def _programs(folder: Path, *more: dict[str, object]) -> Path:
    file = folder / "programs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in (*PROGRAMS, *more)))
    return file


def test_a_file_of_programs(cli: Cli, tmp_path: Path) -> None:
    _programs(tmp_path)
    done = cli("grade", "--in", "programs.jsonl", "--out", "v.jsonl", "--timeout", "2")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in (tmp_path / "v.jsonl").open()]
    assert [row["verdict"] for row in found] == ["right", "wrong", "wrong"]
    assert [(row["passed"], row["run"]) for row in found] == [(2, 2), (0, 1), (1, 2)]
    assert found[2]["reason"] == "passes 1 of 2 tests; first failure: test 2, wrong output"
    assert found[0]["id"] == 7
    assert all(row["sandbox"] and row["ms"] >= 0 for row in found)
    assert f"programs tolerant, 2 s, 512 MiB, {found[0]['sandbox']}" in done.stdout


def test_the_example_of_the_page_on_programs(cli: Cli, tmp_path: Path) -> None:
    page = (TESTS.parent / "docs" / "programs.md").read_text(encoding="utf-8")
    command, rows = re.findall(r"```(?:json)?\n(.+?)```", page, re.DOTALL)[:2]
    (tmp_path / "programs.jsonl").write_text(rows)
    done = cli(*command.split()[1:])
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").open()]
    assert [row["verdict"] for row in found] == ["right", "right"]


def test_rules_of_comparison_are_compared(cli: Cli, tmp_path: Path) -> None:
    _programs(tmp_path)
    options = ("--comparison", "apps", "--against", "strict", "--out", "d.jsonl")
    done = cli("grade", "--in", "programs.jsonl", *options)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.rstrip().endswith("%")]
    numbers = {" ".join(line[:-3]): line[-3] for line in lines}
    assert numbers == {
        "both right": "1", "only apps": "1", "only strict": "0", "neither": "1",
        "unreadable by apps": "0", "unreadable by strict": "0",
    }  # fmt: skip
    assert "programs.jsonl:2: apps right (passes 1 of 1 tests), strict wrong" in done.stdout
    [row] = [json.loads(line) for line in (tmp_path / "d.jsonl").open()]
    assert (row["line"], row["program"]) == (2, PROGRAMS[1]["program"])


def test_mistakes_with_programs(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"gold": "1", "pred": "1"}\n{"program": "x"}\n')
    mixed = cli("grade", "--in", "pairs.jsonl", "--out", "v.jsonl")
    assert_one_line(mixed, "pairs.jsonl:2", "a row of programs in a file of answers")
    _programs(tmp_path, {"gold": "1", "pred": "1"})
    given = ("grade", "--in", "programs.jsonl")
    assert_one_line(cli(*given, "--out", "v.jsonl"), "programs.jsonl:4", "a row of answers")
    for row, said in (
        ({"program": "x"}, "no tests"),
        ({"program": 1, "tests": {}}, "'program' is not a text"),
        ({"program": "x", "tests": {"inputs": ["1"]}}, "without 'outputs'"),
        ({"program": "x", "input_output": ""}, "'input_output': no tests"),
    ):
        _programs(tmp_path, row)
        assert_one_line(cli(*given, "--out", "v.jsonl"), "programs.jsonl:4", said)
    assert not (tmp_path / "v.jsonl").exists()
    for options, said in (
        (("--grader", "exact"), "--comparison"),
        (("--comparison", "exact"), "apps, strict, tolerant"),
        (("--sandbox", "docker"), "auto, bubblewrap, landlock, none"),
        (("--against", "tolerant"), "--against names the rule of --comparison"),
        (("--against", "exact"), "apps, strict, tolerant"),
    ):
        assert_one_line(cli(*given, "--out", "v.jsonl", *options), said)
    assert_one_line(cli(*given), "--out")
