"""The chain-arithmetic world."""

from __future__ import annotations

import random

import pytest

from e2h_cli.data import chain_arithmetic
from e2h_cli.data.chain_arithmetic import Chain


def test_a_chain_by_hand() -> None:
    chain = chain_arithmetic.parse("a3 b+4 c*6 d-5")
    assert chain == Chain(3, (("+", 4), ("*", 6), ("-", 5)))
    assert chain.question == "a3 b+4 c*6 d-5"
    assert chain_arithmetic.solve(chain) == (["b=3+4=7", "c=7*6=2", "d=2-5=7"], "7")


@pytest.mark.parametrize("text", ["", "What is 1+1?", "b3 c+4", "a3 b+"])
def test_other_text_is_no_chain(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        chain_arithmetic.parse(text)


@pytest.mark.parametrize(("level", "count"), chain_arithmetic.OPERATIONS_BY_LEVEL.items())
def test_levels_have_their_length_and_half_products(level: int, count: int) -> None:
    rng = random.Random(level)
    for _ in range(50):
        signs = [sign for sign, _ in chain_arithmetic.draw(level, rng).operations]
        assert len(signs) == count
        assert signs.count("*") == max(1, count // 2)


def test_mistakes_are_systematic_where_chains_are_long() -> None:
    rng = random.Random(0)
    misread: dict[bool, list[bool]] = {False: [], True: []}
    large = chain_arithmetic.LARGE_FACTOR
    slipped: list[bool] = []
    for _ in range(3000):
        chain = chain_arithmetic.draw(5, rng)
        steps, answer = chain_arithmetic.solve_like_a_human(chain, rng)
        assert answer == steps[-1][-1]
        for i, (step, (sign, digit)) in enumerate(zip(steps, chain.operations, strict=True)):
            value, read = int(step[2]), step[3]
            done = {"+": value + digit, "-": value - digit, "*": value * digit}[read] % 10
            slipped.append(int(step[-1]) != done)
            if sign == "*":
                misread[i >= chain_arithmetic.EARLY_OPERATIONS and digit >= large].append(
                    read == "+"
                )
            else:
                assert read == sign
    for late, expected in (
        (False, chain_arithmetic.CARELESS),
        (True, chain_arithmetic.CARELESS_LATE),
    ):
        assert sum(misread[late]) / len(misread[late]) == pytest.approx(expected, abs=0.03)
    assert sum(slipped) / len(slipped) == pytest.approx(chain_arithmetic.SLIP, abs=0.01)


def test_steps_are_checked_against_the_truth() -> None:
    question = "a3 b+4 c*6"
    assert chain_arithmetic.check_steps(question, ["b=3+4=7", "c=7*6=2"]) == [True, True]
    assert chain_arithmetic.check_steps(question, ["b=3+4=8", "c=8*6=8"]) == [False, False]
    assert chain_arithmetic.check_steps(question, ["b=3+4=7", "c=7*6=2", "d=2+1=3"]) == [
        True,
        True,
        False,
    ]


def test_problems_are_distinct_and_a_full_level_is_refused() -> None:
    taken: set[str] = set()
    drawn = list(chain_arithmetic.distinct({1: 50, 5: 50}, random.Random(0), taken))
    assert len(taken) == len(drawn) == 100
    with pytest.raises(ValueError, match="level 1"):
        list(chain_arithmetic.distinct({1: 10**6}, random.Random(0), taken))
