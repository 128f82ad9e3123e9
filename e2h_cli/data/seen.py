"""Which rows have been written: millions of them in some tens of megabytes."""

from __future__ import annotations

import hashlib

import numpy as np

_FULL = 0.6


class Seen:
    """A set of texts, each kept as 8 bytes of its hash in an open-addressed table.

    A Python set takes ten times the memory. Two texts share a hash with a chance of 1 in 10^7 among
    a million; the second would be taken for a repeat.
    """

    def __init__(self) -> None:
        self._table = np.zeros(2**16, dtype=np.uint64)
        self._count = 0

    def add(self, text: bytes) -> bool:
        """Put a text in; say whether it is new."""
        digest = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") or 1
        if self._count > _FULL * len(self._table):
            held = self._table[self._table > 0]
            self._table = np.zeros(2 * len(self._table), dtype=np.uint64)
            for start in range(0, len(held), 2**16):
                for value in held[start : start + 2**16].tolist():
                    self._table[self._place(value)] = value
        place = self._place(digest)
        if self._table[place]:
            return False
        self._table[place] = digest
        self._count += 1
        return True

    def _place(self, digest: int) -> int:
        """Where a digest stands, or would stand."""
        table, last = self._table, len(self._table) - 1
        place = digest & last
        while (found := table.item(place)) and found != digest:
            place = (place + 1) & last
        return place
