"""Scoring samples with a reward model: each distinct solution once, one forward pass each."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from rich.text import Text

from e2h_cli import parts
from e2h_cli.console import console, progress_bar
from e2h_cli.errors import RunError
from e2h_cli.files import read_json, write_json
from e2h_cli.models.families import Backbone, Head, Reading, RewardModel, load_family
from e2h_cli.problems.problem import Problem
from e2h_cli.workers import gpu_count, with_processes
from e2h_cli.workspace import ENGINES

FILE = "scores.parquet"
_CONDITIONS = "conditions.json"
_PADDING = 0.05
# Of the budget: what is worth a pass of its own.
_SMALL = 1 / 32
# When the common beginning of a problem's solutions is computed once: tokens that are left to make
# a pass of (on a CPU, on a GPU), solutions, and the share of all tokens that it saves. With half a
# million and twenty million parameters on a CPU scoring became 1.1 to 1.7 times faster.
_SHARED_TOKENS = (512, 8192)
_SHARED_ROWS = 4
_SHARED_SAVES = 0.1


@dataclass(frozen=True, slots=True)
class Scores:
    """P(correct) of each step, and of the whole solution."""

    steps: list[float]
    outcome: float


@dataclass(frozen=True, slots=True)
class Distinct:
    """A solution that is scored once, and the samples that it stands for."""

    problem: str
    question: str
    text: str
    finished: bool
    samples: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """What one reward model is to score; can be sent to another process."""

    reward: str
    family: str
    precision: str
    batch_tokens: int
    folder: Path
    writer: str
    todo: list[Distinct]

    def store(self) -> parts.Parts:
        """The parts on disk, with a folder of this job's own to write to."""
        return parts.Parts(
            self.folder / FILE, self.folder / "parts", parts.SCORES, writer=self.writer
        )


