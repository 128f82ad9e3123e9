"""MetaMath: rephrased and augmented questions of MATH and GSM8K, answered by a chat model."""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from e2h_cli.data import template
from e2h_cli.data.external_rows import text_of
from e2h_cli.data.reference_solutions import steps_of


class Response(NamedTuple):
    """``question`` is the original one, whose level counts, ``query`` the one that is answered."""

    question: str
    query: str
    response: str


def parse_record(row: dict[str, Any], where: str) -> Response:
    """Parse a record. Raises InputError where a field is missing."""
    _, *texts = (text_of(row, k, where) for k in ("type", "original_question", "query", "response"))
    return Response(*texts)


def sft_row(key: str, response: Response) -> dict[str, Any] | None:
    """The row of a response as steps and answer; None where it has no answer or no step."""
    body, found, answer = response.response.rpartition("The answer is:")
    lines = [line for line in body.splitlines() if not line.strip().startswith("####")]
    steps = steps_of("\n".join(lines))
    if not found or not answer.strip() or not steps:
        return None
    prompt = template.prompt(response.query)
    return {"id": key, "prompt": prompt, "completion": template.completion(steps, answer)}


def limit_per_query(queries: Iterable[tuple[int, str]], limit: int, seed: int) -> set[int]:
    """Draw at most ``limit`` rows of each query (paper p.19: 3) from (row number, query) pairs.

    Returns the numbers of the rows. They are ordered by a hash of seed and number, so one pass
    needs little memory and the draw does not depend on other rows.
    """
    # query -> heap of (-draw, row number)
    smallest: defaultdict[bytes, list[tuple[int, int]]] = defaultdict(list)
    for number, query in queries:
        heap = smallest[hashlib.sha256(query.strip().encode()).digest()[:12]]
        draw = hashlib.sha256(f"{seed} {number}".encode()).digest()
        heapq.heappush(heap, (-int.from_bytes(draw[:8], "big"), number))
        if len(heap) > limit:
            heapq.heappop(heap)
    return {number for heap in smallest.values() for _, number in heap}
