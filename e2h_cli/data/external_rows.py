"""Rows of published data sets: JSON lines, one JSON array, or a name on the Hub; one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_jsonl

_CHUNK = 2**20


def read_records(place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, row): file and line or number, for messages. Memory stays flat.

    Raises:
        InputError: a missing file or one that is no JSON, a data set that cannot be loaded.
    """
    path = Path(place)
    if not path.exists():
        yield from _of_hub(place)
    elif _is_array(path):
        for number, row in enumerate(_of_array(path), 1):
            where = f"{path}: row {number}"
            if not isinstance(row, dict):
                raise InputError("not a JSON object", where=where)
            yield where, row
    else:
        for number, row in read_jsonl(path):
            yield f"{path}:{number}", row


def _is_array(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(4096).lstrip().startswith("[")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read: {error}", where=path) from error


def _of_array(path: Path) -> Iterator[Any]:
    """The items of a JSON array, read piece by piece: MetaMathQA is one of 395,000."""
    decoder = json.JSONDecoder()
    number = 0
    with path.open(encoding="utf-8") as file:
        text = file.read(_CHUNK).lstrip()[1:]
        while True:
            text = text.lstrip().removeprefix(",").lstrip()
            if text.startswith("]"):
                return
            try:
                item, end = decoder.raw_decode(text)
                # A number may go on in the next piece; an object or text that is closed may not.
                if end == len(text) and not text.endswith(("}", "]", '"')):
                    raise ValueError("cut")
            except ValueError as error:
                more = file.read(_CHUNK)
                if not more:
                    raise InputError(
                        f"not valid JSON after {number} rows ({error})", where=path
                    ) from error
                text += more
                continue
            number += 1
            yield item
            text = text[end:]


def _of_hub(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    import datasets

    try:
        rows = datasets.load_dataset(name, split="train", streaming=True)
        for number, row in enumerate(rows, 1):
            yield f"{name}: row {number}", dict(row)
    except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"no such file, and no data set on the Hub: {reason}", where=name
        ) from error


def text_of(row: dict[str, Any], key: str, where: str) -> str:
    """A text field. Raises InputError where there is none."""
    value = row.get(key)
    if not isinstance(value, str):
        raise InputError(f"no text under {key!r}", where=where)
    return value
