"""One training loop for all trainings: transformers' Trainer, set up to resume."""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from e2h_cli.common import distributed
from e2h_cli.common.console import console, progress_bar
from e2h_cli.common.errors import InputError, RunError
from e2h_cli.common.files import write_atomic
from e2h_cli.settings.base import TrainingSettings
from e2h_cli.training.early_stopping import EarlyStopping, Validation

NO_LOSS = -100
_STEPS_PER_LOOK = 10
_STATE = "trainer_state.json"

Loss = Callable[..., torch.Tensor]
Ints = NDArray[np.int32]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Row:
    """One training sequence: one label per token, ``NO_LOSS`` where none is trained.

    Arrays, not lists: the rows of PRM800K would take tens of gigabytes as lists.
    """

    input_ids: Ints
    labels: Ints | Floats

    @property
    def trained(self) -> int:
        """How many tokens carry loss."""
        return int(np.count_nonzero(self.labels != NO_LOSS))


# What a batch is made of: a row, or the two rows of a pair, which stay together.
Example = Row | tuple[Row, ...]


def train_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Example],
    settings: TrainingSettings,
    *,
    output_dir: Path,
    scratch_dir: Path,
    title: str,
    max_steps: int | None = None,
    loss: Loss | None = None,
    validation: Validation | None = None,
) -> dict[str, Any]:
    """Train a model and save it with its tokenizer in ``output_dir``; see ``fit``."""
    torch.manual_seed(settings.seed)  # adapters begin at random
    adapted = with_lora(model, settings.lora_rank) if settings.lora_rank else model
    counts, weights = fit(
        adapted,
        tokenizer,
        rows,
        settings,
        scratch=scratch_dir,
        log=output_dir / "log.jsonl",
        title=title,
        max_steps=max_steps,
        loss=loss,
        validation=validation,
    )
    if settings.lora_rank:
        # Merged, so that whoever reads the model needs to know nothing of adapters.
        model = adapted.merge_and_unload()
    if distributed.is_main_process():
        model.save_pretrained(output_dir, state_dict=weights)
        tokenizer.save_pretrained(output_dir)
    return counts


def fit(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Example],
    settings: TrainingSettings,
    *,
    scratch: Path,
    log: Path,
    title: str,
    max_steps: int | None = None,
    loss: Loss | None = None,
    validation: Validation | None = None,
) -> tuple[dict[str, Any], dict[str, torch.Tensor] | None]:
    """Train a model in place, from the last whole checkpoint in ``scratch`` if there is one.

    Rows of like length share a batch. The loss is the mean over the tokens of a whole optimiser
    step, however it is cut into micro-batches and devices.

    Args:
        model: trained in place.
        tokenizer: for padding.
        rows: all training sequences.
        settings: steps or epochs, rates, batch sizes.
        scratch: where checkpoints go.
        log: JSONL file with step, loss and learning rate, written at the end.
        title: what the progress bar says.
        max_steps: optimizer steps, in place of the settings' epochs.
        loss: of (outputs, labels, num_items_in_batch); the model's own if not given.
        validation: when to stop early; the best weights are taken then.

    Returns:
        Counts, and the weights where they are spread over processes and the model holds a part.

    Raises:
        RunError: the loss became NaN or infinite. The last checkpoint is kept.
    """
    if settings.freeze:
        freeze(model)
    progress = Progress(title, settings.checkpoint_seconds)
    arguments = TrainingArguments(
        **shared_arguments(settings, scratch / "checkpoints"),
        max_steps=max_steps or -1,
        ddp_find_unused_parameters=False,
        logging_steps=10,
        remove_unused_columns=False,
    )
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=[(row,) if isinstance(row, Row) else row for row in rows],
        data_collator=_Pad(tokenizer.pad_token_id or 0, torch.float32 if loss else torch.long),
        compute_loss_func=loss,
        callbacks=[progress],
    )
    weights = None
    stopper = None
    if validation is not None:
        stopper = EarlyStopping(validation, scratch / "validation")
        trainer.add_callback(stopper)
    trainer.remove_callback(PrinterCallback)
    if trainer.is_fsdp_enabled and (validation is not None or settings.lora_rank):
        raise InputError(
            "--patience and --lora-rank need the whole model in every process, and FSDP spreads it",
            hint="train without them, or without FSDP",
        )
    checkpoint = distributed.run_on_main(lambda: last_checkpoint(scratch / "checkpoints"))
    if checkpoint is not None:
        console.print(
            f"[cyan]resuming from step {checkpoint.name.removeprefix('checkpoint-')}[/cyan]"
        )
    with progress.bar:
        result = trainer.train(
            resume_from_checkpoint=None if checkpoint is None else str(checkpoint)
        )
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    lines = history + (stopper.history if stopper else [])
    if distributed.is_main_process():
        write_atomic(log, "".join(json.dumps(entry) + "\n" for entry in lines))
    if trainer.is_fsdp_enabled:
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return {
        "rows": len(rows),
        "trained_tokens": sum(row.trained for row in _flat(rows)),
        "steps": result.global_step,
        "final_loss": round(history[-1]["loss"], 5) if history else None,
        **(stopper.take_best(model) if stopper else {}),
    }, weights


