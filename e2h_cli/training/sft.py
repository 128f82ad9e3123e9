"""The work of ``e2h sft``: reference solutions of easy problems, loss on the completion only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import fingerprint, read_jsonl, write_jsonl
from e2h_cli.data.external_rows import text_of
from e2h_cli.data.sft_rows import sft_rows
from e2h_cli.data.split_files import read_levels
from e2h_cli.data.template import answer_header
from e2h_cli.models.loading import load_generator, load_tokenizer
from e2h_cli.models.token_spans import encode
from e2h_cli.pipeline.runner import Work
from e2h_cli.settings.base import SftSettings
from e2h_cli.stages.supervise import rows_file
from e2h_cli.training.trainer import NO_LOSS, Row, train_stage


def run(work: Work) -> dict[str, Any]:
    """Fine-tune a generator and save it with its tokenizer."""
    settings = work.settings
    assert isinstance(settings, SftSettings)
    rows, read = _rows(work, settings.levels)
    tokenizer = load_tokenizer(work.place("model"))
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
    model = load_generator(work.place("model"), "fp32", to_device=False)
    counts = train_stage(work, model, tokenizer, kept)
    return {**counts, "too_long": dropped, "read": read}


def sft_row(tokenizer: PreTrainedTokenizerFast, prompt: str, completion: str) -> Row:
    """One training sequence; the prompt carries no loss.

    It ends with the end-of-text token if the completion ends with an answer. Otherwise it is a
    piece of a solution that goes on.
    """
    encoded = encode(tokenizer, prompt, completion, finished=answer_header(completion) is not None)
    ids = np.array(encoded.ids, dtype=np.int32)
    labels = ids.copy()
    labels[: encoded.start] = NO_LOSS
    return Row(ids, labels)


def _rows(work: Work, levels: str) -> tuple[Iterable[dict[str, Any]], dict[str, str]]:
    """Rows of a supervise stage or a file, else of reference solutions; what was read for them."""
    if work.inputs.get("rows"):
        path = work.path("rows")
        file = rows_file(path, "sft") if path.is_dir() else path
        return _of_file(file), {file.name: fingerprint(file)}
    problems, read = read_levels(work.path("problems"), levels)
    rows = sft_rows(problems)
    if not rows:
        raise InputError(
            "no problem has a reference solution to train on", where=work.place("problems")
        )
    write_jsonl(work.folder / "rows.jsonl", rows)
    return rows, read


def _of_file(file: Path) -> Iterator[dict[str, Any]]:
    for number, row in read_jsonl(file):
        where = f"{file}:{number}"
        yield {key: text_of(row, key, where) for key in ("prompt", "completion")}
