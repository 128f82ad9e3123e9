"""Rows that reach disk in small whole files, so that a kill loses only what was in flight.

Work in progress lies in Parquet parts, in a folder per writer, so that several processes may work
for one target; ``merge`` makes one sorted file of them all. A part that cannot be read (a torn
disk, a foreign file) is reported and set aside, never dropped in silence.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Set
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import atomic_file, make_folder, write_atomic

KEY_COLUMNS = ["id", "sample"]
SAMPLE_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "sample": pa.int32(),
        "text": pa.string(),
        "answer": pa.string(),
        "finish_reason": pa.string(),
        "tokens": pa.int32(),
        "logprob": pa.float32(),
    }
)
SCORE_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "sample": pa.int32(),
        "step_scores": pa.list_(pa.float32()),
        "outcome_score": pa.float32(),
    }
)

ROWS_PER_PART = 4096
SECONDS_PER_PART = 5.0
# What merging may hold in memory at a time, in bytes of uncompressed rows.
_MERGE_BYTES = 48 * 2**20


class SampleKeys(Set[tuple[str, int]]):
    """A set of (id, sample) pairs, at one bit a pair: half a million samples are 64 KiB."""

    def __init__(self) -> None:
        self._bits: dict[str, int] = {}

    def update(self, ids: Iterable[str], samples: Iterable[int]) -> None:
        """Put pairs in."""
        bits = self._bits
        for key, sample in zip(ids, samples, strict=True):
            bits[key] = bits.get(key, 0) | 1 << sample

    def __contains__(self, pair: object) -> bool:
        key, sample = cast(tuple[str, int], pair)
        return bool(self._bits.get(key, 0) >> sample & 1)

    def __len__(self) -> int:
        return sum(bits.bit_count() for bits in self._bits.values())

    def __iter__(self) -> Iterator[tuple[str, int]]:
        for key, bits in self._bits.items():
            yield from ((key, i) for i in range(bits.bit_length()) if bits >> i & 1)


class ShardedParquetStore:
    """An append-only set of rows with keys (id, sample).

    Args:
        target: the merged file, which may hold rows of an earlier run already.
        folder: under which all parts lie.
        schema: of the rows.
        writer: this process's own folder in ``folder``; no other process may write there.
        seconds: how long a row may wait for its way to disk.

    Attributes:
        own: the folder of this writer.
    """

    def __init__(
        self,
        target: Path,
        folder: Path,
        schema: pa.Schema,
        *,
        writer: str = "",
        seconds: float = SECONDS_PER_PART,
    ) -> None:
        self.target = target
        self.folder = folder
        self.schema = schema
        self.own = folder / writer
        self._seconds = seconds
        self._rows: list[dict[str, Any]] = []
        self._flushed = time.monotonic()
        self._known: dict[Path, int] = {}
        make_folder(self.own)
        numbers = [int(p.stem[5:]) for p in self.own.glob("part-*.*") if p.stem[5:].isdigit()]
        self._next = max(numbers, default=-1) + 1

    def keys(self) -> SampleKeys:
        """Every (id, sample) that is whole on disk, whoever wrote it."""
        found = SampleKeys()
        for file in self._files():
            table = self._table(file, KEY_COLUMNS)
            if table is not None:
                found.update(table["id"].to_pylist(), table["sample"].to_pylist())
        return found

    def rows_on_disk(self) -> int:
        """How many rows all writers have written; looks into files that are new only."""
        for file in self._files():
            if file not in self._known:
                with contextlib.suppress(pa.ArrowException, OSError):
                    self._known[file] = pq.read_metadata(file).num_rows
        return sum(self._known.values())

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Keep rows; they reach disk within seconds."""
        self._rows.extend(rows)
        full = len(self._rows) >= ROWS_PER_PART
        if full or time.monotonic() - self._flushed > self._seconds:
            self.flush()

    def flush(self) -> None:
        """Write what is kept as one part."""
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=self.schema)
            write_table(self.own / f"part-{self._next:06d}.parquet", table)
            self._next += 1
            self._rows = []
        self._flushed = time.monotonic()

    def merge(self, wanted: Iterable[str], each: Callable[[pa.Table], None] | None = None) -> None:
        """Write all rows into the target, in the order of ``wanted`` ids and by sample number.

        Rows of other ids are left out; of a key that stands twice the first row is kept. Memory
        stays flat: the rows of some ids are put together at a time.

        Args:
            wanted: ids.
            each: is given every table of whole ids that is written.
        """
        self.flush()
        files = [file for file in self._files() if self._table(file, KEY_COLUMNS) is not None]
        places = self._places(files, list(wanted))
        size = sum(_bytes_of(file) for file in files)
        limit = max(1, len(places) * _MERGE_BYTES // max(size, 1))
        with atomic_file(self.target) as stream:
            writer = pq.ParquetWriter(stream, self.schema, compression="zstd")
            for chunk in _whole_ids(places, limit):
                table = self._gather(files, chunk)
                writer.write_table(table)
                if each is not None:
                    each(table)
            writer.close()

    def _places(self, files: list[Path], wanted: list[str]) -> np.ndarray:
        """(rows, 4) of id rank, sample, file, row in file: sorted, each key once."""
        names = pa.array(wanted, pa.string())
        blocks = [np.empty((0, 4), dtype=np.int64)]
        for number, file in enumerate(files):
            table = self._table(file, KEY_COLUMNS)
            assert table is not None
            rank = pc.index_in(table["id"].combine_chunks(), value_set=names).fill_null(-1)
            block = np.empty((table.num_rows, 4), dtype=np.int64)
            block[:, 0] = rank.to_numpy()
            block[:, 1] = table["sample"].to_numpy()
            block[:, 2] = number
            block[:, 3] = np.arange(table.num_rows)
            blocks.append(block[block[:, 0] >= 0])
        places = np.concatenate(blocks)
        places = places[np.lexsort(places.T[::-1])]
        again = np.zeros(len(places), dtype=bool)
        again[1:] = (places[1:, :2] == places[:-1, :2]).all(axis=1)
        return places[~again]

    def _gather(self, files: list[Path], places: np.ndarray) -> pa.Table:
        """The rows at some places, in their order."""
        tables, order = [], []
        for number in np.unique(places[:, 2]):
            here = np.flatnonzero(places[:, 2] == number)
            table = self._table(files[number], self.schema.names)
            assert table is not None
            tables.append(table.take(places[here, 3]))
            order.append(here)
        if not tables:
            return self.schema.empty_table()
        return pa.concat_tables(tables).take(np.argsort(np.concatenate(order)))

    def _files(self) -> list[Path]:
        target = [self.target] if self.target.is_file() else []
        return target + sorted(self.folder.rglob("part-*.parquet"))

    def _table(self, file: Path, columns: list[str]) -> pa.Table | None:
        try:
            schema = pq.read_schema(file)
            if missing := [name for name in self.schema.names if name not in schema.names]:
                raise ValueError(f"lacks the columns {', '.join(missing)}")
            table = pq.read_table(file, columns=columns)
            return table.cast(pa.schema([self.schema.field(name) for name in columns]))
        except FileNotFoundError:
            return None  # another process has just set it aside
        except (pa.ArrowException, OSError, ValueError) as error:
            aside = file.with_suffix(".unreadable")
            file.replace(aside)
            reason = str(error).splitlines()[0]
            console.print(
                f"[yellow]{file.name} cannot be read ({reason}); set aside as {aside}[/yellow]"
            )
            return None


def _bytes_of(file: Path) -> int:
    meta = pq.read_metadata(file)
    return sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))


def _whole_ids(places: np.ndarray, limit: int) -> Iterator[np.ndarray]:
    """Cut sorted places into chunks of about ``limit`` rows, never in the middle of an id."""
    starts = np.flatnonzero(np.diff(places[:, 0], prepend=-1))
    begin = 0
    for start, end in itertools.pairwise([*starts.tolist(), len(places)]):
        if end - begin > limit and start > begin:
            yield places[begin:start]
            begin = start
    if begin < len(places):
        yield places[begin:]


def read_table(file: Path, schema: pa.Schema) -> pa.Table:
    """Read a merged file, or a folder that holds parts.

    Raises:
        InputError: it is missing, unreadable, or lacks a column.
    """
    try:
        table = pq.read_table(file)
        missing = [name for name in schema.names if name not in table.column_names]
        if missing:
            raise InputError(f"lacks the columns {', '.join(missing)}", where=file)
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read: {str(error).splitlines()[0]}", where=file) from error


def write_table(file: Path, table: pa.Table) -> None:
    """Write a table as Parquet with zstd, atomically."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomic(file, buffer.getvalue())
