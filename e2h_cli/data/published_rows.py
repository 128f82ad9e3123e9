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
    """Iterates over the training rows of published records, from files or names on the Hub.

    ``counts`` are records that were read, and that were dropped for each reason.
    ``levels`` are those of the problems that rows are of; 0 is a question of unknown level.
    ``near_duplicates`` are questions that are trained on and nearly a test or validation problem,
    with that problem. They are reported, not dropped: MATH has many variants of one question.
    """

    def __init__(
        self,
        names: Sequence[str],
        index: QuestionIndex,
        settings: SuperviseSettings,
        title: str = "supervise",
    ) -> None:
        if not names:
            hint = "give them with --data FILE, several by giving it again"
            raise InputError(f"--source {settings.source} needs the published files", hint=hint)
        self.counts: Counter[str] = Counter()
        self.levels: set[int] = set()
        self.near_duplicates: list[dict[str, Any]] = []
        self._names, self._index, self._settings, self._title = names, index, settings, title
        self._compared: set[str] = set()

    def __iter__(self) -> Iterator[TrainingRow]:
        kept, settings = None, self._settings
        if settings.source == "metamath":
            queries = ((n, text_of(r.row, "query", r.where)) for n, r in self._records())
            kept = metamath.limit_per_query(queries, settings.max_solutions, settings.seed)
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
                    if part == "validation":
                        yield from self._validation_rows(solution, key)
                    else:
                        self._report_near_duplicate(solution.question)
                        yield from self._rows(solution, key)
                except _Dropped as reason:
                    self.counts[str(reason)] += 1

    def _records(self) -> Iterator[tuple[int, Record]]:
        """The records of all files, with their number from 0."""
        return enumerate(chain.from_iterable(map(read_file_or_hub, self._names)))

    def _parse(self, record: Record) -> _Solution:
        (_, where, row), settings = record, self._settings
        if settings.source == "prm800k":
            return prm800k.parse_record(row, where)
        if _is_gsm8k(row) and settings.gsm8k == "drop":
            raise _Dropped("of GSM8K")
        if settings.source == "metamath":
            return metamath.parse_record(row, where)
        wanted = text_of(row, "task", where) == "MATH" or settings.gsm8k == "keep"
        solution = math_shepherd.parse_record(row, where) if wanted else None
        if solution is None:
            raise _Dropped("malformed")
        return solution

    def _part_and_id(self, question: str, number: int, row: dict[str, Any]) -> tuple[str, str]:
        """The part of the split that a record belongs to, and the id of its rows."""
        settings, index = self._settings, self._index
        part: str
        part, problem = index.find(question)
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
        self.levels.add(problem.level if problem else 0)
        return part, problem.id if problem else f"{settings.source}/{number}"

    def _report_near_duplicate(self, question: str) -> None:
        normalized = normalize_question(question)
        if normalized in self._compared:
            return
        self._compared.add(normalized)
        if found := self._index.near_duplicate(question):
            near, score = {"id": found[0].id, "problem": found[0].problem}, round(found[1], 3)
            self.near_duplicates.append({"question": question, **near, "similarity": score})

    def _validation_rows(self, solution: _Solution, key: str) -> Iterator[TrainingRow]:
        if isinstance(solution, metamath.Response):
            raise _Dropped("of validation problems")
        rows = (row for kind, row in self._rows(solution, key) if kind == "prm")
        return (TrainingRow("prm-validation", row) for row in rows)

    def _rows(self, solution: _Solution, key: str) -> Iterator[TrainingRow]:
        match solution:
            case metamath.Response():
                if (sft_row := metamath.sft_row(key, solution)) is None:
                    raise _Dropped("without answer or steps")
                yield TrainingRow("sft", sft_row)
            case math_shepherd.LabelledSolution():
                yield TrainingRow("prm", labelled_row(key, *solution))
            case prm800k.RatedSolution():
                rows = prm800k.prm_rows(key, solution, self._settings.neutral)
                yield from (TrainingRow("sft", row) for row in prm800k.sft_rows(key, solution))
                yield from (TrainingRow("prm", row) for row in rows)


def _is_gsm8k(row: dict[str, Any]) -> bool:
    return str(row.get("type") or row.get("task") or "").startswith("GSM")
