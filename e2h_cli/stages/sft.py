"""The work of ``e2h sft``: reference solutions of easy problems, loss on the completion only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import fingerprint, read_jsonl, write_jsonl
from e2h_cli.data.external_rows import text_of
from e2h_cli.data.sft_rows import sft_rows
from e2h_cli.data.split_files import read_training_problems
from e2h_cli.data.training_rows import rows_file
from e2h_cli.models.loading import load_generator, load_tokenizer
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.sft import SftSettings
from e2h_cli.training.sft import sft_row
from e2h_cli.training.trainer import train_model


def run(context: StageContext[SftSettings]) -> dict[str, Any]:
    """Fine-tune a generator and save it with its tokenizer."""
    settings = context.settings
    rows, read = _rows(context, settings.levels)
    tokenizer = load_tokenizer(context.model_or_path("model"))
    kept, dropped = [], 0
    for row in rows:
        encoded = sft_row(tokenizer, row["prompt"], row["completion"])
        if len(encoded.input_ids) <= settings.max_length:
            kept.append(encoded)
        else:
            dropped += 1
    console.print(
        f"{len(kept):,} rows; {dropped:,} are over {settings.max_length} tokens and were left out"
    )
    if not kept:
        raise InputError(
            f"every row is longer than {settings.max_length} tokens", hint="raise --max-length"
        )
    model = load_generator(context.model_or_path("model"), "fp32", to_device=False)
    counts = train_model(
        model,
        tokenizer,
        kept,
        settings,
        output_dir=context.output_dir,
        scratch_dir=context.scratch_dir,
        title=context.stage,
        max_steps=settings.max_steps,
    )
    return {**counts, "too_long": dropped, "read": read}


def _rows(
    context: StageContext[SftSettings], levels: str
) -> tuple[Iterable[dict[str, Any]], dict[str, str]]:
    """Rows of a supervise stage or a file, else of reference solutions; what was read for them."""
    if context.inputs.get("rows"):
        path = context.input_path("rows")
        file = rows_file(path, "sft") if path.is_dir() else path
        return _of_file(file), {file.name: fingerprint(file)}
    problems, read = read_training_problems(context.input_path("problems"), levels)
    rows = sft_rows(problems)
    if not rows:
        raise InputError(
            "no problem has a reference solution to train on",
            where=context.model_or_path("problems"),
        )
    write_jsonl(context.output_dir / "rows.jsonl", rows)
    return rows, read


def _of_file(file: Path) -> Iterator[dict[str, Any]]:
    for number, row in read_jsonl(file):
        where = f"{file}:{number}"
        yield {key: text_of(row, key, where) for key in ("prompt", "completion")}
