"""Verdicts on answers, the interface of a grading rule, and a cache of verdicts on disk."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from e2h_cli.common.errors import RunError
from e2h_cli.grading.answer_text import MAX_LENGTH, unreadable_reason

logger = logging.getLogger(__name__)

VerdictKind = Literal["right", "wrong", "unreadable", "timed out", "not judged"]
Keys = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One graded pair.

    Attributes:
        verdict: "not judged" says nothing about the answer: the grader could not do its work.
        reason: what decided, in a few words.
        ms: the time it took.
        passed: of a program, the tests that it passes.
        run: of a program, its tests; 0 where none was run.
    """

    verdict: VerdictKind
    reason: str
    ms: float = 0.0
    passed: int = 0
    run: int = 0

    @property
    def right(self) -> bool:
        """Whether the answer counts as correct. Every other verdict than "right" does not."""
        return self.verdict == "right"

    @property
    def share(self) -> float:
        """The share of tests passed; of an answer without tests 1 where it is right, else 0."""
        return self.passed / self.run if self.run else float(self.right)


class Grader(Protocol):
    """A grading rule in use. ``name`` and ``version`` are stored with every result."""

    name: str
    version: str

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Grade pairs of (gold, answer), in order. Each distinct pair is graded once."""

    def classes(self, answers: Sequence[str]) -> list[int]:
        """Label equal answers with equal numbers, 0, 1, ... in order of first appearance."""

    def classes_of(self, groups: Sequence[tuple[Sequence[str], str | None]]) -> list[list[int]]:
        """The classes of each group of (answers, public tests of the problem, where it has some).

        Programs are equal where they do the same on the inputs of the public tests.
        """


def refuse_unjudged(verdicts: Sequence[Verdict]) -> None:
    """Raise RunError where programs could not be judged, so that nothing counts them as wrong."""
    if missing := [verdict for verdict in verdicts if verdict.verdict == "not judged"]:
        raise RunError(
            f"{len(missing):,} of {len(verdicts):,} programs could not be judged: "
            f"{missing[0].reason}",
            hint="verdicts so far are kept; the same command judges the others",
        )


@dataclass(frozen=True, slots=True)
class Question:
    """A pair that a sandboxed worker process has to grade.

    ``task``: with the math-verify library, with its reader of LaTeX alone, or with sympy; or to
    run a program on tests, or on public tests.
    """

    task: Literal["library", "latex", "sympy", "tests", "public tests"]
    gold: str
    answer: str


class Rule(ABC):
    """Base class of the grading rules: they grade in this process or defer to a worker."""

    name: str
    version: str

    @abstractmethod
    def decide(self, gold: str, answer: str) -> Verdict | Question:
        """Grade one pair, or return the question for a worker."""

    @abstractmethod
    def keys(self, answers: Sequence[str]) -> list[Keys]:
        """The keys of distinct answers; answers that share a key are equal."""


def refused(gold: str, answer: str, limit: int = MAX_LENGTH) -> Verdict | None:
    """The verdict on a pair with an answer that is not parsed: empty, too long or too deep."""
    if reason := unreadable_reason(answer, limit):
        return Verdict("unreadable", reason)
    reason = unreadable_reason(gold, limit)
    return Verdict("unreadable", f"gold answer: {reason}") if reason else None


class VerdictCache:
    """Verdicts by rule, version and pair, in one sqlite file that several processes may share.

    Results never depend on it: if the file is corrupt, locked or read-only, the cache warns once
    and is not used. What was not judged is not stored.

    Args:
        path: the file; it and its folder are created if missing.
        rule: name and version of the rule; another version never sees these verdicts.
        timeouts: store time-outs, too. By default they are not, since they depend on the load of
            the machine.
    """

    def __init__(self, path: Path, rule: str, *, timeouts: bool = False) -> None:
        self.path = path
        self._rule = rule
        self._left_out = {"not judged"} if timeouts else {"not judged", "timed out"}
        self._usable = True

    def get(self, questions: Sequence[Question]) -> dict[int, Verdict]:
        """The cached verdicts, by position in ``questions``."""
        keys = [self._key(question) for question in questions]
        cached: dict[bytes, Verdict] = {}

        def read(database: sqlite3.Connection) -> None:
            for start in range(0, len(keys), 500):  # sqlite limits the parameters of a statement
                part = keys[start : start + 500]
                marks = ",".join("?" * len(part))
                query = (
                    "SELECT key, verdict, reason, ifnull(passed, 0), ifnull(run, 0) "
                    f"FROM verdicts LEFT JOIN tests USING (key) WHERE key IN ({marks})"
                )
                for key, kind, reason, passed, run in database.execute(query, part):
                    cached[key] = Verdict(kind, reason, passed=passed, run=run)

        self._run(read)
        return {index: cached[key] for index, key in enumerate(keys) if key in cached}

    def put(self, verdicts: Mapping[Question, Verdict]) -> None:
        """Store verdicts that are worth it, all of them or none."""
        kept = [
            (self._key(question), verdict)
            for question, verdict in verdicts.items()
            if verdict.verdict not in self._left_out
        ]

        def write(database: sqlite3.Connection) -> None:
            insert = "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?)"
            database.executemany(insert, ((key, v.verdict, v.reason) for key, v in kept))
            # A table of its own, so that files of before tests existed are read and written.
            counts = ((key, v.passed, v.run) for key, v in kept if v.run)
            database.executemany("INSERT OR REPLACE INTO tests VALUES (?, ?, ?)", counts)

        self._run(write)

    def _run(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Open the file for one read or write; after the first error it is not used any more."""
        if not self._usable:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=10)) as database, database:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=NORMAL")
                database.execute(
                    "CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, "
                    "verdict TEXT NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID"
                )
                database.execute(
                    "CREATE TABLE IF NOT EXISTS tests (key BLOB PRIMARY KEY, "
                    "passed INTEGER NOT NULL, run INTEGER NOT NULL) WITHOUT ROWID"
                )
                work(database)
        except (sqlite3.Error, OSError) as error:
            self._usable = False
            logger.warning(f"{self.path}: verdict cache not used: {error}; delete it to start anew")

    def _key(self, question: Question) -> bytes:
        return digest_of(self._rule, question.task, question.gold, question.answer)


def digest_of(*texts: str) -> bytes:
    """A hash of texts in order, also of those with lone surrogates."""
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()
