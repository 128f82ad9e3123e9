"""From step scores and the final answer to rewards: pure functions."""

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
    form_cost: float = 0.0,
) -> Rewards:
    """Rewards of one solution, from P(correct) of its scored steps and of the whole.

    A text that is not a complete solution (no step, no answer, or cut at the token limit) gets an
    outcome score of 0, whatever the reward model says. Otherwise an empty text would have the
    highest minimum. The released code scores steps only. ``right``: None where no gold answer may
    be read; ``form_cost``: see ``format_cost``.
    """
    answer = settings.unknown_answer_reward if right is None else settings.answer_reward * right
    last = answer + settings.format_penalty * form_cost
    if settings.shaping == "none":
        return Rewards([], last, 0.0, answer)
    scores = list(step_scores)
    if settings.shaping != "paper":
        scores.append(outcome_score if solution.outcome == "complete" else 0.0)
    if settings.shaping == "differences":
        raw = differences(scores)
    else:
        raw = running_minimum(scores, settings.reward_upper_bound)
    steps = [settings.step_reward_scale * r for r in raw]
    process = sum(steps)
    if settings.shaping != "paper":
        last += steps.pop()
    bonus = settings.step_reward_scale * settings.step_bonus / max(len(steps), 1)
    return Rewards([r + bonus for r in steps], last, process, answer)


def released_answer(text: str) -> tuple[str, str | None]:
    """(text before the answer, answer) as the released code reads them.

    The answer is all that follows the first header, of an unfinished text as well.
    """
    body, _, answer = text.partition("\n\n# Answer\n\n")
    return body, answer if answer.strip() else None


def format_cost(body: str, answer: str | None) -> float:
    r"""Share of the format penalty that the released code takes off for the form of an answer.

    0 where the answer stands in ``\boxed{}`` in the text before it, 0.5 as ``$answer$`` or
    ``$answer.$`` in the last step, 0.75 as plain text in the last step, else 1; 1 without answer.
    """
    if answer is None:
        return 1.0
    if rf"\boxed{{{answer}}}" in body:
        return 0.0
    last_step = body.strip().split("\n\n")[-1]
    if f"${answer}$" in last_step or f"${answer}.$" in last_step:
        return 0.5
    return 0.75 if answer in last_step else 1.0
