"""What ReST-EM and iterative DPO share: iterations of sampling, selecting, training and validating.

Every iteration has a folder with its samples, training rows, model, validation and, once it is
complete, a record. A complete iteration is not repeated; an incomplete one continues from its
samples or its last training checkpoint.
"""

from __future__ import annotations

import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import torch
from transformers import PreTrainedTokenizerFast

from e2h_cli.common import distributed, parquet_store
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_json, write_json, write_jsonl
from e2h_cli.common.tracking import Tracker
from e2h_cli.data.problem import Problem
from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.sampling import SAMPLES_FILE, SamplingJob, sample_all
from e2h_cli.models.loading import free_memory, load_generator, load_tokenizer
from e2h_cli.rl.checkpoint_selection import ValidationSet
from e2h_cli.rl.run_log import RunLog
from e2h_cli.settings.base import DecodingSettings
from e2h_cli.settings.prompt import ChatSettings
from e2h_cli.settings.rl import IteratedSettings
from e2h_cli.settings.sample import SampleSettings

logger = logging.getLogger(__name__)

RECORD = "record.json"
ROWS = "rows.jsonl"

S = TypeVar("S", bound=IteratedSettings)


@dataclass(frozen=True, slots=True)
class ScoredSolution:
    """A finished solution; ``right`` is None where no gold answer may be read.

    ``score``: P(correct) of the reward model in [0, 1]; 0 where there is none.
    """

    text: str
    right: bool | None
    score: float = 0.0

    @property
    def value(self) -> float:
        """Score plus 1 for a right answer (paper p.19)."""
        return self.score + bool(self.right)


# Problem id -> its finished solutions.
Solutions = Mapping[str, Sequence[ScoredSolution]]


