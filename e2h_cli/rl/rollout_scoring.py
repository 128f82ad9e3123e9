"""Grading and scoring of rollouts, and the tokens that receive the rewards."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from transformers import PreTrainedTokenizerFast

from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.batching import Scores, score_batches
from e2h_cli.models.reward_formats import RewardModel
from e2h_cli.models.reward_formats.llemma import encode_windows, scored_ends
from e2h_cli.models.token_spans import encode, token_at
from e2h_cli.rl.rewards import format_cost, released_answer, rewards_of
from e2h_cli.rl.rollouts import Rollout
from e2h_cli.settings.rl import RewardSettings

# Families that score every token, and the answer block by itself.
_SCORES_EVERY_TOKEN = ("e2h", "llemma")
# The released code's logit of a first step of less than two tokens.
_SHORT_FIRST_STEP = -4.44


def score_rollouts(
    rollouts: Sequence[Rollout],
    grader: Grader,
    settings: RewardSettings,
    reward_model: RewardModel | None,
    batch_tokens: int | None,
) -> None:
    """Set ``right``, ``scores``, ``rewards`` and ``reward_characters`` of rollouts.

    Those whose problem has no gold answer are not graded. ``reward_model``: None where only the
    final answer is rewarded; ``batch_tokens``: of a forward pass; by the device if None.

    Raises:
        RunError: the reward model returned NaN.
    """
    released = settings.shaping == "paper"
    parts = [_parts(r, released=released) for r in rollouts]
    graded = [
        (r, r.problem.answer, answer)
        for r, (_, answer) in zip(rollouts, parts, strict=True)
        if r.problem.answer is not None
    ]
    verdicts = iter(grader.grade([(gold, a) for _, gold, a in graded if a is not None]))
    for r, _, answer in graded:
        r.right = answer is not None and next(verdicts).right
    if reward_model is not None and settings.shaping != "none":
        if released and reward_model.family in _SCORES_EVERY_TOKEN:
            _score_windows(rollouts, reward_model, batch_tokens)
        else:
            _score_steps(rollouts, reward_model, batch_tokens, with_outcome=released)
    for r, part in zip(rollouts, parts, strict=True):
        scores = (r.scores.steps, r.scores.outcome)
        r.rewards = rewards_of(r.solution, *scores, r.right, settings, format_cost(*part))


def _parts(rollout: Rollout, *, released: bool) -> tuple[str, str | None]:
    """(text before the answer, answer) of a rollout."""
    if released:
        return released_answer(rollout.text)
    steps = rollout.solution.steps
    return rollout.in_template[: steps[-1].end] if steps else "", rollout.solution.answer


def _score_steps(
    rollouts: Sequence[Rollout],
    reward_model: RewardModel,
    batch_tokens: int | None,
    *,
    with_outcome: bool,
) -> None:
    """Set the ``scores`` of rollouts.

    ``with_outcome`` makes the outcome a step: families that do not score every token score the last
    step together with the answer.
    """
    encoded = [reward_model.encode(r.problem.problem, r.in_template, r.finished) for r in rollouts]
    problems = [r.problem.id for r in rollouts]
    for batch, scores in score_batches(reward_model, encoded, batch_tokens, problems=problems):
        for i, s in zip(batch, scores, strict=True):
            rollouts[i].scores = Scores([*s.steps, s.outcome], s.outcome) if with_outcome else s


def _score_windows(
    rollouts: Sequence[Rollout], reward_model: RewardModel, batch_tokens: int | None
) -> None:
    """Set ``scores`` and ``reward_characters`` of rollouts as the released code does."""
    tokenizer = reward_model.tokenizer
    encoded = [encode_windows(tokenizer, r.problem.problem, r.text, r.finished) for r in rollouts]
    problems = [r.problem.id for r in rollouts]
    for batch, scores in score_batches(reward_model, encoded, batch_tokens, problems=problems):
        for i, s in zip(batch, scores, strict=True):
            r, windows = rollouts[i], encoded[i]
            lowest = [min(s.steps[k : k + 3]) for k in range(0, len(s.steps), 3)]
            if lowest and windows.step_positions[0] <= windows.solution_start:
                lowest[0] = 1 / (1 + math.exp(-_SHORT_FIRST_STEP))
            r.scores = Scores(lowest, s.outcome)
            r.reward_characters = [(end, end + 1) for end in scored_ends(r.text)]


def token_rewards(rollout: Rollout, tokenizer: PreTrainedTokenizerFast) -> list[tuple[int, float]]:
    """(index into ``ids``, reward) of every step and of the end of a solution.

    A step is rewarded at the policy's tokens that hold its ``reward_characters``, in equal shares,
    whatever tokenizer the reward model has. The last reward belongs to the last token, which is
    end-of-text in finished solutions.
    """
    # Families without an answer block score the last step with the answer: one step score fewer.
    paid = list(zip(rollout.reward_characters, rollout.rewards.steps, strict=False))
    characters = [c for shared, _ in paid for c in shared]
    shares = [reward / len(shared) for shared, reward in paid for _ in shared]
    tokens = tokens_of_characters(rollout, tokenizer, characters)
    return [*zip(tokens, shares, strict=True), (len(rollout.ids) - 1, rollout.rewards.last)]


def tokens_of_characters(
    rollout: Rollout, tokenizer: PreTrainedTokenizerFast, characters: Sequence[int]
) -> list[int]:
    """For each character of the text, the index of the token that holds it.

    By the offsets of the tokenizer where encoding the text gives the sampled tokens, else by
    decoding prefixes of the sampled tokens.
    """
    if not characters:
        return []
    prompt = rollout.prompt
    encoded = encode(tokenizer, prompt, rollout.text, finished=False)
    start = encoded.solution_start
    # Without the token that ended it.
    if encoded.input_ids[start:] == rollout.ids[: -1 if rollout.finished else None]:
        return [token_at(encoded.offsets, len(prompt) + c) - start for c in characters]
    last = len(rollout.ids) - 1

    def decoded_length(token: int) -> int:
        text: str = tokenizer.decode(rollout.ids[: token + 1], skip_special_tokens=True)
        return len(text)

    return [min(bisect_left(range(last + 1), c + 1, key=decoded_length), last) for c in characters]
