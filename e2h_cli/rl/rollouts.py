"""Rollouts: solutions sampled from the policy, with their tokens, scores and rewards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2h_cli.common import parquet_store
from e2h_cli.data.problem import Problem
from e2h_cli.data.prompt_styles import E2H, PromptStyle, parse
from e2h_cli.data.template import Solution
from e2h_cli.inference.batching import Scores
from e2h_cli.inference.engines.base import Engine, SamplingParameters
from e2h_cli.inference.sampling import missing_requests
from e2h_cli.rl.rewards import Rewards

SOLUTION_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "sample": pa.int32(),
        "text": pa.string(),
        "finish_reason": pa.string(),
        "ids": pa.list_(pa.int32()),
    }
)
_SCORES_AND_REWARDS = {
    "answer": pa.string(),
    "right": pa.bool_(),
    "step_scores": pa.list_(pa.float32()),
    "outcome_score": pa.float32(),
    "step_rewards": pa.list_(pa.float32()),
    "last_reward": pa.float32(),
    "process": pa.float32(),
    "answer_reward": pa.float32(),
}
ROLLOUT_SCHEMA = pa.schema([*SOLUTION_SCHEMA, *pa.schema(_SCORES_AND_REWARDS)])


@dataclass(slots=True)
class Rollout:
    """One sampled solution.

    ``ids``: the sampled tokens, end-of-text included; encoding ``text`` again may give others.
    ``solution``: steps and answer of ``in_template``. ``right``: None where no gold answer may be
    read. ``reward_characters``: for each step reward the characters of the text at whose tokens it
    is paid; the last one of the separator after each step if not given. ``style``: the wording of
    prompt and text.
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
    reward_characters: list[tuple[int, ...]] = field(default_factory=list)
    style: PromptStyle = E2H

    def __post_init__(self) -> None:
        if not self.reward_characters:
            self.reward_characters = [(end - 1,) for end in self.style.step_ends(self.text)]

    @property
    def prompt(self) -> str:
        """What the solution was sampled from."""
        return self.style.prompt(self.problem.problem)

    @property
    def in_template(self) -> str:
        """The text in e2h's template, which reward models read."""
        return self.style.in_template(self.text)


def open_store(
    target: Path, folder: Path, writer: str = "parts"
) -> parquet_store.ShardedParquetStore:
    """The store that ``sample_solutions`` writes to."""
    return parquet_store.ShardedParquetStore(target, folder, SOLUTION_SCHEMA, writer=writer)


def sample_solutions(
    engine: Engine,
    problems: Sequence[Problem],
    num_generations: int,
    decoding: SamplingParameters,
    run_seed: int,
    store: parquet_store.ShardedParquetStore,
    style: PromptStyle = E2H,
) -> None:
    """Sample ``num_generations`` solutions of each problem; those in the store are kept."""
    done, prompt = store.keys(), style.prompt
    requests = list(missing_requests(problems, num_generations, done, run_seed, prompt=prompt))
    try:
        for generations in engine.generate(requests, decoding) if requests else ():
            store.add(
                {name: getattr(g, name) for name in SOLUTION_SCHEMA.names} for g in generations
            )
    finally:
        store.flush()


def read_solutions(
    file: Path, problems: Mapping[str, Problem], style: PromptStyle = E2H
) -> list[Rollout]:
    """Rollouts of a merged store or of ``save_rollouts``, without scores and rewards."""
    columns = pq.read_table(file, columns=SOLUTION_SCHEMA.names).to_pydict().values()
    return [
        Rollout(problems[key], sample, text, finished, ids, solution, style=style)
        for key, sample, text, reason, ids in zip(*columns, strict=True)
        for finished in [reason == "stop"]
        for solution in [parse(style, text, finished=finished)]
    ]


def save_rollouts(file: Path, rollouts: Iterable[Rollout]) -> None:
    """Write rollouts with their scores and rewards."""
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
    parquet_store.write_table(file, pa.Table.from_pylist(rows, schema=ROLLOUT_SCHEMA))


def rollout_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Means over the rollouts of a step: rewards, lengths in tokens and steps, shares in [0, 1]."""
    graded = [r.right for r in rollouts if r.right is not None]
    metrics: dict[str, list[Any]] = {
        "reward": [r.rewards.total for r in rollouts],
        "process_reward": [r.rewards.process for r in rollouts],
        "answer_reward": [r.rewards.answer for r in rollouts],
        "tokens": [len(r.ids) for r in rollouts],
        "solution_steps": [len(r.solution.steps) for r in rollouts],
        "without_answer": [r.solution.answer is None for r in rollouts],
        "truncated": [not r.finished for r in rollouts],
        **({"right": graded} if graded else {}),
    }
    return {name: float(np.mean(values)) for name, values in metrics.items()}
