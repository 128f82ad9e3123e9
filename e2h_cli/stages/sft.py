"""The work of ``e2h sft``: reference solutions of easy problems, loss on the completion only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import fingerprint, write_jsonl
from e2h_cli.data.reference_solutions import sft_rows
from e2h_cli.data.split_files import read_training_problems
from e2h_cli.data.training_rows import read_sft_rows
from e2h_cli.models.loading import load_generator, load_tokenizer
from e2h_cli.pipeline.lineage import SEEN, seen_in_rows
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.sft import SftSettings
from e2h_cli.training.token_rows import sft_row
from e2h_cli.training.trainer import train_model


def run(context: StageContext[SftSettings]) -> dict[str, Any]:
    """Fine-tune a generator and save it with its tokenizer.

    Reads rows of prompt and completion from a supervise stage or a file; without either, makes
    them of the reference solutions of a split and writes them to ``rows.jsonl``.
    """
    settings = context.settings
    rows, about = _read_rows(context)
    tokenizer = load_tokenizer(context.model_or_path("model"))
    encoded = [
        # A program is whole; of other texts only those with an answer are known to be.
        sft_row(tokenizer, row["prompt"], row["completion"], finished=row.get("verbatim") is True)
        for row in rows
    ]
    examples = [row for row in encoded if len(row.input_ids) <= settings.max_length]
    too_long = len(encoded) - len(examples)
    console.print(
        f"{len(examples):,} rows; {too_long:,} are over {settings.max_length} tokens and were left "
        "out"
    )
    if not examples:
        raise InputError(
            f"every row is longer than {settings.max_length} tokens", hint="raise --max-length"
        )
    folders = context.output_dir, context.scratch_dir, context.stage
    with context.tracker() as tracker:
        model = load_generator(context.model_or_path("model"), "fp32", to_device=False)
        counts = train_model(model, tokenizer, examples, settings, *folders, tracker=tracker)
        tracker.finish(counts)
    return {**counts, "too_long": too_long, **about}


def _read_rows(
    context: StageContext[SftSettings],
) -> tuple[Iterable[dict[str, Any]], dict[str, Any]]:
    """Rows of prompt and completion, and what was read: files and their fingerprints, levels."""
    if context.inputs.get("rows"):
        file, rows = read_sft_rows(context.input_path("rows"))
        return rows, {"read": {file.name: fingerprint(file)}}
    problems, read = read_training_problems(context.input_path("problems"), context.settings.levels)
    made = sft_rows(problems)
    if not made:
        raise InputError(
            "no problem has a reference solution to train on",
            where=context.model_or_path("problems"),
        )
    write_jsonl(context.output_dir / "rows.jsonl", made)
    return made, {"read": read, SEEN: seen_in_rows(made, problems)}
