"""A cache of workers' verdicts on disk, shared by any number of processes."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from e2h_cli.grading.rule import Question
from e2h_cli.grading.verdict import Verdict

_BUSY_SECONDS = 10.0
_MOST_AT_ONCE = 500  # below sqlite's limit of parameters in one statement


class VerdictCache:
    """Verdicts by rule, version and pair, in one sqlite file.

    A cache is never needed for a result: when its file is corrupt, locked or read-only, it warns
    once and stays out of the way. Time-outs are not kept, as they depend on the machine's load.

    Args:
        path: the file; it and its folder are made when missing.
        rule: name and version of the rule; another version never sees these verdicts.
    """

    def __init__(self, path: Path, rule: str) -> None:
        self.path = path
        self._rule = rule
        self._lock = threading.Lock()
        self._broken = False
        self._connection: sqlite3.Connection | None = None
        self._owner = 0

    def get(self, questions: Sequence[Question]) -> dict[int, Verdict]:
        """The known verdicts, by position in ``questions``."""
        keys = [self._key(question) for question in questions]
        found: dict[bytes, Verdict] = {}
        with self._lock:
            try:
                connection = self._open()
                for start in range(0, len(keys) if connection else 0, _MOST_AT_ONCE):
                    part = keys[start : start + _MOST_AT_ONCE]
                    marks = ",".join("?" * len(part))
                    assert connection is not None
                    rows = connection.execute(
                        f"SELECT key, verdict, reason FROM verdicts WHERE key IN ({marks})", part
                    )
                    found.update({key: Verdict(kind, reason) for key, kind, reason in rows})
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
        return {index: found[key] for index, key in enumerate(keys) if key in found}

    def put(self, verdicts: Mapping[Question, Verdict]) -> None:
        """Keep verdicts, except time-outs."""
        rows = [
            (self._key(question), verdict.verdict, verdict.reason)
            for question, verdict in verdicts.items()
            if verdict.verdict != "timed out"
        ]
        with self._lock:
            try:
                connection = self._open()
                if connection is not None and rows:
                    with connection:
                        connection.executemany(
                            "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?)", rows
                        )
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None and self._owner == os.getpid():
                self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection | None:
        if self._broken:
            return None
        if self._connection is None or self._owner != os.getpid():  # not usable after a fork
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS verdicts "
                "(key BLOB PRIMARY KEY, verdict TEXT NOT NULL, reason TEXT NOT NULL) "
                "WITHOUT ROWID"
            )
            self._connection, self._owner = connection, os.getpid()
        return self._connection

    def _give_up(self, error: Exception) -> None:
        self._broken = True
        self._connection = None
        warnings.warn(
            f"{self.path}: verdict cache not used: {error}; delete the file to start a new one",
            stacklevel=4,
        )

    def _key(self, question: Question) -> bytes:
        parts = (self._rule, question.task, question.gold, question.answer)
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.digest()
