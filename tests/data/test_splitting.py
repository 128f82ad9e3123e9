"""The split by level, on small lists and on real MATH."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem, from_row, last_boxed, normalize_question, read
from e2h_cli.data.splitting import cell_sizes, split, stratified
from tests.conftest import Cli


def problem(i: int, level: int, text: str = "", subject: str = "s") -> Problem:
    return Problem(f"p{i}", text or f"question {i}", level, subject, "test", "1", "so 1")


def test_parts_by_level_and_nothing_lost() -> None:
    train = [problem(i, 1 + i % 5) for i in range(50)]
    test = [problem(100 + i, 1 + i % 5) for i in range(10)]
    done = split(train, test, max_level=3, validation=10, seed=0)
    assert {p.level for p in done.easy} == {1, 2, 3}
    assert {p.level for p in done.hard} == {4, 5}
    assert Counter(p.level for p in done.validation) == dict.fromkeys(range(1, 6), 2)
    ids = [p.id for p in (*done.easy, *done.hard, *done.validation)]
    assert sorted(ids) == sorted(p.id for p in train)


def test_validation_is_no_training_problem_and_depends_on_the_seed_alone() -> None:
    train = [problem(i, 1 + i % 5) for i in range(100)]
    test = train[:10]
    one, same, other = ([p.id for p in stratified(train, test, 10, seed)] for seed in (1, 1, 2))
    assert one == same != other


def test_leaks_and_repeats_are_set_aside() -> None:
    test = [problem(0, 1, "What is $x + 1$?")]
    train = [
        problem(1, 1, "what is $x+1$ ?"),
        problem(2, 1, "What  is\n$x\\, + 1$?"),
        problem(3, 2, "same"),
        problem(4, 2, "Same"),
        problem(5, 2, "other"),
    ]
    done = split(train, test, max_level=3, validation=0, seed=0)
    assert [p.id for p in done.leaks] == ["p1", "p2"]
    assert [p.id for p in done.repeats] == ["p4"]
    assert [p.id for p in done.easy] == ["p3", "p5"]


def test_cell_sizes_are_largest_remainders() -> None:
    cells = Counter({("a", 1): 5, ("b", 1): 3, ("c", 1): 2})
    assert cell_sizes(cells, 5) == {("a", 1): 3, ("b", 1): 1, ("c", 1): 1}
    assert sum(cell_sizes(cells, 7).values()) == 7
    assert cell_sizes(Counter(), 3) == {}


def test_normalised_ignores_spacing_and_case_only() -> None:
    assert normalize_question("Find  $x$.") == normalize_question("find $x$")
    assert normalize_question("Find x+1") != normalize_question("Find x-1")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{3}", "3"),
        (r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("none", None),
        (r"\boxed{open", None),
    ],
)
def test_last_boxed(text: str, answer: str | None) -> None:
    assert last_boxed(text) == answer


def test_rows_of_other_sources_are_read() -> None:
    row = {"problem": "q", "level": "Level 3", "type": "Algebra", "solution": r"\boxed{7}"}
    found = from_row(row, default_id="x/1", source="hub", where="here")
    assert (found.id, found.level, found.subject, found.answer) == ("x/1", 3, "Algebra", "7")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"problem": "q", "level": "hard"}'], "f.jsonl:1: level 'hard' is no number"),
        (['{"problem": "q", "level": 1}', "{broken"], "f.jsonl:2: not valid JSON"),
        (['{"level": 1}'], "f.jsonl:1: no text under 'problem'"),
        (["[1]"], "f.jsonl:1: not a JSON object"),
        (['{"id": "a", "problem": "q", "level": 1}'] * 2, "f.jsonl:2: id 'a' stands twice"),
        ([], "f.jsonl: no problems"),
    ],
)
def test_bad_files_are_refused_with_their_line(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"f\.jsonl") as error:
        read(file)
    assert message in str(error.value)


def test_real_math_is_split_as_in_the_paper(cli: Cli, math_data: Path, tmp_path: Path) -> None:
    done = cli("split", "--source", "math", "--data", math_data, "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    parts = {
        name: [json.loads(line) for line in (tmp_path / f"run/split/{name}.jsonl").open()]
        for name in ("easy", "hard", "validation", "test")
    }
    levels = {name: Counter(row["level"] for row in rows) for name, rows in parts.items()}
    assert levels["test"] == levels["validation"] == {1: 43, 2: 90, 3: 105, 4: 128, 5: 134}
    shape = {
        name: Counter((row["subject"], row["level"]) for row in parts[name])
        for name in ("test", "validation")
    }
    assert shape["test"] == shape["validation"]
    record = json.loads((tmp_path / "run/split/stage.json").read_text())
    counts = record["counts"]
    assert (counts["test_easy"], counts["test_hard"]) == (238, 262)
    kept = sum(len(rows) for rows in parts.values())
    assert kept + len(counts["leaks"]) + len(counts["repeats"]) == 8680
    assert all("answer" not in row and "solution" not in row for row in parts["hard"])
    assert "238" in done.stdout or "262" in done.stdout or "500" in done.stdout
