"""Iterative direct preference optimization (paper p.19), with TRL's trainer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from accelerate.utils import disable_fsdp_ram_efficient_loading
from transformers import PreTrainedTokenizerFast

from e2h_cli.common import distributed
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import fingerprint, read_jsonl
from e2h_cli.evaluation.score_tables import aggregate_rows, take_keys
from e2h_cli.evaluation.voting import BEST_AGGREGATE
from e2h_cli.inference.sampling import SAMPLES_FILE, in_template
from e2h_cli.inference.scoring import score_samples
from e2h_cli.models.loading import load_generator
from e2h_cli.rl.iterated import IteratedTrainer, ScoredSolution, Solutions
from e2h_cli.settings.rl import DPOSettings
from e2h_cli.training.callbacks import Progress
from e2h_cli.training.checkpoints import last_checkpoint
from e2h_cli.training.trainer import freeze, set_up, shared_arguments, with_lora, without_tied

logger = logging.getLogger(__name__)


class IterativeDPOTrainer(IteratedTrainer[DPOSettings]):
    """Every iteration trains the last model on pairs of its solutions, and is its reference."""

    def _scores(self, folder: Path, samples: pa.Table) -> Sequence[float]:
        """The score of the lowest step, as in best-of-n (paper p.8)."""
        assert self.reward_model is not None  # checked with the inputs
        settings = self.settings
        scores = score_samples(
            in_template(samples, self.validation.style),
            {p.id: p for p in self.problems},
            self.reward_model,
            folder / "scores",
            conditions={"samples": fingerprint(folder / SAMPLES_FILE), "reward": self.reward_model},
            family=settings.family,
            batch_tokens=settings.batch_tokens,
            precision="auto",
        )
        keys = zip(samples["id"].to_pylist(), samples["sample"].to_pylist(), strict=True)
        lowest = aggregate_rows(take_keys(scores, keys), BEST_AGGREGATE["best-of-n"])
        return [float(score) for score in lowest]

    def _training_rows(self, iteration: int, solutions: Solutions) -> list[dict[str, Any]]:
        own = self.settings
        limits = (own.min_score_gap, own.min_score_gap_without_answer, own.max_pairs_per_problem)
        return [
            {
                "id": p.id,
                "prompt": self.validation.style.prompt(p.problem),
                "chosen": chosen.text,
                "rejected": rejected.text,
                "gap": chosen.value - rejected.value,
            }
            for p in self.problems
            for chosen, rejected in preference_pairs(solutions[p.id], *limits)
        ]

    def _train_on(self, rows: Path, folder: Path) -> dict[str, Any]:
        """Train the last model; a killed training continues from its last checkpoint.

        Raises:
            InputError: every pair is too long.
            RunError: the loss is NaN or infinite.
        """
        # TRL keeps in each process its part of the reference as it was loaded there, so that every
        # process must load whole weights.
        disable_fsdp_ram_efficient_loading()
        settings, model = self.settings, self.models[-1]
        tokenizer = self._load_tokenizer(model)
        pairs, too_long = _read_pairs(rows, tokenizer, settings.max_length)
        policy = load_generator(model, "fp32", to_device=False)
        if settings.freeze:
            freeze(policy)
        torch.manual_seed(settings.seed)  # LoRA adapters start at random
        adapted = with_lora(policy, settings.lora_rank) if settings.lora_rank else policy
        progress = Progress(f"{self.title} {folder.name}", settings.checkpoint_seconds)
        checkpoints = self._scratch(folder) / "checkpoints"
        trainer = _dpo_trainer(adapted, tokenizer, pairs, settings, checkpoints, progress)
        checkpoint = distributed.run_on_main(lambda: last_checkpoint(checkpoints))
        if checkpoint is not None:
            logger.info(f"resuming from {checkpoint.name.replace('-', ' ')}")
        with progress.bar:
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        last = [entry for entry in trainer.state.log_history if "loss" in entry][-1]
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if settings.lora_rank:
            policy, weights = adapted.merge_and_unload(), None
        if distributed.is_main_process():
            policy.save_pretrained(folder, state_dict=without_tied(policy, weights))
            tokenizer.save_pretrained(folder)
        margin = round(last.get("rewards/margins", 0.0), 5)
        return {"loss": round(last["loss"], 5), "margin": margin, "too_long": too_long}


def preference_pairs(
    solutions: Sequence[ScoredSolution],
    min_gap: float,
    min_gap_without_answer: float,
    max_pairs: int,
) -> list[tuple[ScoredSolution, ScoredSolution]]:
    """Pairs of (chosen, rejected) of one problem; every solution is in one pair at most.

    The largest gap comes first. The values of a pair differ by more than ``min_gap`` (paper p.19:
    1.0), or ``min_gap_without_answer`` where the gold answer may not be read: such values end at 1,
    so that ``min_gap`` cannot be met; the paper leaves this open.
    """
    unique = list({s.text: s for s in solutions}.values())
    without_answer = any(s.right is None for s in unique)
    gap = min_gap_without_answer if without_answer else min_gap
    ranked = sorted(unique, key=lambda s: -s.value)
    pairs = list(zip(ranked[: len(ranked) // 2], reversed(ranked), strict=False))
    return [(a, b) for a, b in pairs if a.value - b.value > gap][:max_pairs]


def _read_pairs(
    file: Path, tokenizer: PreTrainedTokenizerFast, max_length: int
) -> tuple[list[dict[str, str]], int]:
    """Preference pairs of at most ``max_length`` tokens, and the number of longer ones."""
    pairs, too_long = [], 0
    for _, row in read_jsonl(file):
        texts = [row["prompt"] + row[side] for side in ("chosen", "rejected")]
        # One more for the end-of-text token.
        if max(len(ids) + 1 for ids in tokenizer(texts).input_ids) <= max_length:
            pairs.append({key: row[key] for key in ("prompt", "chosen", "rejected")})
        else:
            too_long += 1
    if not pairs:
        raise InputError(
            f"every pair is longer than {max_length} tokens", hint="raise --max-length"
        )
    return pairs, too_long


def _dpo_trainer(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    pairs: list[dict[str, str]],
    settings: DPOSettings,
    checkpoints: Path,
    progress: Progress,
) -> Any:
    """TRL's trainer; the reference is the model itself as it is now."""
    import datasets
    from trl import DPOConfig, DPOTrainer

    datasets.disable_progress_bars()
    arguments = DPOConfig(
        **shared_arguments(settings, checkpoints, len(tokenizer)),
        beta=settings.beta,
        max_length=settings.max_length,
        logging_steps=1,
    )
    trainer = DPOTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(pairs),
        processing_class=tokenizer,
        callbacks=[progress],
    )
    set_up(trainer)
    return trainer
