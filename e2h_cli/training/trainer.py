"""One training loop for all trainings: transformers' Trainer, set up to resume exactly."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerState,
    TrainingArguments,
)

from e2h_cli.common import distributed
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import write_jsonl
from e2h_cli.common.tracking import Tracker
from e2h_cli.models.loading import is_causal
from e2h_cli.settings.base import SupervisedSettings, TrainingSettings
from e2h_cli.training.callbacks import EpochOrder, Progress, Tracking
from e2h_cli.training.checkpoints import STATE_FILE, last_checkpoint
from e2h_cli.training.token_rows import Example, LengthGrouped, PadCollator, Row, rows_of

logger = logging.getLogger(__name__)

# (model outputs, labels, num_items_in_batch) -> scalar
Loss = Callable[..., torch.Tensor]


_MAX_LOGITS = 2**28


@dataclass(frozen=True, slots=True)
class Validation:
    """Early stopping on held-out rows; the best weights are kept.

    Attributes:
        rows: held-out sequences.
        metric: from the logits of all rows, (rows, tokens, labels), to a number that grows as the
            model gets better.
        eval_steps: optimizer steps between two evaluations; there is one at the end, too.
        patience: evaluations without a new best after which training stops.
    """

    rows: Sequence[Row]
    metric: Callable[[NDArray[Any]], float]
    eval_steps: int
    patience: int


def train_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Example],
    settings: TrainingSettings,
    output_dir: Path,
    scratch_dir: Path,
    title: str,
    *,
    loss: Loss | None = None,
    validation: Validation | None = None,
    tracker: Tracker | None = None,
) -> dict[str, Any]:
    """Train a model in place and save it with its tokenizer and its log.

    Training resumes from the last whole checkpoint, if there is one. Rows of similar length share a
    batch. The loss is the mean over the tokens of a whole optimizer step, however it is split into
    micro-batches and devices.

    Args:
        model: a causal language model or a token classifier.
        rows: all training sequences.
        settings: epochs or steps, learning rate, batch sizes, ...
        output_dir: for the model and ``log.jsonl`` (step, loss, learning rate).
        scratch_dir: for the checkpoints.
        title: of the progress bar.
        loss: of (outputs, labels, num_items_in_batch); the model's own if not given.
        validation: when to stop early; the best weights are saved.
        tracker: is told what ``log.jsonl`` says, while the training runs.

    Returns:
        Counts of rows, tokens with loss and steps, the last loss, and the best validation.

    Raises:
        InputError: FSDP with LoRA.
        RunError: the loss is NaN or infinite. The last checkpoint is kept.
    """
    torch.manual_seed(settings.seed)  # LoRA adapters are initialised at random
    trained = with_lora(model, settings.lora_rank) if settings.lora_rank else model
    if settings.freeze:
        freeze(trained)
    checkpoints = scratch_dir / "checkpoints"
    trainer = _build_trainer(trained, tokenizer, rows, settings, checkpoints, loss, validation)
    if tracker:
        trainer.add_callback(Tracking(tracker))
    _train_or_resume(trainer, Progress(title, settings.checkpoint_seconds))
    _save(trainer, trained, tokenizer, output_dir)
    return _counts(rows, trainer.state)


def _build_trainer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Example],
    settings: TrainingSettings,
    checkpoints: Path,
    loss: Loss | None,
    validation: Validation | None,
) -> Trainer:
    arguments = shared_arguments(settings, checkpoints, len(tokenizer))
    options: dict[str, Any] = {}
    if validation:
        metric = validation.metric
        arguments |= {
            "eval_strategy": "steps",
            "eval_steps": validation.eval_steps,
            "per_device_eval_batch_size": arguments["per_device_train_batch_size"],
            # A checkpoint of every new best, beside those by the clock; the best is kept.
            "save_strategy": "best",
            "metric_for_best_model": "validation",
            "load_best_model_at_end": True,
            # So that a resumed training knows how long there has been no new best.
            "restore_callback_states_from_checkpoint": True,
        }
        options = {
            "eval_dataset": validation.rows,
            "compute_metrics": lambda prediction: {"validation": metric(prediction.predictions)},
            "callbacks": [EarlyStoppingCallback(validation.patience)],
        }
    if isinstance(settings, SupervisedSettings):
        arguments["max_steps"] = settings.max_steps or -1
    steps = arguments.get("max_steps", -1)
    if steps < 0:
        steps = len(rows) * settings.epochs / settings.batch_size
    trainer = _Trainer(
        model=model,
        args=TrainingArguments(
            **arguments,
            ddp_find_unused_parameters=False,
            logging_steps=10 if steps >= 20 else 1,
            remove_unused_columns=False,
        ),
        train_dataset=rows,
        data_collator=PadCollator(
            tokenizer.pad_token_id or 0,
            torch.float32 if loss else torch.long,
            mask=not is_causal(model),
        ),
        compute_loss_func=loss,
        **options,
    )
    set_up(trainer)
    return trainer


def _train_or_resume(trainer: Trainer, progress: Progress) -> None:
    """Train from the start, or from the last whole checkpoint."""
    trainer.add_callback(progress)
    folder = Path(trainer.args.output_dir)
    checkpoint = distributed.run_on_main(lambda: last_checkpoint(folder))
    if checkpoint is not None:
        state = TrainerState.load_from_json(str(checkpoint / STATE_FILE))
        logger.info(f"resuming from step {state.global_step}")
        if state.global_step >= state.max_steps:
            # Killed after the last step, which is saved only if it is the best. The Trainer would
            # train one step more.
            state.best_model_checkpoint = str(checkpoint)
            trainer.state = state
            trainer._load_best_model()
            return
    with progress.bar:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))


def _save(trainer: Trainer, model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """The model, its tokenizer, and a log of the losses and then of the validations."""
    weights = None
    if trainer.is_fsdp_enabled:  # each process holds a part
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()  # so that it loads without PEFT
    if not distributed.is_main_process():
        return
    history = trainer.state.log_history
    key = "eval_validation"
    lines = [entry for entry in history if "loss" in entry]
    lines += [{"step": e["step"], "validation": e[key]} for e in history if key in e]
    write_jsonl(folder / "log.jsonl", lines)
    model.save_pretrained(folder, state_dict=without_tied(model, weights))
    tokenizer.save_pretrained(folder)


def without_tied(model: Any, weights: dict[str, Any] | None) -> dict[str, Any] | None:
    """Weights without the names of tied ones: once gathered, they no longer share memory."""
    if weights is None:
        return None
    return {name: w for name, w in weights.items() if name not in model.all_tied_weights_keys}


def _counts(rows: Sequence[Example], state: TrainerState) -> dict[str, Any]:
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    counts = {
        "rows": len(rows),
        "trained_tokens": sum(row.trained_tokens for example in rows for row in rows_of(example)),
        "steps": state.global_step,
        "final_loss": round(losses[-1], 5) if losses else None,
    }
    if state.best_global_step:
        counts["best_step"] = state.best_global_step
        counts["best_validation"] = round(state.best_metric, 5)
    return counts


def shared_arguments(settings: TrainingSettings, folder: Path, vocabulary: int) -> dict[str, Any]:
    """The TrainingArguments that all trainers share; checkpoints go to ``folder``.

    Unless the settings say otherwise, a forward pass has so many rows, a power of two, that its
    logits (rows, tokens, ``vocabulary``) have at most 2^28 numbers: 1 GiB in fp32.
    """
    per_device = math.ceil(settings.batch_size / distributed.world_size())
    fitting = max(1, _MAX_LOGITS // (settings.max_length * vocabulary))
    micro = min(settings.micro_batch_size or 2 ** (fitting.bit_length() - 1), per_device)
    gpu = torch.cuda.is_available()
    return {
        "output_dir": str(folder),
        "seed": settings.seed,
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": math.ceil(
            settings.batch_size / (micro * distributed.world_size())
        ),
        "use_cpu": not gpu,
        "ddp_backend": "gloo" if distributed.world_size() > 1 and not gpu else None,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": settings.min_lr_ratio},
        "warmup_steps": settings.warmup_ratio,
        "adam_beta2": settings.adam_beta2,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "bf16": settings.precision == "bf16",
        "gradient_checkpointing": settings.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "logging_nan_inf_filter": False,
        "save_strategy": "no",  # ``Progress`` saves by the clock
        "save_total_limit": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": gpu,
    }


def set_up(trainer: Trainer) -> None:
    """What all trainers share besides ``shared_arguments``."""
    trainer.remove_callback(PrinterCallback)
    if trainer.args.device.type == "cpu":
        # Several processes name it "cpu:0", where torch cannot load the optimizer of a checkpoint.
        trainer.args.__dict__["_setup_devices"] = torch.device("cpu")


def with_lora(model: PreTrainedModel, rank: int) -> Any:
    """A model with LoRA adapters on all linear layers; a reward head is trained in full.

    Raises InputError under FSDP.
    """
    if distributed.shards_models():
        raise InputError(
            "--lora-rank needs the whole model in every process, and FSDP spreads it",
            hint="train without one of them",
        )
    from peft import LoraConfig, get_peft_model

    head = [name for name in ("score", "classifier") if hasattr(model, name)]
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", modules_to_save=head or None
    )
    return get_peft_model(model, config)


def freeze(model: PreTrainedModel) -> None:
    """Freeze token embeddings, LM head and norm layers (paper p.7)."""
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding) or "norm" in type(module).__name__.lower():
            module.requires_grad_(False)
    head = model.get_output_embeddings()
    if head is not None:
        head.requires_grad_(False)


class _Trainer(Trainer):
    """The Trainer with an order of rows that a resumed training finds again."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        lengths = [max(len(row.input_ids) for row in rows_of(e)) for e in self.train_dataset]
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        sampler = LengthGrouped(lengths, size * self.args.world_size, self.args.seed)
        self.add_callback(EpochOrder(sampler))
        return sampler
