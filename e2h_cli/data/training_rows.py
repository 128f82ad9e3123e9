"""The files of training rows that ``e2h supervise`` writes and ``sft`` and ``train-rm`` read.

``sft`` rows are ``id, prompt, completion``. ``prm`` and ``orm`` rows are ``id, prompt, completions,
labels``: steps, then the answer block; labels are true, false or null (not trained on).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import atomic_file, json_line
from e2h_cli.data import official_format, template

RowKind = Literal["sft", "prm", "orm"]
ROW_KINDS: tuple[RowKind, ...] = ("sft", "prm", "orm")


class TrainingRow(NamedTuple):
    """A row, and the name of its file: a kind, or a kind and "-validation"."""

    file: str
    row: dict[str, Any]


def labelled_row(
    key: str, question: str, steps: Sequence[str], labels: Sequence[bool | None]
) -> dict[str, Any]:
    """A ``prm`` or ``orm`` row; ``key`` is its id."""
    prompt = template.prompt(question)
    return {"id": key, "prompt": prompt, "completions": [*steps], "labels": [*labels]}


class TrainingRowWriter(ExitStack):
    """Writes rows to files in a folder, which appear when the context is left without an error.

    With ``official`` also ``official-*.jsonl`` in the format of the paper's released code; with
    ``unique`` only the first of identical rows. ``counts`` are rows of each file, and "repeated
    rows" that were left out.
    """

    def __init__(self, folder: Path, *, official: bool, unique: bool) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._folder, self._official, self._unique = folder, official, unique
        self._files: dict[str, IO[bytes]] = {}
        self._seen: set[int] = set()

    def write(self, row: TrainingRow) -> None:
        """Write a row to the file that it names."""
        line = json_line(row.row)
        if self._unique:
            # 64-bit hashes: among a million rows two collide with a chance below 1 in 10^7.
            key = hash((row.file, line))
            if key in self._seen:
                self.counts["repeated rows"] += 1
                return
            self._seen.add(key)
        self.counts[row.file] += 1
        self._file(f"{row.file}.jsonl").write(line)
        if self._official:
            split_steps = official_format.sft if row.file == "sft" else official_format.reward
            for official_row in split_steps(row.row):
                self._file(f"official-{row.file}.jsonl").write(json_line(official_row))

    def _file(self, name: str) -> IO[bytes]:
        if name not in self._files:
            self._files[name] = self.enter_context(atomic_file(self._folder / name))
        return self._files[name]


def rows_file(folder: Path, kind: RowKind) -> Path:
    """The file of a kind of rows in a supervise stage. Raises InputError where it has none."""
    file = folder / f"{kind}.jsonl"
    if not file.is_file():
        have = ", ".join(k for k in ROW_KINDS if (folder / f"{k}.jsonl").is_file())
        raise InputError(
            f"no {kind} rows here",
            where=folder,
            hint=f"it holds rows for {have}" if have else "make them with: e2h supervise",
        )
    return file
