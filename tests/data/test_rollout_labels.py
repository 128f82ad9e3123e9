"""Step labels by rollouts, computed by hand with a completer that looks its completions up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from e2h_cli.data import chain_arithmetic
from e2h_cli.data.problem import Problem
from e2h_cli.data.rm_labels import ParsedSample
from e2h_cli.data.rollout_labels import (
    Prefix,
    Rollouts,
    agreement,
    choose_solutions,
    hard_labels,
    prefixes_of,
    roll_out,
)
from e2h_cli.data.training_rows import official_reward_rows

CHAIN = Problem("p", "a3 b+4 c*6", 1, "s", "chains", "2")
OTHER = Problem("q", "a3 b+4 c*6", 1, "s", "chains", "2")
GOOD = ParsedSample(CHAIN, ("b=3+4=7", "c=7*6=2"), "2")
SLIP = ParsedSample(CHAIN, ("b=3+4=7", "c=7*6=3"), "3")
BAD = ParsedSample(CHAIN, ("b=3+4=8", "c=8*6=8"), "8")
# Steps -> the answers of their four completions; None: no answer.
ANSWERS = {
    ("b=3+4=7",): ["2", "2", "5", None],
    ("b=3+4=7", "c=7*6=2"): ["2", "2", "2", "2"],
    ("b=3+4=7", "c=7*6=3"): ["3", "3", "2", "3"],
    ("b=3+4=8",): ["8", "8", None, "8"],
    ("b=3+4=8", "c=8*6=8"): ["8", "8", "8", "8"],
}


class FakeCompleter:
    def __init__(self) -> None:
        self.calls: list[list[tuple[str, ...]]] = []

    def __call__(self, prefixes: Sequence[Prefix]) -> Mapping[str, Mapping[str | None, int]]:
        self.calls.append([prefix.steps for prefix in prefixes])
        return {prefix.key: Counter(ANSWERS[prefix.steps]) for prefix in prefixes}


def equal(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    return [gold == answer for gold, answer in pairs]


def rolled_out(*, until_first_mistake: bool = False) -> tuple[Rollouts, FakeCompleter]:
    complete = FakeCompleter()
    samples = [GOOD, SLIP, BAD]
    return roll_out(samples, complete, equal, until_first_mistake=until_first_mistake), complete


def test_soft_and_hard_labels_by_hand() -> None:
    rollouts, complete = rolled_out()
    soft = [rollouts.shares(sample) for sample in (GOOD, SLIP, BAD)]
    assert soft == [[0.5, 1.0], [0.5, 0.25], [0.0, 0.0]]
    # The second step of SLIP is wrong, and one completion is right by luck.
    hard = [hard_labels(shares) for shares in soft]
    assert hard == [[True, True], [True, True], [False, False]]
    # b=3+4=7 begins two solutions and is completed once.
    assert len(complete.calls) == 1
    assert sorted(complete.calls[0]) == sorted(ANSWERS)


def test_nothing_is_completed_after_the_first_mistake() -> None:
    rollouts, complete = rolled_out(until_first_mistake=True)
    soft = [rollouts.shares(sample) for sample in (GOOD, SLIP, BAD)]
    assert soft == [[0.5, 1.0], [0.5, 0.25], [0.0, None]]
    assert hard_labels(soft[2]) == [False, None]
    assert [len(call) for call in complete.calls] == [2, 2]


def test_rows_carry_the_labels_and_the_verdict() -> None:
    row = BAD.row([0.0, None], right=False)
    assert row["completions"] == ["b=3+4=8", "c=8*6=8", "# Answer\n\n8"]
    assert row["labels"] == [0.0, None, False]
    # The released code's format has no probabilities.
    soft = GOOD.row([0.75, 0.25], right=True)
    assert [official["label"] for official in official_reward_rows(soft)] == [1, 0]


def test_agreement_with_the_oracle_by_hand() -> None:
    """The oracle: [right, right], [right, wrong], [wrong, wrong]."""
    samples = [GOOD, SLIP, BAD]
    soft = [rolled_out()[0].shares(sample) for sample in samples]
    found = agreement(soft, samples, chain_arithmetic.check_steps)
    assert (found.steps, found.accuracy) == (6, 1.0)
    hard = [hard_labels(shares) for shares in soft]
    found = agreement(hard, samples, chain_arithmetic.check_steps)
    assert (found.accuracy, found.right_found) == (pytest.approx(5 / 6, abs=1e-4), 1.0)
    assert found.wrong_found == pytest.approx(2 / 3, abs=1e-4)
    unlabelled = agreement([[True, None]], [GOOD], chain_arithmetic.check_steps)
    assert (unlabelled.steps, unlabelled.accuracy, unlabelled.wrong_found) == (1, 1.0, None)


def test_a_prefix_is_known_by_problem_and_steps() -> None:
    first, second = prefixes_of(GOOD)
    assert second.steps == ("b=3+4=7", "c=7*6=2")
    assert first.key == prefixes_of(SLIP)[0].key
    keys = {first.key, second.key, Prefix(OTHER, first.steps).key}
    assert len(keys) == 3


def test_solutions_are_drawn_per_problem() -> None:
    many = [ParsedSample(p, (f"step {i}",), "2") for i in range(9) for p in (CHAIN, OTHER)]
    chosen = choose_solutions(many, 4, seed=0)
    assert Counter(sample.problem.id for sample in chosen) == {"p": 4, "q": 4}
    assert chosen == choose_solutions(many, 4, seed=0)
    assert chosen != choose_solutions(many, 4, seed=1)
    # Other problems do not change the choice.
    alone = choose_solutions([s for s in many if s.problem == CHAIN], 4, seed=0)
    assert alone == [s for s in chosen if s.problem == CHAIN]
    assert choose_solutions(many, 9, seed=0) == many