def score_samples(
    samples: pa.Table,
    problems: Mapping[str, Problem],
    reward: str,
    folder: Path,
    *,
    conditions: Mapping[str, Any],
    family: str = "auto",
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
        family: how the model is read; see ``models.families``.
        batch_tokens: tokens per forward pass, padding included.
        precision: of the model.
        title: of the progress bar.

    Raises:
        RunError: the reward model returned a score that is no number.
    """
    _empty_unless(folder, conditions)
    job = ScoreJob(reward, family, precision, batch_tokens, folder.resolve(), "main", [])
    store = job.store()
    todo = _distinct(samples, problems, store.keys())
    if todo:
        count = sum(len(one.samples) for one in todo)
        console.print(f"{count:,} samples to score, {len(todo):,} distinct")
        job = replace(job, todo=todo)
        for record in _score_all(job, title):
            with (folder / ENGINES).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({**record, "samples": count}) + "\n")
    store.merge(problems)
    for file in (folder / "parts").rglob("part-*.parquet"):
        file.unlink()
    return parts.read(store.target, parts.SCORES)


def _distinct(
    samples: pa.Table, problems: Mapping[str, Problem], have: parts.Keys
) -> list[Distinct]:
    groups: dict[tuple[str, str, bool], Distinct] = {}
    columns = (samples[name].to_pylist() for name in ("id", "text", "finish_reason", "sample"))
    for problem, text, finish, sample in zip(*columns, strict=True):
        if problem in problems and (problem, sample) not in have:
            key = (problem, text, finish == "stop")
            if key not in groups:
                groups[key] = Distinct(problem, problems[problem].problem, text, finish == "stop")
            groups[key].samples.append(sample)
    return list(groups.values())


def _score_all(job: ScoreJob, title: str) -> Iterator[dict[str, Any]]:
    """Score with one model, or with one per GPU."""
    count = min(gpu_count() or 1, len(job.todo))
    with progress_bar() as bar:
        task = bar.add_task(title, total=len(job.todo), unit="solutions", note="", start=False)

        def advance(done: int) -> None:
            bar.start_task(task)
            bar.advance(task, done)

        if count == 1:
            yield score(job, advance)
            return
        # Whole problems, so that samples of a problem can share its prompt.
        shares: list[list[Distinct]] = [[] for _ in range(count)]
        place = {key: i for i, key in enumerate(dict.fromkeys(one.problem for one in job.todo))}
        for one in job.todo:
            shares[place[one.problem] % count].append(one)
        jobs = [
            replace(job, writer=f"{job.writer}-{i}", todo=share) for i, share in enumerate(shares)
        ]
        store, before = job.store(), job.store().rows_on_disk()
        samples = sum(len(one.samples) for one in job.todo)
        bar.start_task(task)
        bar.update(task, total=samples, unit="samples")
        yield from with_processes(
            score, jobs, 1, lambda: bar.update(task, completed=store.rows_on_disk() - before)
        )


def score(job: ScoreJob, done: Any = None) -> dict[str, Any]:
    """Score a job's solutions, write them down, return how fast it went.

    Raises:
        RunError: the reward model returned a score that is no number.
    """
    begin = time.monotonic()
    model = load_family(job.reward, job.family, job.precision)
    loaded = time.monotonic()
    readings = [model.read(one.question, one.text, one.finished) for one in job.todo]
    tally = Tally()
    store = job.store()
    if done is not None:
        done(0)
    try:
        for batch, scores in forward(model.backbone, model.head, readings, job.batch_tokens,
                                     device=model.device, pad=model.pad, tally=tally,
                                     problems=[one.problem for one in job.todo]):  # fmt: skip
            rows = []
            for index, found in zip(batch, scores, strict=True):
                one = job.todo[index]
                rows += [
                    {
                        "id": one.problem,
                        "sample": sample,
                        "step_scores": found.steps,
                        "outcome_score": found.outcome,
                    }
                    for sample in one.samples
                ]
            store.add(rows)
            if done is not None:
                done(len(batch))
    finally:
        store.flush()
    seconds = max(time.monotonic() - loaded, 1e-9)
    return {
        "family": model.family,
        "distinct": len(readings),
        "load_seconds": round(loaded - begin, 2),
        "seconds": round(seconds, 2),
        "tokens": tally.tokens,
        "tokens_saved_by_sharing": tally.shared,
        "padding_share": round(tally.padding / max(tally.tokens + tally.padding, 1), 4),
        "tokens_per_second": round(tally.tokens / seconds, 1),
        "solutions_per_second": round(len(readings) / seconds, 2),
    }


def keep_scores(scores: pa.Table, folder: Path, conditions: Mapping[str, Any]) -> None:
    """Put scores that another project made where ``score_samples`` keeps its own."""
    _empty_unless(folder, conditions)
    parts.write(folder / FILE, scores)


def _empty_unless(folder: Path, conditions: Mapping[str, Any]) -> None:
    """Drop scores that were made under other conditions, and note those of now."""
    if (folder / _CONDITIONS).is_file() and read_json(folder / _CONDITIONS) == dict(conditions):
        return
    for file in folder.rglob("*.parquet"):
        file.unlink()
    write_json(folder / _CONDITIONS, dict(conditions))


@dataclass
class Tally:
    """Tokens that went through the model, the padding beside them, and what sharing has saved."""

    tokens: int = 0
    padding: int = 0
    shared: int = 0


@torch.inference_mode()
def forward(
    backbone: Backbone,
    head: Head,
    readings: Sequence[Reading],
    batch_tokens: int,
    *,
    device: torch.device,
    pad: int,
    problems: Sequence[str] | None = None,
    tally: Tally | None = None,
) -> Iterator[tuple[list[int], list[Scores]]]:
    """Yield (indices into ``readings``, their scores), longest solutions first.

    The head sees the positions that are read, not all tokens: logits over a vocabulary of 32,000
    at every token would take more memory than the model.

    Args:
        backbone: gives features of shape (rows, tokens, size).
        head: of the features at the positions that are read.
        readings: solutions.
        batch_tokens: tokens per pass, padding included.
        device: of the model.
        pad: the token that fills up.
        problems: whose solution each is. The beginning that the solutions of a problem share is
            then computed once, where that saves enough.
        tally: counts tokens and padding.

    Raises:
        RunError: a score is no number.
    """
    passes = _Passes(backbone, head, readings, device, pad, tally or Tally())
    rest: list[int] = []
    groups: dict[str, list[int]] = {}
    for i, problem in enumerate(problems or ()):
        groups.setdefault(problem, []).append(i)
    least = _SHARED_TOKENS[device.type == "cuda"]
    for members in groups.values():
        common = shared_prefix([readings[i] for i in members])
        tail = sum(len(readings[i].ids) - common for i in members)
        cache = passes.prefix(members[0], common) if common and tail >= least else None
        if cache is None:
            rest += members
            continue
        passes.tally.shared += common * (len(members) - 1)
        for batch in batches([len(readings[i].ids) - common for i in members], batch_tokens):
            chosen = [members[i] for i in batch]
            yield chosen, passes.scores(chosen, common, copy.deepcopy(cache))
    if problems is None:
        rest = list(range(len(readings)))
    for batch in batches([len(readings[i].ids) for i in rest], batch_tokens):
        chosen = [rest[i] for i in batch]
        yield chosen, passes.scores(chosen)


def shared_prefix(readings: Sequence[Reading]) -> int:
    """How many tokens all begin with, before the first that is read; 0 where that saves little."""
    if len(readings) < _SHARED_ROWS:
        return 0
    # What the first and the last in the order of lists share, all share.
    first, last = min(r.ids for r in readings), max(r.ids for r in readings)
    common = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first)
    )
    common = min(common, *(min([*r.steps, r.outcome]) for r in readings))
    saved = common * (len(readings) - 1)
    return common if saved >= _SHARED_SAVES * sum(len(r.ids) for r in readings) else 0


@dataclass
class _Passes:
    """Forward passes of one model."""

    backbone: Backbone
    head: Head
    readings: Sequence[Reading]
    device: torch.device
    pad: int
    tally: Tally

    def prefix(self, member: int, length: int) -> Any:
        """Keys and values of a beginning; None where the model has none (it looks both ways)."""
        ids = torch.tensor([self.readings[member].ids[:length]], device=self.device)
        self.tally.tokens += length
        return getattr(self.backbone(input_ids=ids, use_cache=True), "past_key_values", None)

    def scores(self, batch: Sequence[int], start: int = 0, cache: Any = None) -> list[Scores]:
        """Scores of some solutions, from token ``start`` on."""
        readings = [self.readings[i] for i in batch]
        longest = max(len(r.ids) for r in readings) - start
        ids = torch.full((len(batch), longest), self.pad)
        mask = torch.zeros_like(ids)
        for row, r in enumerate(readings):
            ids[row, : len(r.ids) - start] = torch.tensor(r.ids[start:])
            mask[row, : len(r.ids) - start] = 1
        if cache is None:
            output = self.backbone(
                input_ids=ids.to(self.device), attention_mask=mask.to(self.device)
            )
        else:
            # Padding stands on the right, where nothing that is read can see it.
            cache.batch_repeat_interleave(len(batch))
            output = self.backbone(
                input_ids=ids.to(self.device), past_key_values=cache, use_cache=True
            )
        features = output if isinstance(output, torch.Tensor) else output.last_hidden_state
        places = [[*r.steps, r.outcome] for r in readings]
        rows = torch.tensor([row for row, many in enumerate(places) for _ in many])
        columns = torch.tensor([place - start for many in places for place in many])
        values = self.head(features[rows.to(self.device), columns.to(self.device)]).float().cpu()
        if not bool(values.isfinite().all()):
            raise RunError("the reward model returned NaN", hint="try --precision fp32")
        real = int(mask.sum())
        self.tally.tokens += real
        self.tally.padding += mask.numel() - real
        found = values.split([len(many) for many in places])
        return [Scores(v[:-1].tolist(), float(v[-1])) for v in found]


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices in batches of like length whose padded size is at most ``budget`` tokens.

    A batch ends early where its padding would pass a twentieth, unless it is still small. A
    sequence that is longer than the budget is a batch of its own.
    """
    batch: list[int] = []
    real = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        size = (len(batch) + 1) * lengths[batch[0]] if batch else 0
        loose = size > budget * _SMALL and real + lengths[index] < (1 - _PADDING) * size
        if batch and (size > budget or loose):
            yield batch
            batch, real = [], 0
        batch.append(index)
        real += lengths[index]
    if batch:
        yield batch


def show(
    problem: Problem, text: str, finished: bool, reward: str, family: str, precision: str
) -> None:
    """Print a solution with the positions that are read and the values that stand there."""
    model = load_family(reward, family, precision)
    reading = model.read(problem.problem, text, finished)
    found = forward(model.backbone, model.head, [reading], len(reading.ids),
                    device=model.device, pad=model.pad)  # fmt: skip
    _, (scores,) = next(iter(found))
    values = dict(zip(reading.steps, scores.steps, strict=True)) | {reading.outcome: scores.outcome}
    console.print(_marked(model, reading.ids, values, f"{problem.id} ({model.family}): "))


def _marked(
    model: RewardModel, ids: Iterable[int], values: Mapping[int, float], title: str
) -> Text:
    line = Text(title, style="bold")
    for position, token in enumerate(ids):
        shown = model.tokenizer.decode([token]).replace("\n", "\\n")
        if position in values:
            line.append(f"{shown}[{position}]={values[position]:.3f} ", style="bold cyan")
        else:
            line.append(f"{shown} ", style="dim")
    return line
