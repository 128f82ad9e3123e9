"""The work of ``e2h sft``: reference solutions of easy problems, loss on the completion only."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerFast

from e2h_cli.console import console
from e2h_cli.errors import InputError
from e2h_cli.files import write_jsonl
from e2h_cli.models.loading import load_generator, load_tokenizer
from e2h_cli.pipeline import Work
from e2h_cli.problems.store import read_levels
from e2h_cli.settings import SftSettings
from e2h_cli.supervision.reference import sft_rows
from e2h_cli.tokens import encode
from e2h_cli.training.trainer import NO_LOSS, Row, train_stage


def run(work: Work) -> dict[str, Any]:
    """Fine-tune a generator and save it with its tokenizer."""
    settings = work.settings
    assert isinstance(settings, SftSettings)
    problems, read = read_levels(work.path("problems"), settings.levels)
    rows = sft_rows(problems)
    if not rows:
        raise InputError(
            "no problem has a reference solution to train on", where=work.place("problems")
        )
    write_jsonl(work.folder / "rows.jsonl", rows)
    tokenizer = load_tokenizer(work.place("model"))
    encoded = [sft_row(tokenizer, row["prompt"], row["completion"]) for row in rows]
    kept = [row for row in encoded if len(row.input_ids) <= settings.max_length]
    dropped = len(encoded) - len(kept)
    console.print(
        f"{len(kept):,} rows of {len(problems):,} problems; "
        f"{dropped:,} are over {settings.max_length} tokens and were left out"
    )
    if not kept:
        raise InputError(
            f"every row is longer than {settings.max_length} tokens", hint="raise --max-length"
        )
    model = load_generator(work.place("model"), "fp32")
    counts = train_stage(work, model, tokenizer, kept)
    return {**counts, "problems": len(problems), "too_long": dropped, "read": read}


def sft_row(tokenizer: PreTrainedTokenizerFast, prompt: str, completion: str) -> Row:
    """One training sequence, end-of-text included; the prompt carries no loss."""
    encoded = encode(tokenizer, prompt, completion)
    labels = [NO_LOSS] * encoded.start + encoded.ids[encoded.start :]
    return Row(encoded.ids, labels)
