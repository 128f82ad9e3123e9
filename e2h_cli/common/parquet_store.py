"""Samples and scores on disk: schemas, and a store that several processes append to.

Rows are written as small Parquet part files, each atomically and in a folder per writer, so that a
kill loses only rows still in memory. ``merge`` writes one sorted file from all part files. A part
file that cannot be read (torn, or of another schema) is logged and renamed, never skipped silently.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import atomic_file, make_folder, read_json, write_atomic, write_json
from e2h_cli.common.folder_lock import locked

logger = logging.getLogger(__name__)

# A sample is identified by its problem id and its number, from 0.
KEY_COLUMNS = ["id", "sample"]
SCORES_FILE = "scores.parquet"
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

_ROWS_PER_PART = 4096
_CONDITIONS_FILE = "conditions.json"


class SampleKeys(Set[tuple[str, int]]):
    """A set of (id, sample) pairs, stored as one bit per pair: half a million are 64 KiB."""

    def __init__(self) -> None:
        self._bits: dict[str, int] = {}

    def update(self, ids: Iterable[str], samples: Iterable[int]) -> None:
        """Add pairs, given as two columns."""
        for key, sample in zip(ids, samples, strict=True):
            self._bits[key] = self._bits.get(key, 0) | 1 << sample

    def __contains__(self, pair: object) -> bool:
        key, sample = cast(tuple[str, int], pair)
        return bool(self._bits.get(key, 0) >> sample & 1)

    def __len__(self) -> int:
        return sum(bits.bit_count() for bits in self._bits.values())

    def __iter__(self) -> Iterator[tuple[str, int]]:
        for key, bits in self._bits.items():
            yield from ((key, i) for i in range(bits.bit_length()) if bits >> i & 1)


@dataclass
class ShardedParquetStore:
    """An append-only set of rows with keys (id, sample)."""

    target: Path  # the merged file; it may hold rows of an earlier run already
    folder: Path  # under which all part files are
    schema: pa.Schema
    # Path of this process's own folder in ``folder``; no other process may write there.
    writer: str = ""
    flush_seconds: float = 5.0  # how long a row may stay in memory only

    def __post_init__(self) -> None:
        self.writer_folder = self.folder / self.writer
        self._rows: list[dict[str, Any]] = []
        self._flushed = time.monotonic()
        self._row_counts: dict[Path, int] = {}
        make_folder(self.writer_folder)
        # Unreadable part files count too, so that their names are not used again.
        stems = (path.stem.removeprefix("part-") for path in self.writer_folder.glob("part-*.*"))
        self._next = max((int(stem) for stem in stems if stem.isdigit()), default=-1) + 1

    def keys(self) -> SampleKeys:
        """Every (id, sample) on disk, of all writers."""
        keys = SampleKeys()
        for file in self._files():
            if (table := self._read(file, KEY_COLUMNS)) is not None:
                keys.update(table["id"].to_pylist(), table["sample"].to_pylist())
        return keys

    def rows_of_writer(self) -> int:
        """Rows in the part files of this writer and of those in its folder; opens new ones only."""
        for file in self.writer_folder.rglob("part-*.parquet"):
            if file not in self._row_counts:
                with contextlib.suppress(pa.ArrowException, OSError):
                    self._row_counts[file] = pq.read_metadata(file).num_rows
        return sum(self._row_counts.values())

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows; they are on disk after the next ``add`` that is late or full enough."""
        self._rows.extend(rows)
        late = time.monotonic() - self._flushed > self.flush_seconds
        if late or len(self._rows) >= _ROWS_PER_PART:
            self.flush()

    def flush(self) -> None:
        """Write the rows in memory as one part file."""
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=self.schema)
            write_table(self.writer_folder / f"part-{self._next:06d}.parquet", table)
            self._next += 1
            self._rows = []
        self._flushed = time.monotonic()

    def merge(
        self,
        ids: Iterable[str],
        on_table: Callable[[pa.Table], None] = lambda table: None,
        *,
        max_bytes: int = 48 * 2**20,
    ) -> None:
        """Write all rows of ``ids`` into the target, as ``tables`` yields them.

        ``on_table`` is given each table. Part files stay where they are.
        """
        with atomic_file(self.target) as stream:
            writer = pq.ParquetWriter(stream, self.schema, compression="zstd")
            for table in self.tables(ids, max_bytes=max_bytes):
                writer.write_table(table)
                on_table(table)
            writer.close()

    def tables(self, ids: Iterable[str], *, max_bytes: int = 48 * 2**20) -> Iterator[pa.Table]:
        """All rows of ``ids``, in that order and by sample number.

        Rows of other ids are left out; of a key that is there twice the first row is kept. Memory
        use is bounded: a table has about ``max_bytes`` of uncompressed rows, always of whole ids,
        and one file is read at a time.
        """
        self.flush()
        files, rows = self._locate_rows(list(ids))
        found = map(pq.read_metadata, files)
        size = sum(m.row_group(i).total_byte_size for m in found for i in range(m.num_row_groups))
        max_rows = max(1, len(rows) * max_bytes // max(size, 1))
        for chunk in _chunks_of_whole_ids(rows, max_rows):
            yield self._take_rows(files, chunk)

    def _locate_rows(self, ids: list[str]) -> tuple[list[Path], np.ndarray]:
        """The readable files, and where the rows of ``ids`` are, each key once, in target order.

        Shape (rows, 4), columns: index in ``ids``, sample, index in the files, row in the file.
        """
        names = pa.array(ids, pa.string())
        files: list[Path] = []
        blocks = [np.empty((0, 4), dtype=np.int64)]
        for file in self._files():
            if (table := self._read(file, KEY_COLUMNS)) is not None:
                rank = pc.index_in(table["id"].combine_chunks(), value_set=names).fill_null(-1)
                columns = (rank, table["sample"], len(files), np.arange(table.num_rows))
                block = np.stack(np.broadcast_arrays(*columns), axis=1)
                blocks.append(block[block[:, 0] >= 0])
                files.append(file)
        rows = np.concatenate(blocks)
        rows = rows[np.lexsort(rows.T[::-1])]
        first = np.diff(rows[:, :2], axis=0, prepend=-1).any(axis=1)
        return files, rows[first]

    def _take_rows(self, files: list[Path], rows: np.ndarray) -> pa.Table:
        """The located rows, shape (rows, 4), as a table in their order."""
        tables, order = [], []
        for number in np.unique(rows[:, 2]):
            in_file = np.flatnonzero(rows[:, 2] == number)
            table = self._read(files[number], self.schema.names)
            assert table is not None
            tables.append(table.take(rows[in_file, 3]))
            order.append(in_file)
        return pa.concat_tables(tables).take(np.argsort(np.concatenate(order)))

    def _files(self) -> list[Path]:
        """The target, if there is one, and all part files."""
        target = [self.target] if self.target.is_file() else []
        return target + sorted(self.folder.rglob("part-*.parquet"))

    def _read(self, file: Path, columns: Sequence[str]) -> pa.Table | None:
        """Some columns of a file; None for an unreadable file, which is renamed."""
        try:
            return read_table(file, self.schema, columns)
        except InputError as error:
            reason = error.problem.removeprefix("cannot read: ")
            # Another process may have just renamed it.
            with contextlib.suppress(FileNotFoundError):
                aside = file.replace(file.with_suffix(".unreadable"))
                logger.warning(f"{file.name} cannot be read ({reason}); set aside as {aside}")
            return None


def _chunks_of_whole_ids(rows: np.ndarray, max_rows: int) -> Iterator[np.ndarray]:
    """Cut located rows, shape (rows, 4), into chunks of about ``max_rows``, none within an id."""
    starts = np.flatnonzero(np.diff(rows[:, 0], prepend=-1))
    begin = 0
    for start, end in itertools.pairwise([*starts.tolist(), len(rows)]):
        if end - begin > max_rows and start > begin:
            yield rows[begin:start]
            begin = start
    if begin < len(rows):
        yield rows[begin:]


def read_table(file: Path, schema: pa.Schema, columns: Sequence[str] = ()) -> pa.Table:
    """Read ``columns``, or all, of ``schema`` from a Parquet file, or from a folder of them.

    Raises:
        InputError: it is missing, unreadable, or lacks a column of ``schema``.
    """
    try:
        dataset = pq.ParquetDataset(file)
        if missing := [name for name in schema.names if name not in dataset.schema.names]:
            raise InputError(f"lacks the columns {', '.join(missing)}", where=file)
        fields = [schema.field(name) for name in columns or schema.names]
        return dataset.read([field.name for field in fields]).cast(pa.schema(fields))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read: {str(error).splitlines()[0]}", where=file) from error


def write_table(file: Path, table: pa.Table) -> None:
    """Write a table as Parquet with zstd, atomically."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomic(file, buffer.getvalue())


def clear_if_changed(folder: Path, conditions: Mapping[str, Any]) -> None:
    """Delete the Parquet files of a folder that were made under other conditions.

    ``conditions``: all that the rows depend on (fingerprints, settings), as JSON values; they are
    written down in the folder. Of processes that start together one clears, and the others wait.
    """
    make_folder(folder)
    file = folder / _CONDITIONS_FILE
    with locked(folder, ".lock-conditions", shared=False, wait=True):
        if file.is_file() and read_json(file) == dict(conditions):
            return
        for made in folder.rglob("*.parquet"):
            made.unlink()
        write_json(file, dict(conditions))
