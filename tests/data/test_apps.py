"""APPS: rows of the published files, broken tests, the draw of the test set, and prompts."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data.apps import DEFAULT_APPS, apps_problems, apps_tests, draw_test
from e2h_cli.data.problem import Problem, read_problems, write_problems
from e2h_cli.data.program_tests import ProgramTests
from tests.grading.programs.apps_problems import apps_problems as made_problems
from tests.hub_cache import cache_data_set

LEVELS = ("introductory", "interview", "competition")
Rows = list[dict[str, Any]]


def _rows() -> Rows:
    return [p.row(number, LEVELS[number % 3]) for number, p in enumerate(made_problems())]


def _write(file: Path, rows: Iterable[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = _rows()
    _write(tmp_path / "apps/train.jsonl", rows[:20])
    _write(tmp_path / "apps/test.jsonl", rows)
    return tmp_path / "apps"


def test_rows_become_problems_with_tests(folder: Path, tmp_path: Path) -> None:
    train, test, left_out = apps_problems(str(folder), (18, 18, 18), 0)
    assert (len(train), len(test), left_out) == (20, 54, {})
    assert [p.level for p in test] == [1] * 18 + [2] * 18 + [3] * 18
    found = {p.id: p for p in test}
    assert {p.id for p in train} == {f"apps/train/{i}" for i in range(20)}
    for number, made in enumerate(made_problems()):
        problem = found[f"apps/test/{number}"]
        assert problem.answer is not None
        tests = ProgramTests.parse(problem.answer)
        assert (problem.solution, tests.function) == (made.solution, made.function)
        assert problem.is_program
        if made.function is None:
            assert problem.subject == "standard input"
            assert problem.problem.endswith("Output\nUse standard input and output.")
            assert [*tests.inputs] == made.inputs
            assert [*tests.outputs] == made.outputs
        else:
            assert problem.subject == "function"
            starter = f"def {made.function}(*arguments):"
            assert problem.problem.endswith(f"{starter}\nWrite the function {made.function}.")
            assert [json.loads(text) for text in tests.inputs] == made.inputs
            assert [json.loads(text) for text in tests.outputs] == made.outputs
        assert problem.public_tests is not None
        public = ProgramTests.parse(problem.public_tests)
        assert tests.inputs[0] in public.inputs
        assert (public.outputs, public.function) == ((), made.function)
    write_problems(tmp_path / "problems.jsonl", test)
    assert read_problems(tmp_path / "problems.jsonl") == test


def test_the_kinds_of_files_give_the_same(folder: Path, tmp_path: Path) -> None:
    expected = apps_problems(str(folder), (4, 5, 6), 3)
    rows = {part: [json.loads(x) for x in (folder / f"{part}.jsonl").open()] for part in PARTS}
    parquet, zipped = tmp_path / "branch/all", tmp_path / "zipped"
    parquet.mkdir(parents=True)
    zipped.mkdir()
    for part in PARTS:
        table = pa.Table.from_pylist(rows[part])
        pq.write_table(table, parquet / f"{part}-00000-of-00001.parquet")
        data = (folder / f"{part}.jsonl").read_bytes()
        (zipped / f"{part}.jsonl.gz").write_bytes(gzip.compress(data))
    for other in (parquet, parquet.parent, zipped):
        assert apps_problems(str(other), (4, 5, 6), 3) == expected


PARTS = ("train", "test")


def test_names_of_the_hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = apps_problems(str(folder), (4, 5, 6), 3)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    splits = {part: [json.loads(x) for x in (folder / f"{part}.jsonl").open()] for part in PARTS}
    cache_data_set(tmp_path / "cache", "some/apps", "default", splits)
    assert apps_problems("some/apps", (4, 5, 6), 3) == expected
    # The data set itself is found as its two files: the rest of it is a loading script.
    root = tmp_path / "hub/datasets--codeparrot--apps"
    (root / "refs").mkdir(parents=True)
    (root / "refs/main").write_text("0" * 40)
    (root / "snapshots").mkdir()
    folder.rename(root / "snapshots" / ("0" * 40))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert apps_problems(None, (4, 5, 6), 3) == expected
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="hf download codeparrot/apps train") as raised:
        apps_problems(DEFAULT_APPS)
    assert "\n" not in raised.value.line


def test_one_file_is_drawn_from_and_the_rest_trains(tmp_path: Path) -> None:
    file = _write(tmp_path / "all.jsonl", _rows())
    train, test, _ = apps_problems(str(file), (3, 2, 1), 0)
    assert (len(train), len(test)) == (48, 6)
    assert not {p.id for p in train} & {p.id for p in test}


BROKEN = [
    ("", "no tests"),
    (None, "no tests"),
    ('{"inputs": [], "outputs": []}', "no tests"),
    ("{", "tests are not JSON"),
    ("[1]", "tests are not an object"),
    ('{"inputs": "1"}', "inputs or outputs are not a list"),
    ('{"inputs": ["1", "2"], "outputs": ["1"]}', "unequal numbers of inputs and outputs"),
    ('{"inputs": [1], "outputs": ["1"]}', "inputs or outputs are not texts"),
    ('{"inputs": ["1"], "outputs": [["1", 2]]}', "inputs or outputs are not texts"),
    ('{"fn_name": "f", "inputs": ["1"], "outputs": [1]}', "arguments are not a list"),
    ('{"fn_name": "f g", "inputs": [[1]], "outputs": [1]}', "'fn_name' is not a name"),
    ('{"fn_name": "f", "inputs": [[{"1": 2}]], "outputs": [1]}', "an argument has numbers as keys"),
    (
        '{"fn_name": "f", "inputs": [[1%s]], "outputs": [1]}' % ("0" * 5_000),
        "integers of more digits than Python reads",
    ),
]


def test_broken_tests_are_counted_and_left_out(tmp_path: Path) -> None:
    good = _rows()
    broken = [
        good[0] | {"problem_id": f"b{i}", "input_output": tests}
        for i, (tests, _) in enumerate(BROKEN)
    ]
    unsolved = [good[i] | {"problem_id": f"u{i}", "solutions": s} for i, s in enumerate(["", "[]"])]
    _write(tmp_path / "train.jsonl", [*good[:5], *broken, *unsolved])
    _write(tmp_path / "test.jsonl", [*good, *broken[:2], *unsolved])
    train, test, left_out = apps_problems(str(tmp_path), (1, 1, 1), 0)
    assert (len(train), len(test)) == (5, 3)
    reasons = [reason for _, reason in BROKEN]
    counts = {f"train: {reason}": reasons.count(reason) for reason in reasons}
    assert left_out == counts | {"train: no solution": 2, "test: no tests": 2}


def test_inputs_and_outputs_as_lists_of_lines() -> None:
    tests = apps_tests({"inputs": [["1", "2"], "3\n"], "outputs": [["x", "y"], "z\n"]})
    assert tests == ProgramTests(("1\n2", "3\n"), ("x\ny", "z\n"))
    tests = apps_tests('{"fn_name": "f", "inputs": [[{"a": 1}, "é"]], "outputs": [[true]]}')
    assert tests == ProgramTests(('[{"a": 1}, "é"]',), ("[true]",), "f")


@pytest.mark.parametrize(
    ("question", "tests", "shown"),
    [
        ("Input\n1 2 \n3\n\nOutput\n4\n", {"inputs": ["3", "1 2\n3\n", "2"]}, ["3", "1 2\n3\n"]),
        ("From 13 to 33.", {"inputs": ["3\n"]}, None),
        ("Empty.\n\n\n", {"inputs": ["\n"]}, None),
        (
            "add(1, ['a','b']) is ...",
            {"fn_name": "add", "inputs": [[1, ["a", "b"]], [2, []]]},
            ['[1, ["a", "b"]]'],
        ),
    ],
)
def test_public_inputs_stand_in_the_question(
    tmp_path: Path, question: str, tests: dict[str, Any], shown: list[str] | None
) -> None:
    tests["outputs"] = ["1" for _ in tests["inputs"]]
    row = _rows()[0] | {"question": question, "input_output": json.dumps(tests)}
    file = _write(tmp_path / "one.jsonl", [row])
    _, [problem], _ = apps_problems(str(file), (1,), 0)
    public = problem.public_tests
    assert (public and [*ProgramTests.parse(public).inputs]) == shown


def _many() -> list[Problem]:
    return [Problem(f"p{i}", "?", i % 3 + 1, "function", "apps", "x") for i in range(300)]


def test_the_draw_depends_on_the_seed_and_not_on_the_order() -> None:
    problems = _many()
    drawn = draw_test(problems, (10, 30, 10), 1)
    assert [p.level for p in drawn] == [1] * 10 + [2] * 30 + [3] * 10
    backwards = draw_test(iter(problems[::-1]), (10, 30, 10), 1)
    assert {p.id for p in backwards} == {p.id for p in drawn}
    assert {p.id for p in draw_test(problems, (10, 30, 10), 2)} != {p.id for p in drawn}
    assert [p.level for p in draw_test(problems, (0, 2), 1)] == [2, 2]
    times = [sum(p.id == "p0" for p in draw_test(problems, (25,), seed)) for seed in range(400)]
    assert 60 < sum(times) < 140  # a quarter of 100 problems of level 1


@pytest.mark.parametrize(
    ("counts", "said"),
    [((101,), "101 test problems of level 1, but only 100"), ((1, 1, 1, 1), "levels 1 to 3")],
)
def test_too_much_to_draw(counts: tuple[int, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        draw_test(_many(), counts, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"difficulty": "hard"}, "unknown difficulty 'hard'"),
        ({"question": None}, "no row of APPS"),
        ({"solutions": "["}, "'solutions' is not JSON"),
        ({"problem_id": 0}, "duplicate id 'apps/train/0'"),
    ],
)
def test_malformed_rows_name_the_line(folder: Path, change: dict[str, Any], said: str) -> None:
    rows = _rows()[:2]
    file = _write(folder / "train.jsonl", [rows[0], rows[1] | change])
    with pytest.raises(InputError, match=said) as raised:
        apps_problems(str(folder), (1, 1, 1), 0)
    assert raised.value.where == f"{file}:2"


def test_missing_and_unreadable_files(folder: Path, tmp_path: Path) -> None:
    (folder / "test.jsonl").unlink()
    with pytest.raises(InputError, match=r"no test\*.jsonl or test\*.parquet"):
        apps_problems(str(folder), (1,), 0)
    (folder / "test-0.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="cannot read this Parquet"):
        apps_problems(str(folder), (1,), 0)
