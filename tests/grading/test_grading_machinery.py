"""Rules by name, distinct pairs once, workers only when needed, the cache, light imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.grading import RULES, RuleGrader, Verdict, get_grader
from e2h_cli.grading.e2h_rule import E2hRule
from e2h_cli.grading.grading_workers import WorkerPool
from e2h_cli.grading.verdict import Question, VerdictCache

LIBRARY_PAIR = (r"\sum_{k=1}^{4} k", "10")


class CountingPool(WorkerPool):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Question] = []

    def ask(self, questions: Sequence[Question]) -> list[Verdict]:
        self.asked.extend(questions)
        return [Verdict("right", "counted", 1.0) for _ in questions]


def test_unknown_rule_and_bad_settings() -> None:
    with pytest.raises(InputError, match=r"unknown grading rule 'sympy'.*math-verify"):
        get_grader("sympy")
    with pytest.raises(InputError):
        get_grader("exact", timeout=0)
    with pytest.raises(InputError):
        get_grader("exact", workers=0)


def test_each_distinct_pair_is_asked_once() -> None:
    pool = CountingPool()
    grader = RuleGrader(E2hRule(), pool)
    verdicts = grader.grade([LIBRARY_PAIR, ("5", "5"), LIBRARY_PAIR, ("5", "5")])
    assert len(pool.asked) == 1
    assert [verdict.reason for verdict in verdicts][::2] == ["counted", "counted"]


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"math-verify"}))
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
        "heavy = ('sympy', 'math_verify', 'mpmath', 'torch', 'numpy', 'pebble', 'pylatexenc'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_worker_imports_no_torch() -> None:
    code = (
        "import sys; from e2h_cli.grading.grading_workers import load_libraries; "
        "load_libraries(); print('sympy' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_the_cache_answers_for_the_workers(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "verdicts.sqlite"
    with get_grader("e2h", workers=1, cache=file) as grader:
        first = grader.grade([LIBRARY_PAIR])[0]
    rule, pool = E2hRule(), CountingPool()
    with RuleGrader(rule, pool, VerdictCache(file, f"{rule.name} {rule.version}")) as grader:
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


@pytest.mark.slow
def test_several_processes_share_a_cache(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.sqlite"
    code = (
        "import sys; from pathlib import Path\n"
        "from e2h_cli.grading.verdict import Question, Verdict, VerdictCache\n"
        "cache = VerdictCache(Path(sys.argv[1]), 'r')\n"
        "for n in range(60):\n"
        "    cache.put({Question('library', sys.argv[2], str(n)): Verdict('right', 'x')})\n"
    )
    arguments = [sys.executable, "-W", "error", "-c", code, str(file)]
    processes = [subprocess.Popen([*arguments, str(n)]) for n in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    questions = [Question("library", str(n), str(m)) for n in range(3) for m in range(60)]
    assert len(VerdictCache(file, "r").get(questions)) == 180


def test_a_corrupt_cache_is_not_used_and_warns_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "verdicts.sqlite"
    file.write_bytes(b"this is no database" * 100)
    with RuleGrader(E2hRule(), CountingPool(), VerdictCache(file, "rule")) as grader:
        for _ in range(2):
            assert grader.grade([LIBRARY_PAIR])[0].right
            assert "verdict cache not used" in caplog.text
            assert len(caplog.records) == 1


def test_an_unwritable_cache_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    cache = VerdictCache(tmp_path / "file" / "verdicts.sqlite", "rule")
    cache.put({Question("library", "a", "b"): Verdict("right", "equal")})
    assert "verdict cache not used" in caplog.text
    assert cache.get([Question("library", "a", "b")]) == {}
    assert len(caplog.records) == 1
