"""The mathematics of reinforcement learning: numbers by hand, and naive loops."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from e2h_cli.data.template import parse
from e2h_cli.rl import advantages, losses
from e2h_cli.rl.dpo import preference_pairs
from e2h_cli.rl.iterated import ScoredSolution
from e2h_cli.rl.rest_em import right_solutions
from e2h_cli.rl.rewards import differences, rewards_of, running_minimum
from e2h_cli.settings.rl import RewardSettings

WHOLE = parse("one\n\ntwo\n\nthree\n\n# Answer\n\n7")


def test_the_running_minimum_pays_for_new_lows_only() -> None:
    # From 0.5: 0.9 costs nothing, 0.3 costs 0.2, 0.4 nothing, 0.1 another 0.2.
    assert running_minimum([0.9, 0.3, 0.4, 0.1], 0.5) == pytest.approx([0, -0.2, 0, -0.2])
    assert running_minimum([], 0.5) == []


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0.1, 1))
def test_what_rewards_sum_to(scores: list[float], bound: float) -> None:
    assert sum(running_minimum(scores, bound)) == pytest.approx(min(0.0, min(scores) - bound))
    assert sum(differences(scores)) == pytest.approx(scores[-1])


def test_the_plain_rewards() -> None:
    # Steps 0.9, 0.5, 0.8 and outcome 0.4: lows from 1 are -0.1, -0.4, 0, -0.1; a right answer 1.
    found = rewards_of(WHOLE, [0.9, 0.5, 0.8], 0.4, True, RewardSettings())
    assert found.steps == pytest.approx([-0.1, -0.4, 0.0])
    assert found.last == pytest.approx(-0.1 + 1.0)
    assert (found.process, found.answer) == (pytest.approx(-0.6), 1.0)
    assert found.total == pytest.approx(0.4)
    found = rewards_of(WHOLE, [0.9, 0.5, 0.8], 0.4, None, RewardSettings(shaping="differences"))
    assert found.steps == pytest.approx([0.9, -0.4, 0.3])
    assert found.last == pytest.approx(-0.4)
    found = rewards_of(WHOLE, [0.9, 0.5, 0.8], 0.4, False, RewardSettings(shaping="none"))
    assert (found.steps, found.last) == ([], 0.0)


@pytest.mark.parametrize(
    ("text", "finished", "scores"),
    [("", True, []), ("one\n\ntwo\n\n", True, [0.9, 0.9]), ("one\n\ntw", False, [0.9]),
     ("# Answer\n\n7", True, [])],
)  # fmt: skip
def test_no_whole_solution_ends_with_a_score_of_zero(
    text: str, finished: bool, scores: list[float]
) -> None:
    solution = parse(text, finished=finished)
    assert rewards_of(solution, scores, 0.99, None, RewardSettings()).total == pytest.approx(-1.0)
    assert rewards_of(
        solution, scores, 0.99, None, RewardSettings(shaping="differences")
    ).total == pytest.approx(0.0)


def test_gae_by_hand() -> None:
    rewards = torch.tensor([[1.0, 0.0, 2.0], [5.0, 9.0, 9.0]])
    values = torch.tensor([[0.5, 1.0, 0.5], [1.0, 9.0, 9.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    # gamma 0.5, lambda 0.5. Row 0: delta_2 = 2 - 0.5 = 1.5; delta_1 = 0 + 0.25 - 1 = -0.75, A_1 =
    # -0.75 + 0.25 * 1.5 = -0.375; delta_0 = 1 + 0.5 - 0.5 = 1, A_0 = 1 - 0.25 * 0.375 = 0.90625.
    found, returns = advantages.gae(rewards, values, mask, 0.5, 0.5)
    assert found.tolist() == [[0.90625, -0.375, 1.5], [4.0, 0.0, 0.0]]
    assert returns.tolist() == [[1.40625, 0.625, 2.0], [5.0, 0.0, 0.0]]


@given(st.integers(0, 10_000), st.floats(0.1, 1), st.floats(0, 1))
@settings(max_examples=30)
def test_gae_against_its_definition(seed: int, gamma: float, lam: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    length = 6
    r, v = torch.randn(2, length, generator=generator, dtype=torch.float64)
    mask = torch.ones(1, length, dtype=torch.float64)
    found, _ = advantages.gae(r[None], v[None], mask, gamma, lam)
    for t in range(length):
        naive = sum(
            (gamma * lam) ** (s - t) * (r[s] + (gamma * v[s + 1] if s + 1 < length else 0.0) - v[s])
            for s in range(t, length)
        )
        assert float(found[0, t]) == pytest.approx(float(naive), abs=1e-9)


def test_whitening_leaves_out_what_the_mask_does() -> None:
    x = torch.tensor([[1.0, 3.0], [5.0, 100.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    # Mean 3 and variance 8/3 of 1, 3, 5.
    scale = math.sqrt(3 / 8)
    expected = [-2 * scale, 0.0, 2 * scale, 0.0]
    assert advantages.whiten(x, mask).flatten().tolist() == pytest.approx(expected, abs=1e-6)
    found = {
        scheme: advantages.whiten_rewards(x, mask, scheme).flatten().tolist()  # type: ignore[arg-type]
        for scheme in ("none", "scale", "keep-mean")
    }
    assert found["none"] == [1.0, 3.0, 5.0, 100.0]
    assert found["scale"] == pytest.approx([scale, 3 * scale, 5 * scale, 0.0], abs=1e-6)
    assert found["keep-mean"] == pytest.approx([3 - 2 * scale, 3.0, 3 + 2 * scale, 0.0], abs=1e-6)


def test_estimators_of_kl() -> None:
    p, q = torch.tensor([-1.0, -2.0]), torch.tensor([-1.5, -1.0])  # d = 0.5 and -1
    found = {
        name: advantages.token_kl(p, q, name).tolist()  # type: ignore[arg-type]
        for name in ("k1", "k2", "k3", "k1-clamped")
    }
    assert found["k1"] == pytest.approx([0.5, -1.0])
    assert found["k2"] == pytest.approx([0.125, 0.5])
    assert found["k3"] == pytest.approx([math.exp(-0.5) - 0.5, math.e - 2.0])
    assert found["k1-clamped"] == pytest.approx([0.5, 0.0])


def test_k1_and_k3_estimate_kl() -> None:
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(8, generator=generator).log_softmax(0) for _ in range(2))
    true = float((p.exp() * (p - q)).sum())
    drawn = torch.multinomial(p.exp(), 200_000, replacement=True, generator=generator)
    for name in ("k1", "k3"):
        mean = advantages.token_kl(p[drawn], q[drawn], name).mean()  # type: ignore[arg-type]
        assert float(mean) == pytest.approx(true, abs=0.02)


def test_group_advantages() -> None:
    groups = torch.tensor([0, 0, 1, 1])
    found = advantages.group_advantages(torch.tensor([1.0, 3.0, 4.0, 4.0]), groups)
    # Mean 2, deviation 1; all of the second group are equal.
    assert found.tolist() == pytest.approx([-1.0, 1.0, 0.0, 0.0], abs=1e-3)


def test_group_step_advantages() -> None:
    # One group; rewards 1, 3 of the first solution and 2 of the second: mean 2, deviation
    # sqrt(2/3). Normalised -d, +d and 0 with d = sqrt(3/2); summed from each token on.
    rewards = torch.tensor([[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]])
    reward_mask = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    found = advantages.group_step_advantages(rewards, reward_mask, torch.tensor([0, 0]))
    d = math.sqrt(1.5)
    assert found[0].tolist() == pytest.approx([0.0, d, d], abs=1e-3)
    assert found[1].tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-3)


def test_losses_by_hand() -> None:
    old = torch.zeros(1, 3)
    new = torch.log(torch.tensor([[1.5, 0.5, 2.0]]))
    advantages = torch.tensor([[1.0, 1.0, -1.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0]])
    # Ratios 1.5, 0.5, 2: -1.2 (clipped), -0.5 (not: the worse), 2 (not clipped: the worse).
    loss, clipped = losses.policy_loss(new, old, advantages, mask, 0.2, 3)
    assert float(loss) == pytest.approx((-1.2 - 0.5 + 2.0) / 3)
    assert float(clipped) == 1
    # Value 1 where 0 was and 3 is wanted: clipped to 0.2, off by 2.8; where 2 was: off by 2.
    values, before = torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, 1.0]])
    loss = losses.value_loss(values, before, torch.tensor([[3.0, 3.0]]), torch.ones(1, 2), 0.2, 2)
    assert float(loss) == pytest.approx(0.5 * (2.8**2 + 2.0**2) / 2)
    d = torch.tensor([[0.5, 9.0]])
    kl = losses.kl_loss(d, torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), 1)
    assert float(kl) == pytest.approx(math.exp(-0.5) - 0.5)


def test_the_learning_rate() -> None:
    rates = [losses.lr_multiplier(i, 100, 0.1, 0.01) for i in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.01 + 0.99 * 0.5)
    assert losses.lr_multiplier(100, 100, 0.1, 0.01) == pytest.approx(0.01)


def test_explained_variance() -> None:
    returns, mask = torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 3)
    assert advantages.explained_variance(returns, returns, mask) == pytest.approx(1.0)
    assert advantages.explained_variance(torch.full((1, 3), 2.0), returns, mask) == pytest.approx(
        0.0
    )


def test_a_line_through_the_first_returns() -> None:
    values = torch.tensor([[0.0, 2.0, 4.0, 99.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    returns = torch.tensor([[1.0, 2.0, 3.0, 0.0]])
    assert advantages.linear_fit(values, returns, mask) == pytest.approx((0.5, 1.0))
    # Never upside down, and the mean where all values are equal.
    assert advantages.linear_fit(values, -returns, mask) == pytest.approx((0.0, -2.0))
    assert advantages.linear_fit(torch.zeros(1, 4), returns, mask) == pytest.approx((0.0, 2.0))


def test_right_solutions_are_distinct_and_few() -> None:
    many = [ScoredSolution(str(i % 6), right=i % 6 < 4) for i in range(30)]
    kept = right_solutions(many, 3, random.Random(0))
    assert len(kept) == len(set(kept)) == 3
    assert set(kept) <= {"0", "1", "2", "3"}
    assert right_solutions(many, 10, random.Random(0)) == ["0", "1", "2", "3"]


def test_pairs_are_wide_apart() -> None:
    a, b = ScoredSolution("a", True, 0.9), ScoredSolution("b", True, 0.2)
    c, d = ScoredSolution("c", False, 0.3), ScoredSolution("d", False, 0.1)
    # Values 1.9, 1.2, 0.3, 0.1: a against d by 1.8, b against c by 0.9.
    assert preference_pairs([b, c, a, d], 1.0, 0.5, 3) == [(a, d)]
    assert preference_pairs([b, c, a, d], 0.5, 0.5, 3) == [(a, d), (b, c)]
    assert preference_pairs([b, c, a, d], 0.5, 0.5, 1) == [(a, d)]


def test_where_no_answer_is_known_the_scores_alone_must_differ() -> None:
    many = [ScoredSolution(t, None, s) for t, s in (("a", 0.9), ("b", 0.3), ("c", 0.5))]
    assert preference_pairs(many, 1.0, 0.5, 3) == [(many[0], many[1])]
    assert preference_pairs(many, 0.0, 0.7, 3) == []
    # The same text twice is no pair with itself, and an odd one out is in none.
    assert preference_pairs([many[0], many[0]], 0.0, 0.0, 3) == []
