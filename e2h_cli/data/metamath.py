"""MetaMath: rephrased and augmented questions of MATH and GSM8K, answered by a chat model."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable
from typing import Any, NamedTuple

from e2h_cli.data import template
from e2h_cli.data.external_rows import text_of
from e2h_cli.data.step_splitting import steps_of

_ANSWER = "The answer is:"


class Response(NamedTuple):
    """``question`` is the original one, whose level counts, ``query`` the one that is answered."""

    question: str
    query: str
    response: str


def parse_record(row: dict[str, Any], where: str) -> Response:
    """Parse a record. Raises InputError where a field is missing."""
    text_of(row, "type", where)
    return Response(
        *(text_of(row, key, where) for key in ("original_question", "query", "response"))
    )


def sft_row(key: str, response: Response) -> dict[str, Any] | None:
    """The row of a response as steps and answer; None where it has no answer or no step."""
    body, found, answer = response.response.rpartition(_ANSWER)
    lines = [line for line in body.splitlines() if not line.strip().startswith("####")]
    steps = steps_of("\n".join(lines))
    if not found or not answer.strip() or not steps:
        return None
    prompt = template.prompt(response.query)
    return {"id": key, "prompt": prompt, "completion": template.completion(steps, answer)}


def limit_per_query(queries: Iterable[tuple[int, str]], limit: int, seed: int) -> set[int]:
    """Draw at most ``limit`` rows of each query; return the numbers of the rows.

    Rows are ordered by a hash of seed and number, so one pass needs little memory and the draw does
    not depend on other rows.

    Args:
        queries: (row number, query).
        limit: rows per query (paper p.19: 3 solutions per question).
        seed: of the draw.
    """
    smallest: dict[bytes, list[tuple[int, int]]] = {}  # query -> heap of (-draw, row number)
    for number, query in queries:
        heap = smallest.setdefault(hashlib.sha256(query.strip().encode()).digest()[:12], [])
        draw = hashlib.sha256(f"{seed} {number}".encode()).digest()
        heapq.heappush(heap, (-int.from_bytes(draw[:8], "big"), number))
        if len(heap) > limit:
            heapq.heappop(heap)
    return {number for heap in smallest.values() for _, number in heap}