@dataclass
class IteratedTrainer(ABC, Generic[S]):
    """Trains a generator in iterations on solutions that the last iteration's model sampled.

    Attributes:
        problems: questions; those whose answer may be graded have their gold answer.
        initial_model: path or Hub name of the initial generator.
        reward_model: path or Hub name, or None.
        output_dir: for the log and a folder per iteration.
        scratch_dir: for samples and checkpoints of an incomplete iteration.
        models: paths or Hub names of the initial model and that of every iteration.
        history: one entry per model: "step" (the number of the iteration), and the accuracy by each
            checkpoint rule.
        unit: what "step" counts.
    """

    problems: Sequence[Problem]
    validation: ValidationSet
    initial_model: str
    reward_model: str | None
    settings: S
    grader: Grader
    output_dir: Path
    scratch_dir: Path
    title: str
    tracker: Tracker
    unit = "iteration"

    def __post_init__(self) -> None:
        self.models = [self.initial_model]
        self.history: list[dict[str, Any]] = []
        self.log = RunLog(self.output_dir, [], self.validation.sizes, self.tracker)

    @abstractmethod
    def _training_rows(self, iteration: int, solutions: Solutions) -> list[dict[str, Any]]:
        """Training rows of an iteration, each with the "id" of its problem."""

    @abstractmethod
    def _train_on(self, rows: Path, folder: Path) -> dict[str, Any]:
        """Train on the rows of a file and save the model in a folder; return counts."""

    def _scores(self, folder: Path, samples: pa.Table) -> Sequence[float]:
        """P(correct) of every sample in [0, 1]."""
        return [0.0] * samples.num_rows

    @property
    def counts(self) -> dict[str, Any]:
        """How many iterations there were, for the record of the stage."""
        return {"iterations": len(self.models) - 1}

    def train(self) -> None:
        """Do all iterations, as long as there is something to train on."""
        first = {"step": 0, **self._validate(self._folder(0), self.initial_model)}
        self.log.add(first)
        self.history = [first]
        for iteration in range(1, self.settings.iterations + 1):
            line = self._iteration(iteration)
            if line is None:
                break
            self.log.add(line)
            self.models.append(str(self._folder(iteration)))
            self.history.append({key: line[key] for key in first})
        self.log.close()

    def save_model(self, step: int, folder: Path) -> None:
        """Save the model of an iteration; 0 is the initial model. Rank 0 does it."""
        if not distributed.is_main_process():
            return
        path = self.models[step]
        load_generator(path, "fp32", to_device=False).save_pretrained(folder)
        load_tokenizer(path).save_pretrained(folder)

    def _folder(self, iteration: int) -> Path:
        return self.output_dir / f"iteration-{iteration}"

    def _iteration(self, iteration: int) -> dict[str, Any] | None:
        """One iteration from the last model; its line of the log, or None without any rows."""
        folder, model = self._folder(iteration), self.models[-1]
        file = folder / RECORD
        if not distributed.run_on_main(file.is_file):
            logger.info(f"{self.title} iteration {iteration}")
            rows = distributed.run_on_main(lambda: self._make_rows(folder, iteration, model))
            if not rows:
                logger.info(f"iteration {iteration} finds nothing to learn from: training ends")
                return None
            counts = self._train_on(folder / ROWS, folder)
            free_memory()
            line = {"step": iteration, **rows, **counts, **self._validate(folder, str(folder))}
            record = {"status": "finished", "model": model, "counts": line}
            distributed.run_on_main(lambda: write_json(file, record))
            if distributed.is_main_process():
                shutil.rmtree(self._scratch(folder), ignore_errors=True)
        return dict(distributed.run_on_main(lambda: read_json(file))["counts"])

    def _make_rows(self, folder: Path, iteration: int, model: str) -> dict[str, Any]:
        """Sample, grade and score solutions, and write training rows; metrics, or {} without rows.

        Raises:
            InputError: the first iteration has no rows.
        """
        samples = self._sample(
            folder / SAMPLES_FILE,
            model,
            self.problems,
            # Every iteration has its own noise.
            seed=(self.settings.seed << 32) + iteration,
            n=self.settings.num_generations,
        )
        solutions = self._solutions(folder, samples)
        rows = self._training_rows(iteration, solutions)
        if not rows:
            if iteration > 1:
                return {}
            raise InputError(
                "the first iteration finds nothing to learn from",
                where=folder,
                hint="raise --num-generations, lower --min-score-gap, or ask other --questions",
            )
        write_jsonl(folder / ROWS, rows)
        finished = [s for group in solutions.values() for s in group]
        graded = [s.right for s in finished if s.right is not None]
        return {
            "samples": samples.num_rows,
            "finished": len(finished),
            "right": sum(graded) / len(graded) if graded else None,
            "reward": sum(s.value for s in finished) / len(finished),
            "tokens": sum(samples["tokens"].to_pylist()) / samples.num_rows,
            "without_answer": samples["answer"].null_count / samples.num_rows,
            "rows": len(rows),
            "problems_with_rows": len({row["id"] for row in rows}),
        }

    def _solutions(self, folder: Path, samples: pa.Table) -> Solutions:
        """The finished samples of each problem, graded where there is a gold answer, and scored."""
        gold = {p.id: p.answer for p in self.problems}
        scores = self._scores(folder, samples)
        columns = (samples[c].to_pylist() for c in ("id", "text", "answer", "finish_reason"))
        finished = [
            (key, text, answer, score)
            for key, text, answer, reason, score in zip(*columns, scores, strict=True)
            if reason == "stop" and answer is not None
        ]
        pairs = [(g, answer) for key, _, answer, _ in finished if (g := gold[key]) is not None]
        verdicts = iter(self.grader.grade(pairs))
        solutions: dict[str, list[ScoredSolution]] = {key: [] for key in gold}
        for key, text, _, score in finished:
            right = None if gold[key] is None else next(verdicts).right
            solutions[key].append(ScoredSolution(text, right, score))
        return solutions

    def _validate(self, folder: Path, model: str) -> dict[str, Any]:
        """Accuracy of a model by each rule, of its greedy answers to the validation problems."""
        file = folder / "validation.json"

        def measure() -> dict[str, Any]:
            if not file.is_file():
                greedy = {"temperature": 0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
                problems = self.validation.problems
                target = file.with_suffix(".parquet")
                samples = self._sample(target, model, problems, seed=0, n=1, **greedy)
                pairs = zip(samples["id"].to_pylist(), samples["answer"].to_pylist(), strict=True)
                write_json(file, self.validation.accuracies(dict(pairs)))
            return read_json(file)

        return distributed.run_on_main(measure)

    def _load_tokenizer(self, model: str) -> PreTrainedTokenizerFast:
        """The tokenizer for a training: its end-of-text token is the one that ends solutions."""
        tokenizer = load_tokenizer(model)
        for token in self.validation.style.stop_token_ids:
            tokenizer.eos_token = tokenizer.convert_ids_to_tokens(token)
        return tokenizer

    def _scratch(self, folder: Path) -> Path:
        return self.scratch_dir / folder.name

    def _sample(
        self, file: Path, model: str, problems: Sequence[Problem], **changes: Any
    ) -> pa.Table:
        """Samples of a model by the settings with changes; read from ``file`` if it is there."""
        names = [
            *DecodingSettings.model_fields, *ChatSettings.model_fields, "prompt",
            "engine", "engine_arg", "generation_batch_size",
        ]  # fmt: skip
        settings = {name: getattr(self.settings, name) for name in names} | changes
        scratch = self._scratch(file.parent) / file.stem
        job = SamplingJob(
            model=model,
            settings=SampleSettings(**settings),
            problems=tuple(problems),
            examples=(),
            target=file.resolve(),
            folder=scratch.resolve(),
            writer="parts",
        )
        if not job.target.is_file():
            store = job.store()
            todo = sum(len(request.samples) for request in job.missing(store.keys()))
            # In another process on a GPU, so that its memory is free for the training.
            apart = torch.cuda.is_available()
            for _ in sample_all(job, todo, f"{file.parent.name} {file.stem}", apart):
                pass
            store.merge(p.id for p in problems)
            shutil.rmtree(scratch)
        return parquet_store.read_table(job.target, parquet_store.SAMPLE_SCHEMA)
