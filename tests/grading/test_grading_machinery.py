"""Rules by name, distinct pairs once, workers only when needed, the cache, light imports."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.grading import RULES, Verdict, get_grader
from e2h_cli.grading.rule import Question
from e2h_cli.grading.verdict_cache import VerdictCache
from e2h_cli.grading.workers import Pool

LIBRARY_PAIR = (r"\sum_{k=1}^{4} k", "10")


class CountingPool:
    def __init__(self) -> None:
        self.asked: list[Question] = []

    def ask(self, questions: Sequence[Question]) -> list[Verdict]:
        self.asked.extend(questions)
        return [Verdict("right", "counted", 1.0) for _ in questions]

    def close(self) -> None:
        pass


def test_unknown_rule_and_bad_settings() -> None:
    with pytest.raises(InputError, match=r"unknown grading rule 'sympy'.*math-verify"):
        get_grader("sympy")
    with pytest.raises(InputError):
        get_grader("exact", timeout=0)
    with pytest.raises(InputError):
        get_grader("exact", workers=0)


def test_each_distinct_pair_is_asked_once() -> None:
    grader = get_grader("math-verify")
    pool = CountingPool()
    grader._pool = pool  # type: ignore[assignment]
    verdicts = grader.grade([LIBRARY_PAIR, ("5", "5"), LIBRARY_PAIR, ("5", "5")])
    assert len(pool.asked) == 1
    assert [verdict.reason for verdict in verdicts][::2] == ["counted", "counted"]


@pytest.mark.parametrize("rule", sorted(RULES))
def test_plain_pairs_start_no_worker(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with get_grader(rule) as grader:
        grader.grade([("5", "5"), ("5", "6"), (r"\frac{1}{2}", "0.5"), ("x+1", "1+x"), ("a", "b")])
        grader.classes(["5", "6", "x+1", "1+x", "1/2"])


def test_exact_rule() -> None:
    grader = get_grader("exact")
    pairs = [
        ("5", " 5\n"),
        ("5", "$5$"),
        ("5", r"\boxed{5}"),
        ("5", "5.0"),
        ("5", ""),
        ("1 2", "12"),
    ]
    kinds = [verdict.verdict for verdict in grader.grade(pairs)]
    assert kinds == ["right", "right", "right", "wrong", "unreadable", "right"]
    assert grader.classes(["5", "$5$", "6"]) == [0, 0, 1]


def test_imports_are_light() -> None:
    code = (
        "import sys; import e2h_cli.grading as g; g.get_grader('exact').grade([('5', '5')]); "
        "heavy = ('sympy', 'math_verify', 'mpmath', 'torch', 'numpy'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_worker_imports_no_torch() -> None:
    code = (
        "import sys; import e2h_cli.grading.library, e2h_cli.grading.worker; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_killed_worker_is_replaced() -> None:
    pool = Pool(workers=1)
    question = Question("library", *LIBRARY_PAIR)
    assert pool.ask([question])[0].right
    pool._workers[0].process.kill()
    assert pool.ask([question])[0].right
    pool.close()


def test_workers_end_when_their_input_closes() -> None:
    pool = Pool(workers=1)
    pool.ask([Question("library", *LIBRARY_PAIR)])
    process = pool._workers[0].process
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0
    pool._workers.clear()


def test_the_cache_answers_for_the_workers(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "verdicts.sqlite"
    with get_grader("math-verify", workers=1, cache=file) as grader:
        first = grader.grade([LIBRARY_PAIR])[0]
    with get_grader("math-verify", cache=file) as grader:
        pool = CountingPool()
        grader._pool = pool  # type: ignore[assignment]
        assert grader.grade([LIBRARY_PAIR])[0].reason == first.reason
        assert pool.asked == []


def test_the_cache_separates_rules_and_versions_and_keeps_no_time_outs(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.sqlite"
    question = Question("library", "a", "b")
    cache = VerdictCache(file, "rule 1")
    cache.put({question: Verdict("right", "equal")})
    slow = Question("library", "a", "c")
    cache.put({slow: Verdict("timed out", "slow")})
    assert cache.get([slow, question]) == {1: Verdict("right", "equal")}
    assert VerdictCache(file, "rule 2").get([question]) == {}


def test_several_processes_share_a_cache(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.sqlite"
    code = (
        "import sys; from pathlib import Path\n"
        "from e2h_cli.grading.verdict_cache import VerdictCache\n"
        "from e2h_cli.grading.verdict import Verdict\n"
        "from e2h_cli.grading.rule import Question\n"
        "cache = VerdictCache(Path(sys.argv[1]), 'r')\n"
        "for n in range(60):\n"
        "    cache.put({Question('library', sys.argv[2], str(n)): Verdict('right', 'x')})\n"
    )
    arguments = [sys.executable, "-W", "error", "-c", code, str(file)]
    processes = [subprocess.Popen([*arguments, str(n)]) for n in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    questions = [Question("library", str(n), str(m)) for n in range(3) for m in range(60)]
    assert len(VerdictCache(file, "r").get(questions)) == 180


def test_a_corrupt_cache_is_passed_over_with_one_warning(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.sqlite"
    file.write_bytes(b"this is no database" * 100)
    with get_grader("math-verify", cache=file) as grader:
        grader._pool = CountingPool()  # type: ignore[assignment]
        with pytest.warns(UserWarning, match="verdict cache not used"):
            assert grader.grade([LIBRARY_PAIR])[0].right
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert grader.grade([LIBRARY_PAIR])[0].right


def test_an_unwritable_cache_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = VerdictCache(tmp_path / "file" / "verdicts.sqlite", "rule")
    with pytest.warns(UserWarning, match="verdict cache not used"):
        cache.put({Question("library", "a", "b"): Verdict("right", "equal")})
    assert cache.get([Question("library", "a", "b")]) == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_starts_its_own_workers() -> None:
    pool = Pool(workers=1)
    question = Question("library", *LIBRARY_PAIR)
    pool.ask([question])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads around
        child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if pool.ask([question])[0].right else 1
            pool.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.ask([question])[0].right
    pool.close()
