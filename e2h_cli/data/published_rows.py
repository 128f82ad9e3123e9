"""Training rows from PRM800K, MetaMath and Math-Shepherd: which records are used, and why not.

A record belongs to the part of the split that holds its question. Records of test problems are
never used, records of validation problems only for validation, others by their level.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from e2h_cli.common.console import progress_bar
from e2h_cli.common.errors import InputError
from e2h_cli.data import math_shepherd, metamath, prm800k
from e2h_cli.data.decontamination import QuestionIndex
from e2h_cli.data.external_rows import Record, read_file_or_hub, text_of
from e2h_cli.data.problem import normalize_question
from e2h_cli.data.training_rows import TrainingRow, labelled_row
from e2h_cli.settings.supervise import SuperviseSettings

_Solution = prm800k.RatedSolution | math_shepherd.LabelledSolution | metamath.Response


class _Dropped(Exception):
    """A record that gives no training row. The message is the reason, as it is counted."""


class PublishedRows:
    """Iterates over the training rows of published records.

    Args:
        names: files or names on the Hub.
        index: the split that the records are sorted by.
        settings: the source, and which of its records are used.
        title: of the progress bar.

    Attributes:
        counts: records that were read, and records that were dropped for each reason.
        near_duplicates: questions that are trained on and nearly a test or validation problem, with
            that problem. They are reported, not dropped: MATH has many variants of one question.
    """

    def __init__(
        self,
        names: Sequence[str],
        index: QuestionIndex,
        settings: SuperviseSettings,
        title: str = "supervise",
    ) -> None:
        if not names:
            raise InputError(
                f"--source {settings.source} needs the published files",
                hint="give them with --data FILE, several by giving it again",
            )
        self.counts: Counter[str] = Counter()
        self.near_duplicates: list[dict[str, Any]] = []
        self._names, self._index, self._settings, self._title = names, index, settings, title
        self._compared: set[str] = set()

    def __iter__(self) -> Iterator[TrainingRow]:
        kept = self._within_limit() if self._settings.source == "metamath" else None
        with progress_bar() as bar:
            task = bar.add_task(self._title, total=None, unit="records", note="")
            for number, record in self._records():
                bar.advance(task)
                self.counts["records"] += 1
                try:
                    solution = self._parse(record)
                    part, key = self._part_and_id(solution.question, number, record.row)
                    if kept is not None and number not in kept:
                        raise _Dropped("over the solutions per question")
                    if part != "validation":
                        self._report_near_duplicate(solution.question)
                    yield from self._rows(solution, key, validation=part == "validation")
                except _Dropped as reason:
                    self.counts[str(reason)] += 1

    def _records(self) -> Iterator[tuple[int, Record]]:
        """The records of all files, with their number from 0."""
        return enumerate(chain.from_iterable(map(read_file_or_hub, self._names)))

    def _within_limit(self) -> set[int]:
        """Numbers of the MetaMath records to keep for ``max_solutions`` per query."""
        queries = ((n, text_of(r.row, "query", r.where)) for n, r in self._records())
        return metamath.limit_per_query(queries, self._settings.max_solutions, self._settings.seed)

    def _parse(self, record: Record) -> _Solution:
        _, where, row = record
        if self._settings.source == "prm800k":
            return prm800k.parse_record(row, where)
        if _is_gsm8k(row) and self._settings.gsm8k == "drop":
            raise _Dropped("of GSM8K")
        if self._settings.source == "metamath":
            return metamath.parse_record(row, where)
        is_math = text_of(row, "task", where) == "MATH"
        wanted = is_math or self._settings.gsm8k == "keep"
        solution = math_shepherd.parse_record(row, where) if wanted else None
        if solution is None:
            raise _Dropped("malformed")
        return solution

    def _part_and_id(self, question: str, number: int, row: dict[str, Any]) -> tuple[str, str]:
        """The part of the split that a record belongs to, and the id of its rows."""
        settings, index = self._settings, self._index
        part: str
        part, problem = index.find(question)
        key = problem.id if problem else f"{settings.source}/{number}"
        augmented = row.get("query")
        if part == "test" or (isinstance(augmented, str) and index.find(augmented)[0] == "test"):
            raise _Dropped("of test problems")
        if part == "validation" and problem is not None:
            # Training on easy problems is stopped by easy validation problems, too.
            level = "easy" if problem.level <= index.max_level else "hard"
            if settings.levels not in (level, "all"):
                raise _Dropped(f"{level} validation problems")
        if part == "unknown" and not _is_gsm8k(row):
            if settings.match == "official" and settings.source == "math-shepherd":
                part = index.part_by_prefix(question)
            elif settings.unknown_levels == "drop":
                raise _Dropped("of unknown level")
        if part in ("easy", "hard") and settings.levels not in (part, "all"):
            raise _Dropped(f"{part} problems")
        return part, key

    def _report_near_duplicate(self, question: str) -> None:
        normalized = normalize_question(question)
        if normalized in self._compared:
            return
        self._compared.add(normalized)
        if found := self._index.near_duplicate(question):
            problem, similarity = found
            self.near_duplicates.append(
                {
                    "question": question,
                    "id": problem.id,
                    "problem": problem.problem,
                    "similarity": round(similarity, 3),
                }
            )

    def _rows(self, solution: _Solution, key: str, *, validation: bool) -> Iterator[TrainingRow]:
        if isinstance(solution, metamath.Response):
            if validation:
                raise _Dropped("of validation problems")
            if (sft_row := metamath.sft_row(key, solution)) is None:
                raise _Dropped("without answer or steps")
            yield TrainingRow("sft", sft_row)
            return
        prm = "prm-validation" if validation else "prm"
        if isinstance(solution, math_shepherd.LabelledSolution):
            yield TrainingRow(prm, labelled_row(key, *solution))
            return
        if not validation:
            yield from (TrainingRow("sft", row) for row in prm800k.sft_rows(key, solution))
        for row in prm800k.prm_rows(key, solution, self._settings.neutral):
            yield TrainingRow(prm, row)


def _is_gsm8k(row: dict[str, Any]) -> bool:
    return str(row.get("type") or row.get("task") or "").startswith("GSM")
