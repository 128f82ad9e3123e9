"""Solutions that a policy writes to learn from: texts, their tokens, and what they earn."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerFast

from e2h_cli.common import parquet_store
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.data.template import Solution, parse
from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.batching import Scores, score_batches
from e2h_cli.inference.engines.base import Engine, Generation, SamplingParameters
from e2h_cli.inference.sampling import missing_requests
from e2h_cli.models.reward_formats import EncodedSolution, RewardModel
from e2h_cli.models.token_spans import encode
from e2h_cli.rl.rewards import Rewards, RewardShaping, rewards_of

_WRITTEN = pa.schema(
    {
        "id": pa.string(),
        "sample": pa.int32(),
        "text": pa.string(),
        "finish_reason": pa.string(),
        "ids": pa.list_(pa.int32()),
    }
)
# What the files of a run hold: the above, and what each solution earned.
ROLLOUTS = pa.schema(
    [
        *_WRITTEN,
        pa.field("answer", pa.string()),
        pa.field("right", pa.bool_()),
        pa.field("step_scores", pa.list_(pa.float32())),
        pa.field("outcome_score", pa.float32()),
        pa.field("step_rewards", pa.list_(pa.float32())),
        pa.field("last_reward", pa.float32()),
        pa.field("process", pa.float32()),
        pa.field("answer_reward", pa.float32()),
    ]
)
# Families that score every token, and the answer block by itself.
_WITH_ANSWER_BLOCK = ("e2h", "llemma")
# Tokens up to the end of a step whose lowest score the released code takes.
_LAST_TOKENS = 3


@dataclass(slots=True)
class Rollout:
    """One solution.

    ``ids``: the tokens as they were drawn, end-of-text included; encoding the text again may give
    others. ``right``: None where no gold answer may be looked at.
    """

    problem: Problem
    sample: int
    text: str
    finished: bool
    ids: list[int]
    solution: Solution
    right: bool | None = None
    scores: Scores = field(default_factory=lambda: Scores([], 0.0))
    rewards: Rewards = field(default_factory=lambda: Rewards([], 0.0, 0.0, 0.0))


def write_solutions(
    engine: Engine,
    problems: Sequence[Problem],
    n: int,
    decoding: SamplingParameters,
    run_seed: int,
    store: parquet_store.ShardedParquetStore,
) -> None:
    """Draw ``n`` solutions of each problem, as far as they are not on disk yet."""
    requests = list(missing_requests(problems, n, store.keys(), run_seed))
    try:
        for generations in engine.generate(requests, decoding) if requests else ():
            store.add(_written(g) for g in generations)
    finally:
        store.flush()


def open_store(target: Path, folder: Path, writer: str) -> parquet_store.ShardedParquetStore:
    """Where ``write_solutions`` keeps what it has drawn."""
    return parquet_store.ShardedParquetStore(target, folder, _WRITTEN, writer=writer)


def read_solutions(file: Path, problems: Mapping[str, Problem]) -> list[Rollout]:
    """What ``write_solutions`` has drawn, merged into one file."""
    return [
        Rollout(
            problems[row["id"]],
            row["sample"],
            row["text"],
            row["finish_reason"] == "stop",
            row["ids"],
            parse(row["text"], finished=row["finish_reason"] == "stop"),
        )
        for row in pq.read_table(file, columns=_WRITTEN.names).to_pylist()
    ]


def read_rollouts(file: Path, problems: Mapping[str, Problem]) -> list[Rollout]:
    """What ``save_rollouts`` wrote, as far as it is needed to learn."""
    rollouts = read_solutions(file, problems)
    rows = pq.read_table(file, columns=["right", "step_scores", "outcome_score", "step_rewards",
                                        "last_reward", "process", "answer_reward"])  # fmt: skip
    for r, row in zip(rollouts, rows.to_pylist(), strict=True):
        r.right = row["right"]
        r.scores = Scores(row["step_scores"], row["outcome_score"])
        r.rewards = Rewards(
            row["step_rewards"], row["last_reward"], row["process"], row["answer_reward"]
        )
    return rollouts


def _written(g: Generation) -> dict[str, object]:
    return {
        "id": g.id,
        "sample": g.sample,
        "text": g.text,
        "finish_reason": g.finish_reason,
        "ids": list(g.ids),
    }


def judge(
    rollouts: Sequence[Rollout],
    grader: Grader,
    shaping: RewardShaping,
    reward: RewardModel | None,
    batch_tokens: int,
) -> None:
    """Grade the answers that may be graded, score the steps, and note what each solution earns.

    A problem without a gold answer is one whose answer may not be looked at.

    Raises:
        RunError: the reward model returned a score that is no number.
    """
    open_to = [r for r in rollouts if r.problem.answer is not None]
    answered = [r for r in open_to if r.solution.answer is not None]
    pairs = [(r.problem.answer or "", r.solution.answer or "") for r in answered]
    for r in open_to:
        r.right = False
    for r, verdict in zip(answered, grader.grade(pairs), strict=True):
        r.right = verdict.right
    if reward is not None and shaping.scheme != "none":
        whole = reward.family in _WITH_ANSWER_BLOCK
        paper = shaping.scheme == "paper"
        score_rollouts(rollouts, reward, batch_tokens, lowest=paper and whole)
        for r in rollouts if paper and not whole else ():
            # The score of the last step, which these families give with the answer.
            r.scores = Scores([*r.scores.steps, r.scores.outcome], r.scores.outcome)
    for r in rollouts:
        r.rewards = rewards_of(r.solution, r.scores.steps, r.scores.outcome, r.right, shaping)


def score_rollouts(
    rollouts: Sequence[Rollout], reward: RewardModel, batch_tokens: int, *, lowest: bool
) -> None:
    """Score steps and outcomes; ``lowest``: a step has the lowest score of its last three tokens,
    as in the released code, whose tokenizer makes two tokens of a blank line.
    """
    readings = [reward.encode(r.problem.problem, r.text, r.finished) for r in rollouts]
    counts = [len(reading.step_positions) for reading in readings]
    if lowest:
        readings = [_with_last_tokens(reading) for reading in readings]
    problems = [r.problem.id for r in rollouts]
    passes = score_batches(reward, readings, batch_tokens, problems=problems)
    for batch, scores in passes:
        for i, found in zip(batch, scores, strict=True):
            size = len(found.steps) // counts[i] if counts[i] else 1
            steps = [min(found.steps[k * size : (k + 1) * size]) for k in range(counts[i])]
            rollouts[i].scores = Scores(steps, found.outcome)


def _with_last_tokens(reading: EncodedSolution) -> EncodedSolution:
    begins = [reading.solution_start, *(step + 1 for step in reading.step_positions)]
    steps = [
        max(begin, step - back)
        for begin, step in zip(begins, reading.step_positions, strict=False)
        for back in range(_LAST_TOKENS)
    ]
    return EncodedSolution(reading.input_ids, steps, reading.outcome_position)


def rewards_of_tokens(
    rollout: Rollout, tokenizer: PreTrainedTokenizerFast
) -> list[tuple[int, float]]:
    """(drawn token, reward) of every step and of the end.

    A step's reward stands at the token that holds the last character of the separator after it,
    whatever tokens the reward model has read; the last one at the last token, which is end-of-text
    where the solution is finished.
    """
    places = step_tokens(rollout, tokenizer) if rollout.rewards.steps else []
    # Families that know no answer block score the last step with the answer: one score fewer.
    earned = list(zip(places, rollout.rewards.steps, strict=False))
    return [*earned, (len(rollout.ids) - 1, rollout.rewards.last)]


def step_tokens(rollout: Rollout, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """For each closed step, the drawn token that holds the last character of its separator.

    From the tokenizer's own offsets where encoding the text gives the drawn tokens again, else by
    decoding beginnings of them.
    """
    closed = [s.separator_end for s in rollout.solution.steps if s.separator_end is not None]
    if not closed:
        return []
    asked = template.prompt(rollout.problem.problem)
    encoded = encode(tokenizer, asked, rollout.text, finished=rollout.finished)
    if encoded.input_ids[encoded.solution_start :] == rollout.ids:
        return [token - encoded.solution_start for token in encoded.step_positions]
    last = len(rollout.ids) - 1

    def written(token: int) -> int:
        text: str = tokenizer.decode(rollout.ids[: token + 1], skip_special_tokens=True)
        return len(text)

    return [min(bisect_left(range(last + 1), end, key=written), last) for end in closed]


def save_rollouts(file: Path, rollouts: Iterable[Rollout]) -> None:
    """Write solutions with their scores and rewards."""
    rows = [
        {
            "id": r.problem.id,
            "sample": r.sample,
            "text": r.text,
            "finish_reason": "stop" if r.finished else "length",
            "ids": r.ids,
            "answer": r.solution.answer,
            "right": r.right,
            "step_scores": r.scores.steps,
            "outcome_score": r.scores.outcome,
            "step_rewards": r.rewards.steps,
            "last_reward": r.rewards.last,
            "process": r.rewards.process,
            "answer_reward": r.rewards.answer,
        }
        for r in rollouts
    ]
    parquet_store.write_table(file, pa.Table.from_pylist(rows, schema=ROLLOUTS))
