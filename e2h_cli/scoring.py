"""Scoring samples with a reward model: each distinct solution once, one forward pass each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from rich.text import Text
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli import parts, solution
from e2h_cli.console import console, progress_bar
from e2h_cli.errors import RunError
from e2h_cli.files import read_json, write_json
from e2h_cli.models.loading import load_tokenizer
from e2h_cli.models.reward import load_reward_model
from e2h_cli.problems.problem import Problem
from e2h_cli.tokens import Encoded, encode

FILE = "scores.parquet"
_CONDITIONS = "conditions.json"


@dataclass(frozen=True, slots=True)
class Scores:
    """P(correct) of each closed step, and of the whole solution."""

    steps: list[float]
    outcome: float


def score_samples(
    samples: pa.Table,
    problems: Mapping[str, Problem],
    reward: str,
    folder: Path,
    *,
    conditions: Mapping[str, Any],
    batch_tokens: int,
    precision: str,
    title: str,
) -> pa.Table:
    """Scores of all samples, from ``folder`` as far as they are there already.

    Args:
        samples: rows of ``parts.SAMPLES``.
        problems: by id.
        reward: place of the reward model.
        folder: keeps scores; emptied when ``conditions`` are not those that it was made under.
        conditions: whatever the scores depend on but the samples themselves.
        batch_tokens: tokens per forward pass, padding included.
        precision: of the model.
        title: of the progress bar.

    Raises:
        RunError: the reward model returned a score that is no number.
    """
    _empty_unless(folder, conditions)
    store = parts.Parts(folder / FILE, folder, parts.SCORES)
    have = store.keys()
    groups: dict[tuple[str, str, bool], list[int]] = {}
    keys = zip(
        samples["id"].to_pylist(),
        samples["text"].to_pylist(),
        samples["finish_reason"].to_pylist(),
        samples["sample"].to_pylist(),
        strict=True,
    )
    for problem, text, finish, sample in keys:
        if problem in problems and (problem, sample) not in have:
            groups.setdefault((problem, text, finish == "stop"), []).append(sample)
    if groups:
        model = load_reward_model(reward, precision).eval()
        tokenizer = load_tokenizer(reward)
        todo = list(groups)
        console.print(
            f"{sum(map(len, groups.values())):,} samples to score, {len(todo):,} distinct"
        )
        with progress_bar() as bar:
            task = bar.add_task(title, total=len(todo), unit="solutions", note="")
            encoded = [
                encode(tokenizer, solution.prompt(problems[key].problem), text, finished=finished)
                for key, text, finished in todo
            ]
            for batch, scores in forward(model, tokenizer, encoded, batch_tokens):
                rows = []
                for index, score in zip(batch, scores, strict=True):
                    problem, _, _ = todo[index]
                    rows += [
                        {
                            "id": problem,
                            "sample": sample,
                            "step_scores": score.steps,
                            "outcome_score": score.outcome,
                        }
                        for sample in groups[todo[index]]
                    ]
                store.add(rows)
                bar.advance(task, len(batch))
    store.merge(problems)
    for file in folder.glob("part-*.parquet"):
        file.unlink()
    return parts.read(store.target, parts.SCORES)


def keep_scores(scores: pa.Table, folder: Path, conditions: Mapping[str, Any]) -> None:
    """Put scores that another project made where ``score_samples`` keeps its own."""
    _empty_unless(folder, conditions)
    parts.write(folder / FILE, scores)


def _empty_unless(folder: Path, conditions: Mapping[str, Any]) -> None:
    """Drop scores that were made under other conditions, and note those of now."""
    if (folder / _CONDITIONS).is_file() and read_json(folder / _CONDITIONS) == dict(conditions):
        return
    for file in folder.glob("*.parquet"):
        file.unlink()
    write_json(folder / _CONDITIONS, dict(conditions))


@torch.inference_mode()
def forward(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    solutions: Sequence[Encoded],
    batch_tokens: int,
) -> Iterator[tuple[list[int], list[Scores]]]:
    """Yield (indices into ``solutions``, their scores), longest solutions first.

    Raises:
        RunError: a score is no number.
    """
    for batch in batches([len(s.ids) for s in solutions], batch_tokens):
        longest = max(len(solutions[i].ids) for i in batch)
        ids = torch.full((len(batch), longest), tokenizer.pad_token_id or 0)
        mask = torch.zeros_like(ids)
        for row, i in enumerate(batch):
            ids[row, : len(solutions[i].ids)] = torch.tensor(solutions[i].ids)
            mask[row, : len(solutions[i].ids)] = 1
        output = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
        probability = output.logits[..., 0].float().sigmoid().cpu()
        scores = [
            Scores(
                steps=probability[row, solutions[i].step_tokens].tolist(),
                outcome=float(probability[row, solutions[i].last]),
            )
            for row, i in enumerate(batch)
        ]
        if any(score.outcome != score.outcome for score in scores):
            raise RunError("the reward model returned NaN", hint="try --precision fp32")
        yield batch, scores


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches of like length whose padded size is at most ``budget`` tokens.

    A sequence that is longer than the budget is a batch of its own.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def show(problem: Problem, text: str, finished: bool, reward: str, precision: str) -> None:
    """Print a solution with the positions that are read and the values that stand there."""
    model, tokenizer = load_reward_model(reward, precision).eval(), load_tokenizer(reward)
    encoded = encode(tokenizer, solution.prompt(problem.problem), text, finished=finished)
    _, (scores,) = next(forward(model, tokenizer, [encoded], len(encoded.ids)))
    read = dict(zip(encoded.step_tokens, scores.steps, strict=True)) | {
        encoded.last: scores.outcome
    }
    line = Text(f"{problem.id}: ", style="bold")
    for position, token in enumerate(encoded.ids):
        shown = tokenizer.decode([token]).replace("\n", "\\n")
        if position in read:
            line.append(f"{shown}[{position}]={read[position]:.3f} ", style="bold cyan")
        else:
            line.append(f"{shown} ", style="dim")
    console.print(line)
