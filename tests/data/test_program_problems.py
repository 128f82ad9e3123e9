"""Problems that a program solves: their tests in files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem, read_problems, write_problems
from e2h_cli.data.program_tests import ProgramTests

SUM = ProgramTests(("1 2\n", "ü\n3"), ("3\n", "3"))
CALL = ProgramTests(("[1, [2]]",), ("[true, 0.5]",), "add")
ROW = {"problem": "Add.", "level": 2, "subject": "function"}


def _problem(tests: ProgramTests, **more: Any) -> Problem:
    return Problem("p", "Add.", 2, "function", "apps", tests.text(), "print(3)", **more)


def test_tests_are_objects_in_files(tmp_path: Path) -> None:
    public = SUM.public([1]).text()
    problems = [
        _problem(SUM, public_tests=public),
        Problem("q", "1+1?", 1, "sums", "chains", "2"),
        Problem("r", "Add.", 2, "function", "apps", CALL.text()),
    ]
    file = tmp_path / "problems.jsonl"
    write_problems(file, problems)
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert "answer" not in rows[0]
    outputs = ["3\n", "3"]
    assert rows[0]["tests"] == {"function": None, "inputs": ["1 2\n", "ü\n3"], "outputs": outputs}
    assert rows[0]["public_tests"] == {"function": None, "inputs": ["ü\n3"], "outputs": []}
    assert rows[1]["answer"] == "2"
    assert read_problems(file) == problems
    assert [problem.is_program for problem in problems] == [True, False, True]


def test_a_hidden_problem_keeps_its_public_tests(tmp_path: Path) -> None:
    hidden = _problem(SUM, public_tests=SUM.public([0]).text()).hidden()
    assert (hidden.answer, hidden.solution) == (None, None)
    assert hidden.is_program
    write_problems(tmp_path / "hidden.jsonl", [hidden])
    assert "3" not in (tmp_path / "hidden.jsonl").read_text()
    assert read_problems(tmp_path / "hidden.jsonl") == [hidden]


def test_outputs_of_public_tests_are_dropped(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps(ROW | {"tests": SUM.fields(), "public_tests": SUM.fields()}))
    assert read_problems(file)[0].public_tests == ProgramTests(SUM.inputs).text()


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ([], "not an object"),
        ({"inputs": "1", "outputs": ["1"]}, "'inputs' is not a list of texts"),
        ({"inputs": [[1]], "outputs": ["1"]}, "'inputs' is not a list of texts"),
        ({"inputs": ["1", "2"], "outputs": ["1"]}, "2 inputs, but 1 outputs"),
        ({"inputs": [], "outputs": []}, "no 'inputs'"),
        ({"inputs": ["1"]}, "without 'outputs'"),
        ({"function": "a b", "inputs": ["[]"], "outputs": ["1"]}, "not a name"),
        ({"function": "f", "inputs": ["1"], "outputs": ["1"]}, "not a list of arguments"),
        ({"function": "f", "inputs": ["[1]"], "outputs": ["one"]}, "Expecting value"),
        ({"function": "f", "inputs": ["[" * 10**5], "outputs": ["1"]}, "too deep"),
    ],
)
def test_malformed_tests_name_file_and_line(tmp_path: Path, tests: object, said: str) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text(json.dumps(ROW | {"answer": "1"}) + "\n" + json.dumps(ROW | {"tests": tests}))
    with pytest.raises(InputError, match="'tests'") as raised:
        read_problems(file)
    assert said in raised.value.line
    assert raised.value.where == f"{file}:2"
    assert "\n" not in raised.value.line
