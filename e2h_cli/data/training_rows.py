"""The files of training rows that ``e2h supervise`` writes and ``sft`` and ``train-rm`` read.

``sft`` rows are ``id, prompt, completion``. ``prm`` and ``orm`` rows are ``id, prompt, completions,
labels``: steps, then the answer block; labels are true, false, a probability or null (not trained
on). The format of the paper's released code has one row per step instead, with label 1 or 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import atomic_file, json_line, read_jsonl
from e2h_cli.data import template
from e2h_cli.data.external_rows import text_of

RowKind = Literal["sft", "prm", "orm"]
ROW_KINDS: tuple[RowKind, ...] = ("sft", "prm", "orm")


class TrainingRow(NamedTuple):
    """A row, and the name of its file: a kind, or a kind and "-validation"."""

    file: str
    row: dict[str, Any]


def labelled_row(
    key: str, question: str, steps: Sequence[str], labels: Sequence[float | None]
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
            official_rows = official_sft_rows if row.file == "sft" else official_reward_rows
            for official_row in official_rows(row.row):
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
        hint = f"it holds rows for {have}" if have else "make them with: e2h supervise"
        raise InputError(f"no {kind} rows here", where=folder, hint=hint)
    return file


def read_sft_rows(path: Path) -> tuple[Path, Iterator[dict[str, Any]]]:
    """The file of prompts and completions of a supervise stage, or of the user's own; its rows.

    Raises InputError, with the line, for a malformed row.
    """
    file = rows_file(path, "sft") if path.is_dir() else path
    rows = (
        row | {key: text_of(row, key, f"{file}:{number}") for key in ("prompt", "completion")}
        for number, row in read_jsonl(file)
    )
    return file, rows


def solved_example(row: Mapping[str, Any]) -> tuple[str, list[str], str] | None:
    """Question, steps and answer of an sft row; None of a part of a solution.

    The first steps may stand in the prompt, as in rows of PRM800K.
    """
    question, before = _question_and_steps(row["prompt"])
    solution = template.parse(f"{before}{template.SEPARATOR}{row['completion']}")
    if solution.answer is None or not solution.steps:
        return None
    return question, [step.text for step in solution.steps], solution.answer


def official_sft_rows(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """``input, output_prefix, output, is_eos`` for each step of an sft row."""
    question, before = _question_and_steps(row["prompt"])
    solution = template.parse(row["completion"])
    steps = [step.text for step in solution.steps]
    if solution.answer is not None:
        answer = template.answer_block(solution.answer)
        steps[-1:] = [template.SEPARATOR.join([*steps[-1:], answer])]
    for step in steps:
        output = (template.SEPARATOR if before else "") + step
        is_eos = template.ANSWER_HEADER in step
        yield {"input": question, "output_prefix": before, "output": output, "is_eos": is_eos}
        before += output


def official_reward_rows(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """``input, output_prefix, output, label`` for each labelled step of a prm or orm row."""
    question, _ = _question_and_steps(row["prompt"])
    texts, labels = list(row["completions"]), list(row["labels"])
    if len(texts) > 1 and texts[-1].startswith(template.ANSWER_HEADER):
        texts[-2:] = [template.SEPARATOR.join(texts[-2:])]
        labels[-2:] = [labels[-1] if labels[-2] is None else labels[-2]]
    before = ""
    for text, label in zip(texts, labels, strict=True):
        closed = text + template.SEPARATOR
        if label is not None:
            output = text if template.ANSWER_HEADER in text else closed
            yield {
                "input": question,
                "output_prefix": before,
                "output": output,
                "label": int(label >= 0.5),
            }
        before += closed


def _question_and_steps(prompt: str) -> tuple[str, str]:
    """The question of a prompt, and the steps that follow it."""
    head, tail = template.prompt("").split(template.SEPARATOR * 2)
    question, _, before = prompt.removeprefix(head).strip().partition(tail.rstrip())
    return question.strip(), before.strip()
