"""The work of ``e2h train-rm``: from labelled solutions of easy problems to a reward model."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text
from transformers import PreTrainedTokenizerFast

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_jsonl, write_jsonl
from e2h_cli.common.tracking import Tracker
from e2h_cli.data.rm_labels import read_rows
from e2h_cli.data.training_rows import RowKind, rows_file
from e2h_cli.models.loading import load_tokenizer
from e2h_cli.models.reward_model import new_reward_model
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.train_rm import TrainRMSettings
from e2h_cli.training.reward_modeling import (
    LabelCounts,
    auc_validation,
    is_held_out,
    pair_loss,
    pair_rows,
    reward_row,
    token_loss,
)
from e2h_cli.training.token_rows import NO_LOSS, Row
from e2h_cli.training.trainer import train_model

# Kind of reward model -> the kinds of rows that it is trained on.
_ROW_KINDS: dict[str, list[RowKind]] = {"prm": ["prm"], "orm": ["orm"], "oprm": ["prm", "orm"]}
_SHOWN_ROWS = 3


def run(context: StageContext[TrainRMSettings]) -> dict[str, Any]:
    """Read labelled solutions (or pairs of solutions), print what is labelled, train, save.

    Reads ``{kind}.jsonl`` of supervise stages, or files of such rows. Writes the model, its
    tokenizer and ``log.jsonl``, and the ids of rows over the maximum length.
    """
    with context.tracker() as tracker:
        counts = _train(context, tracker)
        tracker.finish(counts)
    return counts


def _train(context: StageContext[TrainRMSettings], tracker: Tracker) -> dict[str, Any]:
    settings, base = context.settings, context.model_or_path("model")
    tokenizer = load_tokenizer(base)
    folders = context.output_dir, context.scratch_dir, context.stage
    if settings.loss == "pairwise":
        pairs, too_long = _read_pairs(context, tokenizer)
        model = new_reward_model(base, "orm")
        model.config.e2h["loss"] = "pairwise"
        trained = train_model(
            model, tokenizer, pairs, settings, *folders, loss=pair_loss, tracker=tracker
        )
        return {**trained, "too_long": too_long}
    examples, held_out, counts = _read_labelled(context, tokenizer)
    validation = auc_validation(held_out, tokenizer, settings) if settings.patience else None
    model = new_reward_model(base, settings.kind)
    trained = train_model(
        model,
        tokenizer,
        examples,
        settings,
        *folders,
        loss=token_loss,
        validation=validation,
        tracker=tracker,
    )
    return {**trained, **counts}


def _read_labelled(
    context: StageContext[TrainRMSettings], tokenizer: PreTrainedTokenizerFast
) -> tuple[list[Row], list[dict[str, Any]], dict[str, int]]:
    """Training rows, labelled solutions held out for early stopping, and counts."""
    settings, inputs = context.settings, context.inputs["rows"]
    share = settings.validation_share if settings.patience else 0.0
    counts, examples, held_out = LabelCounts(), [], []
    for row in labelled_rows(inputs, settings.kind):
        if is_held_out(row["id"], share, settings.seed):
            held_out.append(row)
            continue
        example = reward_row(tokenizer, row, settings.loss_on)
        if counts.add(row, example, settings.max_length):
            examples.append(example)
    _print_labels(counts, settings)
    _write_too_long(context, counts.too_long)
    if not examples:
        raise InputError(
            f"no labelled row fits into {settings.max_length} tokens", hint="raise --max-length"
        )
    kinds = _ROW_KINDS[settings.kind] if settings.patience else []
    files = [(Path(path) / f"{kind}-validation.jsonl", kind) for path in inputs for kind in kinds]
    held_out += _rows_of((file, kind) for file, kind in files if file.is_file())
    return examples, held_out, counts.summary()


def _read_pairs(
    context: StageContext[TrainRMSettings], tokenizer: PreTrainedTokenizerFast
) -> tuple[list[tuple[Row, Row]], int]:
    """Pairs of a chosen and a rejected solution, and the number of those that are too long."""
    settings = context.settings
    if settings.patience:
        raise InputError("--patience: pairs have no validation", hint="take --patience 0")
    pairs, too_long = [], []
    for path in context.inputs["rows"]:
        for number, row in read_jsonl(Path(path)):
            where = f"{path}:{number}"
            pair = pair_rows(tokenizer, row, where)
            if max(len(side.input_ids) for side in pair) > settings.max_length:
                too_long.append(where)
            else:
                pairs.append(pair)
    console.print(
        f"{len(pairs):,} pairs; {len(too_long):,} are over {settings.max_length} tokens and left "
        "out"
    )
    _write_too_long(context, too_long)
    if not pairs:
        raise InputError("no pairs to train on", where=context.model_or_path("rows"))
    return pairs, len(too_long)


def _write_too_long(context: StageContext[TrainRMSettings], ids: list[str]) -> None:
    if ids:
        write_jsonl(context.output_dir / "too-long.jsonl", ({"id": key} for key in ids))


def labelled_rows(inputs: Iterable[str], kind: str) -> Iterator[dict[str, Any]]:
    """Labelled solutions for a kind of reward model, one by one, each with its own ``kind``.

    Args:
        inputs: folders of supervise stages, and files of step labels.
        kind: "prm", "orm" or "oprm".

    Raises:
        InputError: no stage has rows of a kind that is needed, or a file holds none.
    """
    paths = [Path(path) for path in inputs]
    folders = [path for path in paths if path.is_dir()]
    files: list[tuple[Path, str]] = [(path, "prm") for path in paths if not path.is_dir()]
    for needed in _ROW_KINDS[kind] if folders else ():
        having = [folder for folder in folders if (folder / f"{needed}.jsonl").is_file()]
        files += [(rows_file(folder, needed), needed) for folder in having or folders[:1]]
    return _rows_of(files)


def _rows_of(files: Iterable[tuple[Path, str]]) -> Iterator[dict[str, Any]]:
    return ({**row, "kind": kind} for file, kind in files for row in read_rows(file))


def _print_labels(counts: LabelCounts, settings: TrainRMSettings) -> None:
    table = Table(title=f"Labels of {counts.rows:,} solutions", title_justify="left")
    columns = ("right", "wrong", "unlabelled")
    for column in ("", *columns):
        table.add_column(column, justify="right" if column else "left")
    for name, counter in (("steps", counts.steps), ("outcomes", counts.outcomes)):
        table.add_row(name, *(f"{counter[column]:,}" for column in columns))
    console.print(table)
    console.print(
        f"Loss on {settings.loss_on}: {counts.trained_tokens:,} of {counts.tokens:,} tokens; left "
        f"out: {len(counts.too_long):,} rows over {settings.max_length} tokens, "
        f"{counts.unlabelled:,} without a label."
    )


def show_tokens(context: StageContext[TrainRMSettings]) -> None:
    """Print the tokens of some rows with their labels: green is right, red wrong, dim no loss."""
    settings = context.settings
    tokenizer = load_tokenizer(context.model_or_path("model"))
    rows = labelled_rows(context.inputs["rows"], settings.kind)
    for row in itertools.islice(rows, _SHOWN_ROWS):
        example = reward_row(tokenizer, row, settings.loss_on)
        line = Text()
        for token, label in zip(example.input_ids, example.labels, strict=True):
            style = "dim" if label == NO_LOSS else "green" if label >= 0.5 else "red"
            mark = "" if label == NO_LOSS else f":{label:g}"
            shown = tokenizer.decode([int(token)]).replace("\n", "\\n")
            line.append(f"{shown}{mark}", style=style).append(" ")
        console.print(Text(f"{row['id']}: ", style="bold"), line)
