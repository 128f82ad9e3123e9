"""From step scores and the final answer to rewards: pure functions.

Every step is rewarded at the token that holds the last character of the separator after it, and
the final answer at the last token of the solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from e2h_cli.data.template import Solution
from e2h_cli.settings.rl import RewardSettings


@dataclass(frozen=True, slots=True)
class Rewards:
    """Rewards of one solution: one per scored step, and one at its last token.

    ``process``: the part that comes from the reward model, without step bonuses; ``answer``: the
    part that comes from the final answer.
    """

    steps: list[float]
    last: float
    process: float
    answer: float

    @property
    def total(self) -> float:
        """Return of the whole solution."""
        return sum(self.steps) + self.last


def running_minimum(scores: Sequence[float], upper_bound: float) -> list[float]:
    """How much each score lowers the running minimum, as numbers <= 0.

    m_0 = upper_bound; r_k = min(m_{k-1}, q_k) - m_{k-1}. They sum to min(0, min_k q_k -
    upper_bound). Only a new minimum is penalized and good steps earn nothing, so that the policy
    cannot raise its reward by adding steps. The scheme is the released code's, with the bound 0.5.
    """
    rewards, minimum = [], upper_bound
    for score in scores:
        rewards.append(min(score - minimum, 0.0))
        minimum = min(minimum, score)
    return rewards


def differences(scores: Sequence[float]) -> list[float]:
    """r_k = q_k - q_{k-1} with q_0 = 0: they sum to the last score."""
    return [b - a for a, b in zip([0.0, *scores], scores, strict=False)]


def rewards_of(
    solution: Solution,
    step_scores: Sequence[float],
    outcome_score: float,
    right: bool | None,
    settings: RewardSettings,
) -> Rewards:
    """Rewards of one solution, from P(correct) of its closed steps and of the whole.

    A text that is not a complete solution (no step, no answer, or cut at the token limit) gets an
    outcome score of 0, whatever the reward model says. Otherwise an empty text would have the
    highest minimum. ``right``: None where no gold answer may be read.
    """
    answer = settings.unknown_answer_reward if right is None else settings.answer_reward * right
    if settings.shaping == "none":
        return Rewards([], answer, 0.0, answer)
    scale = settings.step_reward_scale
    if settings.shaping == "paper":
        # The released code scores neither the answer nor the text after the last blank line.
        steps = running_minimum(step_scores, settings.reward_upper_bound)
        process = scale * sum(steps)
        bonus = settings.step_bonus / len(steps) if steps else 0.0
        last = answer + settings.format_penalty * format_cost(solution)
        return Rewards([scale * (r + bonus) for r in steps], last, process, answer)
    scores = [*step_scores, outcome_score if solution.outcome == "complete" else 0.0]
    if settings.shaping == "differences":
        raw = differences(scores)
    else:
        raw = running_minimum(scores, settings.reward_upper_bound)
    *steps, last = (scale * r for r in raw)
    return Rewards(steps, last + answer, sum(steps) + last, answer)


def format_cost(solution: Solution) -> float:
    r"""Share of the format penalty that the released code takes off for the form of an answer.

    0 where the answer stands in ``\boxed{}`` in the solution, 0.5 as ``$answer$`` or ``$answer.$``
    in the last step, 0.75 as plain text in the last step, else 1; 1 where there is no answer.
    """
    if solution.answer is None:
        return 1.0
    if any(rf"\boxed{{{solution.answer}}}" in step.text for step in solution.steps):
        return 0.0
    last_step = solution.steps[-1].text if solution.steps else ""
    if f"${solution.answer}$" in last_step or f"${solution.answer}.$" in last_step:
        return 0.5
    return 0.75 if solution.answer in last_step else 1.0
