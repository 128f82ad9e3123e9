"""Hostile answers cost at most the time limit and have no effect."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from e2h_cli.grading import RuleGrader, get_grader

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
    r"\sqrt[" * 45,
    r"\sqrt[{" * 20 + "}" * 20,
    r"\frac{\begin{pmatrix}" * 20,
    r"\frac{" * 45 + "1" + "}" * 45,
    "﷽" * 100,
]
LIMIT = 2.0


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param("e2h", marks=pytest.mark.slow),
        pytest.param("math-verify", marks=pytest.mark.slow),
        "prm800k",
        "official",
        "exact",
    ],
)
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


# E2H_FUZZ=10000 runs so many examples of each of the next two tests instead of the usual few.
FUZZ = settings(
    max_examples=int(os.environ.get("E2H_FUZZ", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
KINDS = {"right", "wrong", "unreadable", "timed out"}


@pytest.mark.slow
@FUZZ
@given(data=st.binary(max_size=300))
def test_random_bytes(
    e2h: RuleGrader, prm800k: RuleGrader, official: RuleGrader, data: bytes
) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for grader in (e2h, prm800k, official):
        for verdict in grader.grade([("5", text), (text, "5"), (text, text)]):
            assert verdict.verdict in KINDS
        assert len(grader.classes(["5", text])) == 2


@pytest.mark.slow
@FUZZ
@given(seed=st.integers(0, 10**9))
def test_mutated_gold_answers(
    e2h: RuleGrader,
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
    for grader in (e2h, prm800k, official):
        forth, back = grader.grade([(gold, answer), (answer, gold)])
        assert {forth.verdict, back.verdict} <= KINDS
        assert grader.classes([gold, answer]) in ([0, 0], [0, 1])
