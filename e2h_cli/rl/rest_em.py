"""ReST-EM: fine-tuning on right solutions of the last iteration's model (paper p.19)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_jsonl
from e2h_cli.models.loading import load_generator
from e2h_cli.rl.iterated import IteratedTrainer, ScoredSolution, Solutions
from e2h_cli.settings.rl import RestEMSettings
from e2h_cli.training.token_rows import sft_row
from e2h_cli.training.trainer import train_model


class RestEMTrainer(IteratedTrainer[RestEMSettings]):
    """Every iteration fine-tunes the initial model on solutions of the last one's model."""

    def _training_rows(self, iteration: int, solutions: Solutions) -> list[dict[str, Any]]:
        # The seed must not change, or the same run would train on other solutions.
        rng = random.Random(f"round {self.settings.seed} {iteration}")
        max_count = self.settings.max_correct_per_problem
        prompt = self.validation.style.prompt
        return [
            {"id": p.id, "prompt": prompt(p.problem), "completion": text}
            for p in self.problems
            for text in right_solutions(solutions[p.id], max_count, rng)
        ]

    def _train_on(self, rows: Path, folder: Path) -> dict[str, Any]:
        settings = self.settings
        tokenizer = self._load_tokenizer(self.initial_model)
        texts = [(row["prompt"], row["completion"]) for _, row in read_jsonl(rows)]
        encoded = [sft_row(tokenizer, *pair, finished=True) for pair in texts]
        fitting = [row for row in encoded if len(row.input_ids) <= settings.max_length]
        if not fitting:
            raise InputError(
                f"every right solution is longer than {settings.max_length} tokens",
                hint="raise --max-length",
            )
        counts = train_model(
            load_generator(self.initial_model, "fp32", to_device=False),
            tokenizer,
            fitting,
            settings,
            folder,
            self._scratch(folder),
            f"{self.title} {folder.name}",
        )
        return {"loss": counts["final_loss"], "too_long": len(encoded) - len(fitting)}


def right_solutions(
    solutions: Sequence[ScoredSolution], max_count: int, rng: random.Random
) -> list[str]:
    """At most ``max_count`` distinct right solutions, at random (ReST-EM, paper p.19: 10)."""
    texts = list(dict.fromkeys(s.text for s in solutions if s.right))
    return texts if len(texts) <= max_count else rng.sample(texts, max_count)
