"""Grading and scoring of rollouts, and the tokens that receive the rewards."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from e2h_cli.data import template
from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.batching import Scores, score_batches
from e2h_cli.models.reward_formats import RewardModel
from e2h_cli.models.token_spans import EncodedSolution, encode
from e2h_cli.rl.rewards import rewards_of
from e2h_cli.rl.rollouts import Rollout
from e2h_cli.settings.rl import RewardSettings

# Families that score every token, and the answer block by itself.
_SCORES_EVERY_TOKEN = ("e2h", "llemma")
# The released code takes the lowest score of the last three tokens of a step.
_LAST_TOKENS = 3


def score_rollouts(
    rollouts: Sequence[Rollout],
    grader: Grader,
    settings: RewardSettings,
    reward_model: RewardModel | None,
    batch_tokens: int | None,
) -> None:
    """Set ``right``, ``scores`` and ``rewards`` of rollouts.

    Those whose problem has no gold answer are not graded. ``reward_model``: None where only the
    final answer is rewarded; ``batch_tokens``: of a forward pass; by the device if None.

    Raises:
        RunError: the reward model returned NaN.
    """
    with_gold = [r for r in rollouts if r.problem.answer is not None]
    answered = [r for r in with_gold if r.solution.answer is not None]
    pairs = [(r.problem.answer or "", r.solution.answer or "") for r in answered]
    for r in with_gold:
        r.right = False
    for r, verdict in zip(answered, grader.grade(pairs), strict=True):
        r.right = verdict.right
    if reward_model is not None and settings.shaping != "none":
        paper = settings.shaping == "paper"
        every_token = reward_model.family in _SCORES_EVERY_TOKEN
        _score_steps(rollouts, reward_model, batch_tokens, lowest=paper and every_token)
        for r in rollouts if paper and not every_token else ():
            # These families score the last step together with the answer.
            r.scores = Scores([*r.scores.steps, r.scores.outcome], r.scores.outcome)
    for r in rollouts:
        r.rewards = rewards_of(r.solution, r.scores.steps, r.scores.outcome, r.right, settings)


def _score_steps(
    rollouts: Sequence[Rollout],
    reward_model: RewardModel,
    batch_tokens: int | None,
    *,
    lowest: bool,
) -> None:
    """Set the ``scores`` of rollouts.

    ``lowest`` takes the lowest score of the last three tokens of a step, as the released code does,
    whose tokenizer makes two tokens of a blank line.
    """
    encoded = [reward_model.encode(r.problem.problem, r.text, r.finished) for r in rollouts]
    counts = [len(e.step_positions) for e in encoded]
    if lowest:
        encoded = [_with_last_tokens(e) for e in encoded]
    problems = [r.problem.id for r in rollouts]
    for batch, scores in score_batches(reward_model, encoded, batch_tokens, problems=problems):
        for i, score in zip(batch, scores, strict=True):
            size = len(score.steps) // (counts[i] or 1)  # scores per step
            steps = [min(score.steps[k * size : (k + 1) * size]) for k in range(counts[i])]
            rollouts[i].scores = Scores(steps, score.outcome)


def _with_last_tokens(encoded: EncodedSolution) -> EncodedSolution:
    """The last three token positions of each step, where its score is read."""
    begins = [encoded.solution_start, *(step + 1 for step in encoded.step_positions)]
    steps = [
        max(begin, step - back)
        for begin, step in zip(begins, encoded.step_positions, strict=False)
        for back in range(_LAST_TOKENS)
    ]
    return EncodedSolution(encoded.input_ids, steps, encoded.outcome_position)


def token_rewards(rollout: Rollout, tokenizer: PreTrainedTokenizerFast) -> list[tuple[int, float]]:
    """(index into ``ids``, reward) of every step and of the end of a solution.

    The reward of a step belongs to the policy's token that holds the last character of the
    separator after it, whatever tokenizer the reward model has. The last reward belongs to the last
    token, which is end-of-text in finished solutions.
    """
    positions = step_end_tokens(rollout, tokenizer) if rollout.rewards.steps else []
    # Families without an answer block score the last step with the answer: one step score fewer.
    steps = list(zip(positions, rollout.rewards.steps, strict=False))
    return [*steps, (len(rollout.ids) - 1, rollout.rewards.last)]


def step_end_tokens(rollout: Rollout, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """For each closed step, the index of the token that holds the last character of its separator.

    By the offsets of the tokenizer where encoding the text gives the sampled tokens, else by
    decoding prefixes of the sampled tokens.
    """
    ends = [s.separator_end for s in rollout.solution.steps if s.separator_end is not None]
    if not ends:
        return []
    prompt = template.prompt(rollout.problem.problem)
    encoded = encode(tokenizer, prompt, rollout.text, finished=rollout.finished)
    if encoded.input_ids[encoded.solution_start :] == rollout.ids:
        return [token - encoded.solution_start for token in encoded.step_positions]
    last = len(rollout.ids) - 1

    def decoded_length(token: int) -> int:
        text: str = tokenizer.decode(rollout.ids[: token + 1], skip_special_tokens=True)
        return len(text)

    return [min(bisect_left(range(last + 1), end, key=decoded_length), last) for end in ends]
