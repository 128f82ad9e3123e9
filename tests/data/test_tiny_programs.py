"""The world of tiny programs."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data import template, tiny_programs
from e2h_cli.data.problem import Problem
from e2h_cli.data.program_tests import ProgramTests
from e2h_cli.data.tiny_programs import LENGTHS_BY_LEVEL, NEIGHBOURS, OPERATIONS, Task

_PROGRAM = """def f(x):
    # a: raise by 3
    x = [min(v + 3, 9) for v in x]
    # b: drop the last 2
    x = x[:-2]
    # c: reverse
    x = x[::-1]
    return x"""


BY_HAND = [
    ("add", 3, [6, 1, 2, 7]),
    ("subtract", 3, [0, 5, 6, 1]),
    ("raise", 3, [6, 9, 9, 7]),
    ("lower", 4, [0, 4, 5, 0]),
    ("multiply", 3, [9, 4, 7, 2]),
    ("drop first", 1, [8, 9, 4]),
    ("drop last", 2, [3, 8]),
    ("keep from", 4, [8, 9, 4]),
    ("keep above", 4, [8, 9]),
    ("append", 5, [3, 8, 9, 4, 5]),
    ("prepend", 5, [5, 3, 8, 9, 4]),
    ("reverse", 0, [4, 9, 8, 3]),
]


def _outputs(program: str, tests: ProgramTests) -> list[Any]:
    """What one of the world's own programs returns for each input."""
    names: dict[str, Any] = {}
    exec(program, names)
    return [names[tests.function or ""](*json.loads(arguments)) for arguments in tests.inputs]


def _expected(tests: ProgramTests) -> list[Any]:
    return [json.loads(output) for output in tests.outputs]


@pytest.fixture(scope="module")
def problems() -> tuple[list[Problem], list[Problem]]:
    return tiny_programs.program_problems((60, 40, 40), (20, 20, 20), 0)


def test_a_task_by_hand() -> None:
    task = Task((("raise", 3), ("drop last", 2), ("reverse", 0)))
    assert task.question == "a: raise by 3; b: drop the last 2; c: reverse"
    assert task.program == _PROGRAM
    assert task.run([1, 8, 5, 0]) == [9, 4]
    assert task.subject == "arithmetic"


@pytest.mark.parametrize(("operation", "digit", "result"), BY_HAND)
def test_each_operation_by_hand_and_as_code(operation: str, digit: int, result: list[int]) -> None:
    task = Task(((operation, digit),))
    assert task.run([3, 8, 9, 4]) == result
    assert _outputs(task.program, ProgramTests(("[[3, 8, 9, 4]]",), function="f")) == [result]


def test_every_operation_is_tested_by_hand() -> None:
    assert {operation for operation, _, _ in BY_HAND} == set(OPERATIONS)


@pytest.mark.parametrize("level", LENGTHS_BY_LEVEL)
def test_levels_have_their_lengths_and_half_of_the_operations_have_a_neighbour(level: int) -> None:
    rng = random.Random(level)
    drawn = [tiny_programs.draw(level, rng).operations for _ in range(200)]
    shortest, longest = LENGTHS_BY_LEVEL[level]
    assert {len(operations) for operations in drawn} == set(range(shortest, longest + 1))
    for operations in drawn:
        confusable = sum(name in NEIGHBOURS for name, _ in operations)
        assert confusable == (len(operations) + 1) // 2


def test_right_programs_pass_their_tests(problems: tuple[list[Problem], list[Problem]]) -> None:
    for problem in [*problems[0], *problems[1]]:
        tests = ProgramTests.parse(problem.answer or "")
        assert len(tests.inputs) == len(tests.outputs) == tiny_programs.TESTS
        assert _outputs(problem.solution or "", tests) == _expected(tests)


