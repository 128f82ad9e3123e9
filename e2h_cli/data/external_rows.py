"""Records of files that other projects wrote: JSON lines, a JSON array, Parquet, or a data set.

Records are read one at a time, so that memory stays flat: MetaMathQA is one array of 395,000.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import ijson
import pyarrow as pa
import pyarrow.parquet as pq

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import open_data, read_jsonl
from e2h_cli.data.hub_data import is_data_set, rows_of

# The default backend of ijson, in C, refuses integers over 64 bits and unpaired surrogates (a cut
# emoji), which the files of language models hold.
_IJSON = ijson.get_backend("python")


class Record(NamedTuple):
    """A JSON object; its line or row number, from 1; file and number for error messages."""

    number: int
    where: str
    row: dict[str, Any]


def read_records(file: Path) -> Iterator[Record]:
    """Yield the records of a file.

    Raises InputError, with line or row, where it cannot be read or a record is no JSON object.
    """
    if file.suffix == ".parquet":
        rows = _read_parquet(file)
    elif _is_array(file):
        rows = _read_array(file)
    else:
        yield from (Record(number, f"{file}:{number}", row) for number, row in read_jsonl(file))
        return
    for number, row in enumerate(rows, 1):
        where = f"{file}: row {number}"
        if not isinstance(row, dict):
            raise InputError("not a JSON object", where=where)
        yield Record(number, where, row)


def read_file_or_hub(name: str) -> Iterator[Record]:
    """Yield the records of a file, or of the training or only split of a data set.

    The data set is a folder or a name on the Hub (``hub_data``). Raises InputError as
    ``read_records`` does, or where the data set cannot be loaded.
    """
    if not is_data_set(name):
        yield from read_records(Path(name))
        return
    for number, row in enumerate(rows_of(name, "train"), 1):
        yield Record(number, f"{name}: row {number}", row)


def text_of(row: dict[str, Any], key: str, where: str) -> str:
    """A text field of a record. Raises InputError where there is none."""
    value = row.get(key)
    if not isinstance(value, str):
        raise InputError(f"no text under {key!r}", where=where)
    return value


def _is_array(file: Path) -> bool:
    try:
        with open_data(file) as stream:
            return stream.read(4096).lstrip().startswith(b"[")
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read: {reason}", where=file) from error


def _read_array(file: Path) -> Iterator[Any]:
    count = 0
    with open_data(file) as stream:
        try:
            for row in _IJSON.items(stream, "item", use_float=True):
                count += 1
                yield row
        except (ijson.JSONError, ValueError, EOFError, zlib.error) as error:
            raise InputError(f"not valid JSON after {count} rows ({error})", where=file) from error


def _read_parquet(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(file) as table:
            # Small batches: a row may hold all samples of a problem, megabytes of text.
            batches = (batch.to_pylist() for batch in table.iter_batches(batch_size=8))
            yield from chain.from_iterable(batches)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read: {str(error).splitlines()[0]}", where=file) from error
