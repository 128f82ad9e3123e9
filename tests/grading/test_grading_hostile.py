"""Hostile answers cost at most the time limit and have no effect."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2h_cli.grading import RULES, RuleGrader, Verdict, get_grader
from e2h_cli.grading.rule import Question
from e2h_cli.grading.workers import Pool

HOSTILE = [
    "9**9**9**9",
    "99999999!",
    "7^{7^{7^{7}}}",
    r"\binom{1000000}{500000}",
    "2^{9999999999}",
    r"\frac{1}{2^{99999999}}",
    "__import__('os').system('touch X')",
    "open('X','w')",
    r"\text{__import__('os').system('touch X')}",
    "exec(\"open('X','w')\")",
    "(" * 100_000,
    "{" * 100_000,
    "9" * 1_000_000,
    "9" * 1_999,
    "\x00\x01\x1b[2J",
    "\ud800",
    "",
    "   ",
    "-" * 1_500,
    "1+" * 900 + "1",
    r"\frac" * 300,
    r"\sqrt" * 300,
    r"1\frac{" * 40,
    "((((" * 12 + "1" + "))))" * 12,
    r"\sin" * 300,
    "x^" * 300 + "x",
    "e^{e^{e^{e^{e}}}}",
    "1e999",
    "10^{-99999}",
    r"\log_1 5",
    r"\frac{1}{0}",
    "0^{-1}",
    r"\tan 90^\circ",
    "$" * 500,
    r"\boxed{" * 200,
    "|" * 300,
    "," * 1_000,
    "x_{" * 100,
    r"\begin{pmatrix}" * 50,
    "﷽" * 100,
]
LIMIT = 2.0


@pytest.mark.parametrize("rule", sorted(RULES))
def test_hostile_answers(rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with get_grader(rule, workers=1, timeout=LIMIT) as grader:
        grader.grade([("f(1)<f(2)<f(3)", "f(1)<f(2)<f(4)"), (r"\sqrt{2}", r"\frac{2}{\sqrt2}")])
        for text in HOSTILE:
            start = time.perf_counter()
            verdicts = grader.grade([("5", text), (text, "5")])
            assert time.perf_counter() - start < 2 * LIMIT + 3, text[:40]
            assert not any(verdict.right for verdict in verdicts), text[:40]
            grader.classes(["5", text, text + " "])
    assert list(tmp_path.iterdir()) == []


def test_a_stalled_pair_is_timed_out_and_the_rest_goes_on() -> None:
    pool = Pool(workers=1, timeout=1.0)
    slow = Question("library", "5", r"\sum_{k=0}^{99999999} k!")
    fine = [Question("library", str(n), str(n)) for n in range(1, 5)]
    verdicts = pool.ask([*fine[:2], slow, *fine[2:], slow])
    pool.close()
    kinds = [verdict.verdict for verdict in verdicts]
    assert kinds == ["right", "right", "timed out", "right", "right", "timed out"]
    assert verdicts[2].reason == "longer than 1 s"


def test_the_library_is_never_trusted_with_code(tmp_path: Path) -> None:
    """Even when the reader is passed over, text is not run inside a worker."""
    target = tmp_path / "X"
    attacks = [
        f"__import__('os').system('touch {target}')",
        f"$__import__('os').system('touch {target}')$",
        rf"\text{{__import__('os').system('touch {target}')}}",
        f"open('{target}','w')",
        rf"\operatorname{{open}}('{target}','w')",
        f"\\sum_{{__import__('os').system('touch {target}')}}^{{5}} k",
        f"9 + __import__('os').system('touch {target}')",
    ]
    pool = Pool(workers=1, timeout=LIMIT)
    pool.ask([Question("library", "5", text) for text in attacks])
    pool.ask([Question("library", text, "5") for text in attacks])
    pool.ask([Question("sympy", "5", text) for text in attacks])
    pool.close()
    assert not target.exists()


def test_grades_in_a_thread() -> None:
    found: list[Verdict] = []

    def context() -> None:
        with get_grader("math-verify", workers=1) as grader:
            found.extend(grader.grade([("5", "5"), (r"\sum_{k=1}^{4} k", "10")]))

    thread = threading.Thread(target=context)
    thread.start()
    thread.join(60)
    assert [verdict.right for verdict in found] == [True, True]


def test_threads_share_a_grader(math_verify: RuleGrader) -> None:
    wrong: list[int] = []

    def context(n: int) -> None:
        pairs = [(f"{n}", rf"\sqrt{{{n * n}}}"), (rf"\sum_{{k=1}}^{{{n}}} 1", f"{n}")]
        if not all(verdict.right for verdict in math_verify.grade(pairs)):
            wrong.append(n)

    threads = [threading.Thread(target=context, args=(n,)) for n in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


# E2H_FUZZ=10000 runs so many examples of each of the next two tests instead of the usual few.
FUZZ = settings(
    max_examples=int(os.environ.get("E2H_FUZZ", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
KINDS = {"right", "wrong", "unreadable", "timed out"}


@FUZZ
@given(data=st.binary(max_size=300))
def test_random_bytes(
    math_verify: RuleGrader, prm800k: RuleGrader, official: RuleGrader, data: bytes
) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for grader in (math_verify, prm800k, official):
        for verdict in grader.grade([("5", text), (text, "5"), (text, text)]):
            assert verdict.verdict in KINDS
        assert len(grader.classes(["5", text])) == 2


@FUZZ
@given(seed=st.integers(0, 10**9))
def test_mutated_gold_answers(
    math_verify: RuleGrader,
    prm800k: RuleGrader,
    official: RuleGrader,
    gold_answers: list[str],
    seed: int,
) -> None:
    generator = random.Random(seed)
    gold = generator.choice(gold_answers)
    text = list(generator.choice([gold, generator.choice(gold_answers)]))
    for _ in range(generator.randint(1, 4)):
        position = generator.randrange(len(text) + 1)
        kind = generator.randrange(3)
        if kind == 0:
            text.insert(position, generator.choice(r"\{}()[]^_$%!,.|&=<>+-*/0129xyei "))
        elif kind == 1 and text:
            del text[position % len(text)]
        else:
            text[position:position] = generator.choice(gold_answers)[:20]
    answer = "".join(text)
    for grader in (math_verify, prm800k, official):
        forth, back = grader.grade([(gold, answer), (answer, gold)])
        assert {forth.verdict, back.verdict} <= KINDS
        assert grader.classes([gold, answer]) in ([0, 0], [0, 1])
