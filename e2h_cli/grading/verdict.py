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

from e2h_cli.grading.answer_text import MAX_LENGTH, unreadable_reason

logger = logging.getLogger(__name__)

VerdictKind = Literal["right", "wrong", "unreadable", "timed out"]
Keys = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One graded pair. ``reason`` says in a few words what decided; ``ms`` is the time it took."""

    verdict: VerdictKind
    reason: str
    ms: float = 0.0

    @property
    def right(self) -> bool:
        """Whether the answer counts as correct. Unreadable and timed out count as wrong."""
        return self.verdict == "right"


class Grader(Protocol):
    """A grading rule in use. ``name`` and ``version`` are stored with every result."""

    name: str
    version: str

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Grade pairs of (gold, answer), in order. Each distinct pair is graded once."""

    def classes(self, answers: Sequence[str]) -> list[int]:
        """Label equal answers with equal numbers, 0, 1, ... in order of first appearance."""


@dataclass(frozen=True, slots=True)
class Question:
    """A pair that a sandboxed worker process has to grade.

    ``task``: with the math-verify library, with its reader of LaTeX alone, or with sympy.
    """

    task: Literal["library", "latex", "sympy"]
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
    and is not used. Time-outs are not stored, since they depend on the load of the machine.

    Args:
        path: the file; it and its folder are created if missing.
        rule: name and version of the rule; another version never sees these verdicts.
    """

    def __init__(self, path: Path, rule: str) -> None:
        self.path = path
        self._rule = rule
        self._usable = True

    def get(self, questions: Sequence[Question]) -> dict[int, Verdict]:
        """The cached verdicts, by position in ``questions``."""
        keys = [self._key(question) for question in questions]
        cached: dict[bytes, Verdict] = {}

        def read(database: sqlite3.Connection) -> None:
            for start in range(0, len(keys), 500):  # sqlite limits the parameters of a statement
                part = keys[start : start + 500]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, verdict, reason FROM verdicts WHERE key IN ({marks})"
                for key, kind, reason in database.execute(query, part):
                    cached[key] = Verdict(kind, reason)

        self._run(read)
        return {index: cached[key] for index, key in enumerate(keys) if key in cached}

    def put(self, verdicts: Mapping[Question, Verdict]) -> None:
        """Store verdicts, except time-outs."""
        rows = [
            (self._key(question), verdict.verdict, verdict.reason)
            for question, verdict in verdicts.items()
            if verdict.verdict != "timed out"
        ]
        insert = "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?)"
        self._run(lambda database: database.executemany(insert, rows))

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
                work(database)
        except (sqlite3.Error, OSError) as error:
            self._usable = False
            logger.warning(f"{self.path}: verdict cache not used: {error}; delete it to start anew")

    def _key(self, question: Question) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for part in (self._rule, question.task, question.gold, question.answer):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.digest()