def shared_arguments(settings: TrainingSettings, folder: Path) -> dict[str, Any]:
    """What the library's trainers are told, whatever they train; checkpoints go to ``folder``."""
    own = math.ceil(settings.batch_size / distributed.world_size())
    micro = min(settings.micro_batch_size or own, own)
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
        "save_strategy": "no",  # the callback saves by the clock
        "save_total_limit": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": gpu,
    }


def _flat(rows: Sequence[Example]) -> Iterator[Row]:
    for row in rows:
        yield from (row,) if isinstance(row, Row) else row


def with_lora(model: PreTrainedModel, rank: int) -> Any:
    """A model whose linear layers are trained by low-rank updates, and whose reward head fully."""
    from peft import LoraConfig, get_peft_model

    head = [name for name in ("score", "classifier") if hasattr(model, name)]
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", modules_to_save=head or None
    )
    return get_peft_model(model, config)


class _Trainer(Trainer):
    """The library's trainer with an order of rows that a resumed training finds again."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        lengths = [max(len(row.input_ids) for row in example) for example in self.train_dataset]
        size = self.args.train_batch_size * self.args.gradient_accumulation_steps
        order = LengthGrouped(lengths, size * self.args.world_size, self.args.seed)
        self.add_callback(_Epochs(order))
        return order


class _Epochs(TrainerCallback):
    """Tells the order of rows its epoch, which several processes forget when they resume."""

    def __init__(self, order: LengthGrouped) -> None:
        self._order = order

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._order.set_epoch(int(state.epoch or 0))


class LengthGrouped(Sampler[int]):
    """Random order in which rows of like length stand together, so that batches pad little.

    The order depends on seed and epoch alone. The library's own grouping draws it from the global
    random state, so that a resumed training would see other batches.
    """

    _BATCHES_PER_SORT = 50

    def __init__(self, lengths: Sequence[int], batch: int, seed: int) -> None:
        self._lengths = lengths
        self._batch = batch
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; the trainer calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self._seed} {self._epoch}")
        order = list(range(len(self._lengths)))
        rng.shuffle(order)
        pool = self._batch * self._BATCHES_PER_SORT
        batches = []
        for start in range(0, len(order), pool):
            near = sorted(order[start : start + pool], key=lambda i: self._lengths[i])
            batches += [near[i : i + self._batch] for i in range(0, len(near), self._batch)]
        # A short batch stays last: in the middle it would shift the borders of all that follow.
        whole = [batch for batch in batches if len(batch) == self._batch]
        rest = [i for batch in batches if len(batch) < self._batch for i in batch]
        rng.shuffle(whole)
        yield from (i for batch in whole for i in batch)
        yield from rest


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint; those that a kill left half written are removed.

    The trainer writes its state file last, so a checkpoint that has one is whole.
    """
    whole: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        try:
            whole[int(json.loads((path / _STATE).read_text())["global_step"])] = path
        except (OSError, ValueError, KeyError):
            shutil.rmtree(path)
    return whole[max(whole)] if whole else None


def freeze(model: PreTrainedModel) -> None:
    """Keep token embeddings, LM head and norm layers as they are (paper p.7)."""
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding) or "norm" in type(module).__name__.lower():
            module.requires_grad_(False)
    head = model.get_output_embeddings()
    if head is not None:
        head.requires_grad_(False)


@dataclass(frozen=True, slots=True)
class _Pad:
    """Pads rows on the right to the longest of the batch."""

    pad_token: int
    label_type: torch.dtype

    def __call__(self, examples: list[tuple[Row, ...]]) -> dict[str, torch.Tensor]:
        rows = [row for example in examples for row in example]
        longest = max(len(row.input_ids) for row in rows)
        shape = (len(rows), longest)
        batch = {
            "input_ids": torch.full(shape, self.pad_token),
            "attention_mask": torch.zeros(shape, dtype=torch.long),
            "labels": torch.full(shape, NO_LOSS, dtype=self.label_type),
        }
        for i, row in enumerate(rows):
            length = len(row.input_ids)
            batch["input_ids"][i, :length] = torch.as_tensor(row.input_ids)
            batch["attention_mask"][i, :length] = 1
            batch["labels"][i, :length] = torch.as_tensor(row.labels)
        return batch


class Progress(TrainerCallback):
    """Draws the bar, asks for a checkpoint by the clock, stops a run whose loss is no number."""

    def __init__(self, title: str, checkpoint_seconds: float) -> None:
        self.bar = progress_bar()
        self._title = title
        self._seconds = checkpoint_seconds
        self._saved = time.monotonic()

    def on_train_begin(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._task = self.bar.add_task(
            self._title,
            total=state.max_steps,
            completed=state.global_step,
            begin=state.global_step,
            unit="steps",
            note="",
        )

    def on_step_end(  # noqa: D102
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.bar.update(self._task, completed=state.global_step)
        # The clocks of several processes differ, and all must save together.
        if distributed.world_size() > 1 and state.global_step % _STEPS_PER_LOOK:
            return
        due = time.monotonic() - self._saved > self._seconds and state.global_step < state.max_steps
        if distributed.run_on_main(lambda: due):
            self._saved = time.monotonic()
            control.should_save = True

    def on_log(  # noqa: D102
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        if not math.isfinite(loss):
            raise RunError(
                f"the loss is {loss} at step {state.global_step}", hint="lower --learning-rate"
            )
        self.bar.update(self._task, note=f"loss {loss:.4f}")
