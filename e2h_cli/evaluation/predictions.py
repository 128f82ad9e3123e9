"""The answer that each way to vote chooses for each problem; no gold answer is in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_jsonl, write_jsonl
from e2h_cli.evaluation.sample_groups import SampleGroup
from e2h_cli.evaluation.voting import NO_ANSWER, Floats, best_of_n, weighted_vote

FILE = "predictions.jsonl"


def predictions(
    groups: Sequence[SampleGroup], method: str, aggregate: str, weights: Sequence[Floats]
) -> Iterator[dict[str, Any]]:
    """The winner of each problem by one method over its whole pool: the text drawn first of its
    class, or None where no sample has an answer.
    """
    choose = best_of_n if method == "best-of-n" else weighted_vote
    for pool, own in zip(groups, weights, strict=True):
        winner = choose(pool.classes, own)
        first = int(np.argmax(pool.classes == winner))
        answer = None if winner == NO_ANSWER else pool.answers[first]
        yield {
            "id": pool.problem.id, "method": method, "aggregate": aggregate, "answer": answer
        }  # fmt: skip


def write_predictions(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write what ``predictions`` found."""
    write_jsonl(folder / FILE, rows)


def read_predictions(place: Path) -> dict[str, str]:
    """Answers chosen by weighted voting, by problem; majority voting where there is none.

    Raises:
        InputError: the folder has no predictions.
    """
    file = place / FILE
    if not file.is_file():
        raise InputError(f"no {FILE} here", where=place, hint="make it with: e2h rerank")
    found: dict[str, dict[str, str]] = {}
    for _, row in read_jsonl(file):
        if row["answer"] is not None:
            found.setdefault(row["method"], {}).setdefault(row["id"], row["answer"])
    return found.get("weighted-voting") or found.get("majority") or {}
