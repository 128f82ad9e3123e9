"""A round of direct preference optimisation, by TRL's trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback

from e2h_cli.common import distributed
from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_jsonl
from e2h_cli.models.loading import load_generator, load_tokenizer
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.rl import DPOSettings
from e2h_cli.training.callbacks import Progress
from e2h_cli.training.checkpoints import last_checkpoint
from e2h_cli.training.trainer import freeze, shared_arguments, with_lora


def train_dpo(
    context: StageContext[Any], model: str, file: Path, settings: DPOSettings
) -> dict[str, Any]:
    """Train from a model on the pairs of a file, and save it in the work's folder.

    The reference is the model that the round starts from. A killed training goes on from its last
    checkpoint.

    Args:
        work: where to, and what the progress bar says.
        model: place of the model.
        file: JSONL rows of prompt, chosen and rejected.
        settings: rates, batch sizes, beta.

    Raises:
        InputError: every pair is too long.
        RunError: the loss is no number.
    """
    import datasets
    from trl import DPOConfig, DPOTrainer

    datasets.disable_progress_bars()
    tokenizer = load_tokenizer(model)
    rows, too_long = [], 0
    for _, row in read_jsonl(file):
        texts = [row["prompt"] + row[side] for side in ("chosen", "rejected")]
        # One more for the end-of-text token.
        if max(len(ids) + 1 for ids in tokenizer(texts).input_ids) <= settings.max_length:
            rows.append({key: row[key] for key in ("prompt", "chosen", "rejected")})
        else:
            too_long += 1
    if not rows:
        raise InputError(
            f"every pair is longer than {settings.max_length} tokens", hint="raise --max-length"
        )
    policy = load_generator(model, "fp32", to_device=False)
    if settings.freeze:
        freeze(policy)
    torch.manual_seed(settings.seed)
    adapted = with_lora(policy, settings.lora_rank) if settings.lora_rank else policy
    progress = Progress(context.stage, settings.checkpoint_seconds)
    folder = context.scratch_dir / "checkpoints"
    trainer = DPOTrainer(
        model=adapted,
        args=DPOConfig(
            **shared_arguments(settings, folder),
            beta=settings.beta,
            max_length=settings.max_length,
            logging_steps=1,
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[progress],
    )
    trainer.remove_callback(PrinterCallback)
    if trainer.is_fsdp_enabled and settings.lora_rank:
        raise InputError(
            "--lora-rank needs the whole model in every process, and FSDP spreads it",
            hint="train without one of them",
        )
    checkpoint = distributed.run_on_main(lambda: last_checkpoint(folder))
    if checkpoint is not None:
        console.print(f"[cyan]resuming from {checkpoint.name.replace('-', ' ')}[/cyan]")
    with progress.bar:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if settings.lora_rank:
        policy, weights = adapted.merge_and_unload(), None
    if distributed.is_main_process():
        policy.save_pretrained(context.output_dir, state_dict=weights)
        tokenizer.save_pretrained(context.output_dir)
    last = history[-1]
    return {
        "loss": round(last["loss"], 5),
        "margin": round(last.get("rewards/margins", 0.0), 5),
        "too_long": too_long,
    }
