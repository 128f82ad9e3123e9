"""Grading programs by their tests: verdicts, the cache, and classes of equal behaviour."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.program_mutants import CountingRunner, grade_mutants, mutants
from e2h_cli.common.errors import InputError
from e2h_cli.data.apps import apps_tests
from e2h_cli.data.program_tests import ProgramTests
from e2h_cli.grading import get_grader
from e2h_cli.grading.programs import COMPARISONS, get_program_grader
from e2h_cli.grading.programs.program_grader import ProgramGrader
from e2h_cli.grading.programs.program_run import ProgramJob, RunResult
from e2h_cli.grading.verdict import Verdict, VerdictCache
from tests.grading.programs.apps_problems import apps_problems
from tests.grading.programs.forked_runner import ForkedRunner

SUM = ProgramTests(("1 2\n", "3 4\n", "0 0\n"), ("3\n", "7\n", "0\n")).text()
ADD = ProgramTests(("[1, 2]", "[3, 4]"), ("[3]", "[7]"), "add").text()
RIGHT = "print(sum(map(int, input().split())))"
LATE = "a, b = map(int, input().split())\nwhile a == 3: pass\nprint(a + b)"


class BrokenSandbox(ForkedRunner):
    """Cannot run the second input of any program."""

    def run(self, jobs: Sequence[ProgramJob]) -> Iterator[tuple[int, tuple[RunResult, ...]]]:
        for index, results in super().run(jobs):
            failed = RunResult("not judged", "", "no\nprocess")
            yield index, (results[0], failed, *results[2:])


def test_reference_solutions_pass_under_all_rules() -> None:
    problems = apps_problems()
    assert len(problems) >= 50
    pairs = [(apps_tests(p.row(0)["input_output"]).text(), p.solution) for p in problems]
    with ProgramGrader("apps", ForkedRunner()) as grader:
        for verdicts in grader.grade_by(COMPARISONS, pairs):
            named = zip(problems, verdicts, strict=True)
            assert [(p.name, v.reason) for p, v in named if not v.right] == []


@pytest.mark.parametrize(
    ("tests", "program", "verdict", "passed", "reason"),
    [
        (SUM, RIGHT, "right", 3, "passes 3 of 3 tests"),
        (SUM, "print(3)", "wrong", 1, "passes 1 of 3 tests; first failure: test 2, wrong output"),
        (SUM, " \n", "wrong", 0, "empty program"),
        (SUM, LATE, "timed out", 2, "passes 2 of 3 tests; first failure: test 2, timed out"),
        (
            SUM,
            "print(3)\nif '3' in input(): raise ValueError('three\\x1b[2J\\nlines')",
            "wrong",
            1,
            "passes 1 of 3 tests; first failure: test 2, error: ValueError: three\\x1b[2J lines",
        ),
        (ADD, "def add(a, b): return a + b", "right", 2, "passes 2 of 2 tests"),
        (ADD, "def add(a, b): return [a + b]", "right", 2, "passes 2 of 2 tests"),
        (ADD, "def add(a, b): return a - b", "wrong", 0, "first failure: test 1, wrong output"),
        (ADD, "def sub(a, b): return a + b", "wrong", 0, "error: KeyError: 'add'"),
    ],
)
def test_verdicts(tests: str, program: str, verdict: str, passed: int, reason: str) -> None:
    with ProgramGrader("strict", ForkedRunner()) as grader:
        [found] = grader.grade([(tests, program)])
    run = len(ProgramTests.parse(tests).inputs)
    assert (found.verdict, found.passed, found.run) == (verdict, passed, run)
    assert reason in found.reason
    assert found.share == passed / run


def test_each_pair_is_run_once_and_in_order() -> None:
    runner = ForkedRunner()
    with ProgramGrader("tolerant", runner) as grader:
        assert grader.version == "tolerant, 0.5 s, 512 MiB, forked 1"
        pairs = [(SUM, RIGHT), (ADD, RIGHT), (SUM, "print(3)"), (SUM, RIGHT)]
        verdicts = grader.grade(pairs)
    assert [v.verdict for v in verdicts] == ["right", "wrong", "wrong", "right"]
    assert len(runner.jobs) == 3
    assert all("3\n" not in job.inputs for job in runner.jobs)
    assert runner.closed


def test_tests_that_are_none_make_no_verdict_of_right() -> None:
    public = ProgramTests(("1",)).text()
    with ProgramGrader("apps", ForkedRunner()) as grader:
        for tests in ("", "3", "{", public, "[" * 10**5):
            assert grader.grade([(tests, RIGHT)])[0].verdict == "unreadable"


def test_a_failing_sandbox_judges_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = tmp_path / "verdicts.sqlite"
    with ProgramGrader("strict", BrokenSandbox(), cache) as grader:
        [verdict] = grader.grade([(SUM, RIGHT)])
        assert (verdict.verdict, verdict.reason, verdict.run) == ("not judged", "no process", 0)
        assert (verdict.right, verdict.share) == (False, 0.0)
        assert "1 of 1 programs were not judged" in caplog.text
        assert grader.classes([RIGHT, RIGHT, f"{RIGHT} "], SUM) == [0, 0, 1]
    runner = ForkedRunner()  # the same name, limits and version
    with ProgramGrader("strict", runner, cache) as grader:
        assert grader.grade([(SUM, RIGHT)])[0].right
        assert grader.classes([RIGHT, RIGHT, f"{RIGHT} "], SUM) == [0, 0, 0]
    assert len(runner.jobs) == 3


def test_rules_of_comparison_share_runs() -> None:
    tests = ProgramTests(("1 2", "3 4"), ("1\n2\n", "3.0\n")).text()
    program = "a, b = input().split()\nprint(b if a == '1' else 3)\nif a == '1': print(a)"
    runner = ForkedRunner()
    with ProgramGrader("apps", runner) as grader:
        found = grader.grade_by(COMPARISONS, [(tests, program)])
    assert [[v.passed for v in verdicts] for verdicts in found] == [[2], [0], [1]]
    assert len(runner.jobs) == 1


def test_verdicts_are_cached_with_their_counts(tmp_path: Path) -> None:
    cache = tmp_path / "verdicts.sqlite"
    pairs = [(SUM, RIGHT), (SUM, "print(3)"), (SUM, LATE), (SUM, ""), (ADD, "x")]
    with ProgramGrader("strict", ForkedRunner(), cache) as grader:
        first = grader.grade(pairs)
        classes = grader.classes([RIGHT, "print(3)", "x"], SUM)
    runner = ForkedRunner()
    with ProgramGrader("strict", runner, cache) as grader:
        again = grader.grade(pairs)
        assert grader.classes([RIGHT, "print(3)", "x"], SUM) == classes
    assert runner.jobs == []
    about = [[(v.verdict, v.reason, v.passed, v.run) for v in found] for found in (first, again)]
    assert about[0] == about[1]
    # Another rule, limit or sandbox runs anew.
    others = [
        ("apps", ForkedRunner()),
        ("strict", ForkedRunner(seconds=0.4)),
        ("strict", ForkedRunner("forked 2")),
    ]
    for rule, other in others:
        with ProgramGrader(rule, other, cache) as grader:  # type: ignore[arg-type]
            grader.grade(pairs[:2])
        assert len(other.jobs) == 2


@pytest.mark.slow
def test_a_kill_loses_only_the_last_seconds(tmp_path: Path) -> None:
    cache = tmp_path / "verdicts.sqlite"
    slow = [f"import time; time.sleep(0.1)\n{RIGHT}  # {i}" for i in range(200)]
    child = os.fork()
    if child == 0:
        try:
            with ProgramGrader("strict", ForkedRunner(), cache) as grader:
                grader.grade([(SUM, program) for program in slow])
        finally:
            os._exit(0)
    time.sleep(5)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    runner = ForkedRunner()
    with ProgramGrader("strict", runner, cache) as grader:
        verdicts = grader.grade([(SUM, program) for program in slow[:3]])
    assert [v.verdict for v in verdicts] == ["right"] * 3
    assert runner.jobs == []


def test_caches_of_before_programs_are_read_and_written(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE verdicts (key BLOB PRIMARY KEY, verdict TEXT NOT NULL, "
            "reason TEXT NOT NULL) WITHOUT ROWID"
        )
    with ProgramGrader("strict", ForkedRunner(), path) as grader:
        grader.grade([(SUM, "print(3)")])
    with sqlite3.connect(path) as database:
        [row] = database.execute("SELECT verdict, reason FROM verdicts")
        key = next(database.execute("SELECT key FROM verdicts"))[0]
        # As a version without tests writes.
        database.execute("INSERT OR REPLACE INTO verdicts VALUES (?, 'right', 'same')", (key,))
    assert row[0] == "wrong"
    runner = ForkedRunner()
    with ProgramGrader("strict", runner, path) as grader:
        assert grader.grade([(SUM, "print(3)")])[0].reason == "same"
    assert runner.jobs == []
    assert VerdictCache(path, "e2h 1").get([]) == {}


def test_classes_of_equal_behaviour() -> None:
    public = ProgramTests(("1 2\n", "5 5\n")).text()
    programs = [
        RIGHT,
        "a, b = map(int, input().split())\nprint(a + b, end='  \\n\\n')",
        "print(3)",
        "raise ValueError",
        "raise ValueError",
        "raise ValueError  # another one",
        "",
        "print(3.0)",
        "",
    ]
    runner = ForkedRunner()
    with ProgramGrader("tolerant", runner) as grader:
        assert grader.classes(programs, public) == [0, 0, 1, 2, 2, 3, 4, 5, 4]
        assert len(runner.jobs) == 6
        assert grader.classes(programs) == [0, 1, 2, 3, 3, 4, 5, 6, 5]
        calls = ["def f(x): return {'a': x, 'b': (x,)}", "def f(x): return {'b': [x], 'a': x}"]
        arguments = ProgramTests(("[1]",), function="f").text()
        groups = [(programs[:3], public), (calls, arguments), (calls, None), ([], public)]
        assert grader.classes_of(groups) == [[0, 0, 1], [0, 0], [0, 1], []]
        assert len(runner.jobs) == 11
    with get_grader("e2h", workers=1) as rules:
        assert rules.classes_of([(["1/2", "0.5"], None), (["2", "1/2"], public)]) == [
            [0, 0],
            [0, 1],
        ]


def test_shares_of_verdicts() -> None:
    assert [Verdict("right", "").share, Verdict("wrong", "").share] == [1.0, 0.0]
    assert Verdict("timed out", "", passed=1, run=4).share == 0.25


def test_names_and_limits_that_are_none() -> None:
    for bad in ({"comparison": "exact"}, {"seconds": 0}, {"memory_mb": 1}, {"workers": 0}):
        with pytest.raises(InputError):
            get_program_grader(**bad)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="auto, bubblewrap, landlock, none"):
        get_program_grader(sandbox="docker")


def test_mutants_are_distinct_programs_and_seeded() -> None:
    for problem in apps_problems():
        made, again = (mutants(problem.solution, 20, random.Random(1)) for _ in range(2))
        assert made == again
        assert len({problem.solution, *made}) == len(made) + 1
        assert len(made) == 20
        for mutant in made:
            compile(mutant, "mutant", "exec")


@pytest.mark.slow
def test_rules_agree_on_most_mutants() -> None:
    runner = CountingRunner(ForkedRunner(seconds=0.2))
    with ProgramGrader("apps", runner) as grader:
        apps, strict, tolerant = grade_mutants(grader, 324, 1)
    assert len(apps) == 324
    assert sum(runner.statuses.values()) > 3 * len(apps)
    assert {"finished", "error"} < {*runner.statuses}
    rights = [{i for i, v in enumerate(found) if v.right} for found in (apps, strict, tolerant)]
    # Mutants that are right are few, and strict is the strictest.
    assert rights[1] <= rights[0] & rights[2]
    assert 0 < len(rights[1]) < len(apps) / 2
