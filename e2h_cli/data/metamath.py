"""MetaMath: rephrased and augmented questions of MATH and GSM8K, answered by a chat model."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from typing import Any

from e2h_cli.data import template
from e2h_cli.data.external_rows import text_of
from e2h_cli.data.step_splitting import steps_of

_ANSWER = "The answer is:"


def sft_row(key: str, row: dict[str, Any], where: str) -> dict[str, Any] | None:
    """The row of a response as steps and answer; None where it states no answer or has no step."""
    body, found, answer = text_of(row, "response", where).rpartition(_ANSWER)
    lines = [line for line in body.splitlines() if not line.strip().startswith("####")]
    steps = steps_of("\n".join(lines))
    if not found or not answer.strip() or not steps:
        return None
    prompt = template.prompt(text_of(row, "query", where))
    return {"id": key, "prompt": prompt, "completion": template.completion(steps, answer)}


def chosen(queries: Iterable[tuple[int, str]], limit: int, seed: int) -> set[int]:
    """Numbers of the rows to keep: at most ``limit`` per query, drawn by a hash of seed and row.

    Args:
        queries: (row number, question that is asked).
        limit: solutions per question (paper p.19: 3).
        seed: of the draw.
    """
    best: dict[bytes, list[tuple[int, int]]] = {}
    for number, query in queries:
        heap = best.setdefault(hashlib.sha256(query.strip().encode()).digest()[:12], [])
        draw = hashlib.sha256(f"{seed} {number}".encode()).digest()
        heapq.heappush(heap, (-int.from_bytes(draw[:8], "big"), number))
        if len(heap) > limit:
            heapq.heappop(heap)
    return {number for heap in best.values() for _, number in heap}
