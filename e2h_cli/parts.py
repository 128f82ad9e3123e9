"""Rows that reach disk in small whole files, so that a kill loses only what was in flight.

Work in progress lies in Parquet parts; ``merge`` makes one sorted file of them. A part that cannot
be read (a torn disk, a foreign file) is reported and set aside, never dropped in silence.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from e2h_cli.console import console
from e2h_cli.errors import InputError
from e2h_cli.files import make_folder, write_atomic

KEYS = ["id", "sample"]
SAMPLES = pa.schema(
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
SCORES = pa.schema(
    {
        "id": pa.string(),
        "sample": pa.int32(),
        "step_scores": pa.list_(pa.float32()),
        "outcome_score": pa.float32(),
    }
)

_ROWS_PER_PART = 4096
_SECONDS_PER_PART = 5.0


class Parts:
    """An append-only set of rows with keys (id, sample).

    Args:
        target: the merged file, which may hold rows of an earlier run already.
        folder: where the parts go.
        schema: of the rows.
    """

    def __init__(self, target: Path, folder: Path, schema: pa.Schema) -> None:
        self.target = target
        self.folder = folder
        self.schema = schema
        self._rows: list[dict[str, Any]] = []
        self._flushed = time.monotonic()
        make_folder(folder)
        numbers = [int(p.stem.split("-")[1]) for p in self._files() if p.stem[5:].isdigit()]
        self._next = max(numbers, default=-1) + 1

    def keys(self) -> set[tuple[str, int]]:
        """Every (id, sample) that is whole on disk."""
        found: set[tuple[str, int]] = set()
        for table in self._tables(KEYS):
            found.update(zip(table["id"].to_pylist(), table["sample"].to_pylist(), strict=True))
        return found

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Keep rows; they reach disk within seconds."""
        self._rows.extend(rows)
        full = len(self._rows) >= _ROWS_PER_PART
        if full or time.monotonic() - self._flushed > _SECONDS_PER_PART:
            self.flush()

    def flush(self) -> None:
        """Write what is kept as one part."""
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=self.schema)
            write(self.folder / f"part-{self._next:06d}.parquet", table)
            self._next += 1
            self._rows = []
        self._flushed = time.monotonic()

    def merge(self, wanted: Iterable[str]) -> pa.Table:
        """Write all rows into the target, in the order of ``wanted`` ids and by sample number.

        Rows of other ids are left out; of a key that stands twice the first row is kept.
        """
        self.flush()
        table = pa.concat_tables([self.schema.empty_table(), *self._tables(self.schema.names)])
        rank = {key: i for i, key in enumerate(wanted)}
        seen: set[tuple[str, int]] = set()
        order = []
        keys = zip(table["id"].to_pylist(), table["sample"].to_pylist(), strict=True)
        for row, (problem, sample) in enumerate(keys):
            if problem in rank and (problem, sample) not in seen:
                seen.add((problem, sample))
                order.append((rank[problem], sample, row))
        merged = table.take([row for _, _, row in sorted(order)])
        write(self.target, merged)
        return merged

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def _tables(self, columns: list[str]) -> Iterable[pa.Table]:
        target = [self.target] if self.target.is_file() else []
        for file in target + self._files():
            try:
                table = pq.read_table(file)
                yield table.select(self.schema.names).cast(self.schema).select(columns)
            except (pa.ArrowException, OSError, KeyError, ValueError) as error:
                aside = file.with_suffix(".unreadable")
                file.replace(aside)
                reason = str(error).splitlines()[0]
                console.print(
                    f"[yellow]{file.name} cannot be read ({reason}); set aside as {aside}[/yellow]"
                )


def read(file: Path, schema: pa.Schema) -> pa.Table:
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


def write(file: Path, table: pa.Table) -> None:
    """Write a table as Parquet with zstd, atomically."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_atomic(file, buffer.getvalue())