def test_public_tests_are_the_first_inputs(problems: tuple[list[Problem], list[Problem]]) -> None:
    problem = problems[1][0]
    tests, public = (ProgramTests.parse(t or "") for t in (problem.answer, problem.public_tests))
    assert public == ProgramTests(tests.inputs[: tiny_programs.PUBLIC_TESTS], (), "f")


def test_every_careless_line_of_a_problem_fails_a_test() -> None:
    partly = 0
    for _, task in tiny_programs.distinct({1: 40, 3: 40}, random.Random(1), set()):
        tests = tiny_programs.tests(task)
        for i, (name, digit) in enumerate(task.operations):
            if name in NEIGHBOURS:
                wrong = task.with_operation(i, NEIGHBOURS[name], digit)
                pairs = zip(_outputs(wrong.program, tests), _expected(tests), strict=True)
                passed = [output == expected for output, expected in pairs]
                assert not all(passed)
                partly += any(passed)
    assert partly > 40  # so that average accuracy is more than strict accuracy


def test_mistakes_that_do_not_show_are_no_problem() -> None:
    # Lists have at most seven digits, and of so few none is left.
    hidden = Task((("drop last", 2), *[("drop first", 2)] * 3))
    assert tiny_programs.mistakes_show(Task((("drop last", 2),)))
    assert not tiny_programs.mistakes_show(hidden)


def test_mistakes_are_rare_early_and_systematic_late() -> None:
    rng = random.Random(0)
    counts: dict[float, list[bool]] = {}
    slips = []
    for _ in range(3000):
        task = tiny_programs.draw(3, rng)
        written = tiny_programs.solve_like_a_human(task, rng)
        pairs = zip(task.operations, written.operations, strict=True)
        for i, ((name, digit), (done, done_digit)) in enumerate(pairs):
            if name not in NEIGHBOURS:
                slips.append((name, digit) != (done, done_digit))
                continue
            late = i >= tiny_programs.EARLY_OPERATIONS and name in tiny_programs.HARD_LATE
            chance = tiny_programs.CARELESS_LATE if late else tiny_programs.CARELESS
            counts.setdefault(chance, []).append(done == NEIGHBOURS[name])
    assert len(counts) == 2
    for chance, misread in counts.items():
        assert sum(misread) / len(misread) == pytest.approx(chance, abs=0.03)
    assert 0 < sum(slips) / len(slips) < tiny_programs.SLIP


def test_problems_are_distinct_and_the_same_for_a_seed(
    problems: tuple[list[Problem], list[Problem]],
) -> None:
    questions = [p.problem for part in problems for p in part]
    assert len(set(questions)) == len(questions) == 200
    assert [p.level for p in problems[1]] == [1] * 20 + [2] * 20 + [3] * 20
    assert tiny_programs.program_problems((60, 40, 40), (20, 20, 20), 0) == problems
    assert tiny_programs.program_problems((60, 40, 40), (20, 20, 20), 1) != problems


def test_the_corpus_has_no_held_out_question(
    problems: tuple[list[Problem], list[Problem]],
) -> None:
    def documents(held_out: set[str]) -> list[tuple[str, str]]:
        return tiny_programs.corpus(300, held_out, random.Random(0))

    free = documents(set())
    assert free == documents(set())
    asked = {prompt for prompt, _ in free[:50]}
    held_out = {p.removeprefix(template.prompt("?")[:12]).split("\n")[0] for p in asked}
    assert {template.prompt(question) for question in held_out} == asked
    rest = documents(held_out)
    assert len(rest) == 300
    assert not asked & {prompt for prompt, _ in rest}


def test_too_many_problems_or_levels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(tiny_programs.LENGTHS_BY_LEVEL, 1, (1, 1))
        with pytest.raises(InputError, match="level 1 has no"):
            tiny_programs.program_problems((100,), (1,), 0)
    with pytest.raises(InputError, match="levels 1 to 3"):
        tiny_programs.program_problems((1, 1, 1, 1), (1,), 0)
