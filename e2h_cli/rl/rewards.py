"""From step scores and the final answer to rewards: pure functions.

A solution earns a reward at every step, at the token that holds the last character of the separator
after it, and one at its last token, for the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from e2h_cli.data.template import Solution
from e2h_cli.settings.rl import ShapingScheme


@dataclass(frozen=True, slots=True)
class RewardShaping:
    """How a solution is rewarded; the settings of ``e2h rl`` say what each number is for."""

    scheme: ShapingScheme = "minimum"
    bound: float = 1.0
    step_scale: float = 1.0
    step_bonus: float = 0.0
    answer_reward: float = 1.0
    unknown_reward: float = 0.0
    format_penalty: float = 0.0


@dataclass(frozen=True, slots=True)
class Rewards:
    """Rewards of one solution: one per scored step, and one at its last token.

    ``process``: what came of the step scores, bonuses left out; ``answer``: of the final answer.
    """

    steps: list[float]
    last: float
    process: float
    answer: float

    @property
    def total(self) -> float:
        """The sum that the solution earns."""
        return sum(self.steps) + self.last


def running_minimum(scores: Sequence[float], bound: float) -> list[float]:
    """What each score lowers the minimum by, a number <= 0.

    m_0 = bound; r_k = min(m_{k-1}, q_k) - m_{k-1}. They sum to min(0, min_k q_k - bound): only new
    lows cost anything, and steps that are good earn nothing, so that none are added to farm them.
    The scheme is the official code's, whose bound is 0.5.
    """
    rewards, low = [], bound
    for score in scores:
        rewards.append(min(score - low, 0.0))
        low = min(low, score)
    return rewards


def differences(scores: Sequence[float]) -> list[float]:
    """r_k = q_k - q_{k-1} with q_0 = 0: they sum to the last score."""
    return [b - a for a, b in zip([0.0, *scores], scores, strict=False)]


def rewards_of(
    solution: Solution,
    step_scores: Sequence[float],
    outcome_score: float,
    right: bool | None,
    shaping: RewardShaping,
) -> Rewards:
    """Rewards of one solution.

    A text that is no whole solution (no step, no answer, cut at the token limit) ends with a score
    of 0, whatever the reward model says; else the best way to a high minimum were to write nothing.

    Args:
        solution: parsed.
        step_scores: (closed steps,) P(correct) in [0, 1].
        outcome_score: P(correct) of the whole solution.
        right: whether the answer is right; None where no gold answer may be looked at.
        shaping: scheme and constants.
    """
    answer = shaping.unknown_reward if right is None else shaping.answer_reward * right
    if shaping.scheme == "none":
        return Rewards([], answer, 0.0, answer)
    if shaping.scheme == "paper":
        # The official code scores neither the answer nor what stands after the last blank line.
        steps = running_minimum(step_scores, shaping.bound)
        process = shaping.step_scale * sum(steps)
        bonus = shaping.step_bonus / len(steps) if steps else 0.0
        last = answer + shaping.format_penalty * format_cost(solution)
        return Rewards([shaping.step_scale * (r + bonus) for r in steps], last, process, answer)
    final = outcome_score if solution.outcome == "complete" else 0.0
    scores = [*step_scores, final]
    raw = (
        differences(scores)
        if shaping.scheme == "differences"
        else running_minimum(scores, shaping.bound)
    )
    *steps, end = (shaping.step_scale * r for r in raw)
    return Rewards(steps, end + answer, sum(steps) + end, answer)


def format_cost(solution: Solution) -> float:
    r"""What the official code takes off for the form of an answer, as a share of its penalty.

    0 where the answer stands in ``\boxed{}`` in the solution, 0.5 as ``$answer$`` in the last step,
    0.75 plainly in the last step, else 1; 1 where there is no answer.
    """
    if solution.answer is None:
        return 1.0
    if any(rf"\boxed{{{solution.answer}}}" in step.text for step in solution.steps):
        return 0.0
    last = solution.steps[-1].text if solution.steps else ""
    if f"${solution.answer}$" in last:
        return 0.5
    return 0.75 if solution.answer in last else 1.0
