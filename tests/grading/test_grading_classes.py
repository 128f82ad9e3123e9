"""Classes of equal answers: the same partition in any order, consistent with the verdicts."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2h_cli.grading import RULES, RuleGrader, get_grader
from e2h_cli.grading.rule_grader import partition

POOL = [
    "1/2", r"\frac{1}{2}", "0.5", r"\frac{2}{4}", ".50", "$0.5$",
    "50\\%", "5", "5.0", "x=5", "5 cm",
    "x+1", "1+x", "y=x+1", "x - y + 1 = 0", "0.333333", "0.3333333", r"\frac13", "0.333",
    "(1,2)", "1,2", "2,1", r"\{1,2\}", "[1,2)", "(1,2]", "1 < x < 2", "Monday", r"\text{Monday}",
    "Mon", "", "  ", "(((", r"\frac{", "3\\sqrt{2}", r"\sqrt{18}", "10,000", "10000", "10{,}000",
    "1011_2", "1011", "f(1)<f(2)<f(3)", "f(1) < f(2) < f(3)", r"\pm 1", "1,-1", "A", "(A)", "B",
    "7^{7^{7^{7}}}", "99999999!", "north", "abc", "bca", "3.141593", r"\pi",
]  # fmt: skip


def groups(answers: list[str], labels: list[int]) -> set[frozenset[str]]:
    found: dict[int, set[str]] = {}
    for answer, label in zip(answers, labels, strict=True):
        found.setdefault(label, set()).add(answer)
    return {frozenset(group) for group in found.values()}


def test_labels_are_numbered_by_first_appearance(e2h: RuleGrader) -> None:
    answers = ["5", r"\frac12", "5.0", "0.5", "7", "1/2"]
    assert e2h.classes(answers) == [0, 1, 0, 1, 2, 1]
    assert e2h.classes([]) == []


def test_classes_of_e2h(e2h: RuleGrader) -> None:
    found = groups(POOL, e2h.classes(POOL))
    for expected in (
        {"1/2", r"\frac{1}{2}", "0.5", r"\frac{2}{4}", ".50", "$0.5$"},
        {"5", "5.0", "x=5", "5 cm"},
        {"x+1", "1+x", "y=x+1", "x - y + 1 = 0"},
        {"0.333333", "0.3333333", r"\frac13"},
        {"0.333"},
        {"1,2", "2,1", r"\{1,2\}"},
        {"(1,2)", "1 < x < 2"},
        {"[1,2)"},
        {"Monday", r"\text{Monday}"},
        {"Mon"},
        {"10,000", "10000", "10{,}000"},
        {"1011_2"},
        {"f(1)<f(2)<f(3)", "f(1) < f(2) < f(3)"},
        {"A", "(A)"},
        {"3.141593", r"\pi"},
    ):
        assert frozenset(expected) in found


def test_classes_of_prm800k_keep_unreduced_fractions_apart(prm800k: RuleGrader) -> None:
    labels = prm800k.classes(["1/2", "2/4", "0.5", "0.25", r"\frac{1}{4}", "x+1", "1+x"])
    assert labels == [0, 1, 0, 2, 2, 3, 3]


@pytest.mark.parametrize("rule", sorted(RULES))
def test_order_does_not_matter(rule: str) -> None:
    generator = random.Random(1)
    with get_grader(rule, workers=1) as grader:
        expected = groups(POOL, grader.classes(POOL))
        for _ in range(20):
            answers = POOL.copy()
            generator.shuffle(answers)
            assert groups(answers, grader.classes(answers)) == expected


@settings(max_examples=60, deadline=None)
@given(picked=st.lists(st.sampled_from(POOL), max_size=25), seed=st.integers(0, 99))
def test_partition_of_any_sample(e2h: RuleGrader, picked: list[str], seed: int) -> None:
    labels = e2h.classes(picked)
    assert len(labels) == len(picked)
    assert sorted(set(labels)) == list(range(len(set(labels))))
    shuffled = picked.copy()
    random.Random(seed).shuffle(shuffled)
    again = e2h.classes(shuffled)
    assert groups(picked, labels) == groups(shuffled, again)


@pytest.mark.parametrize("rule", ["e2h", "exact"])
def test_answers_of_one_class_are_right_for_each_other(rule: str) -> None:
    with get_grader(rule, workers=1) as grader:
        readable = [a for a in POOL if grader.grade([(a, a)])[0].right]
        for group in groups(readable, grader.classes(readable)):
            pairs = [(a, b) for a in group for b in group]
            bad = [p for p, v in zip(pairs, grader.grade(pairs), strict=True) if not v.right]
            bridged = {"x+1", "1+x", "y=x+1", "x - y + 1 = 0"}  # joined by the answer y = x + 1
            assert [pair for pair in bad if not set(pair) <= bridged] == []


@pytest.mark.parametrize("rule", ["official", "exact"])
def test_answers_right_for_each_other_are_in_one_class(rule: str) -> None:
    """The string rules are not transitive (x=5, 5, 5 cm), so classes are their closure."""
    grader = get_grader(rule)
    labels = dict(zip(POOL, grader.classes(POOL), strict=True))
    pairs = [(a, b) for a in POOL for b in POOL]
    for (a, b), verdict in zip(pairs, grader.grade(pairs), strict=True):
        assert not verdict.right or labels[a] == labels[b]


@given(keys=st.lists(st.sets(st.integers(0, 12), max_size=3), max_size=30), seed=st.integers(0, 99))
def test_partition_is_the_transitive_closure(keys: list[set[int]], seed: int) -> None:
    labels = partition(keys)
    for a, first in enumerate(keys):
        for b, second in enumerate(keys):
            if first & second:
                assert labels[a] == labels[b]
    order = list(range(len(keys)))
    random.Random(seed).shuffle(order)
    shuffled = partition([keys[index] for index in order])
    same = {(a, b) for a in order for b in order if labels[a] == labels[b]}
    back = {index: position for position, index in enumerate(order)}
    assert same == {(a, b) for a in order for b in order if shuffled[back[a]] == shuffled[back[b]]}


def test_a_thousand_answers_cost_milliseconds(e2h: RuleGrader) -> None:
    generator = random.Random(3)
    distinct = [str(n) for n in range(100)]
    distinct += [rf"\frac{{{n}}}{{{n + 7}}}" for n in range(1, 100)]
    distinct += [rf"{n}\sqrt{{{n + 1}}}" for n in range(1, 51)]
    distinct += [f"{n}x^2+{n + 1}" for n in range(1, 51)]
    answers = generator.choices(distinct, k=1_024)
    start = time.perf_counter()
    e2h.classes(answers)
    assert time.perf_counter() - start < 1.0  # tens of milliseconds on an idle core
