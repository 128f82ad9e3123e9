"""Equivalence classes from keys: near-linear, transitive, and the same in any order."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence


class UnionFind:
    """Disjoint sets of 0 .. size - 1."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, item: int) -> int:
        """The representative of an item's set."""
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def union(self, a: int, b: int) -> None:
        """Make the sets of two items one."""
        self._parent[self.find(a)] = self.find(b)


def partition(
    keys: Sequence[Iterable[Hashable]], equal: Iterable[tuple[int, int]] = ()
) -> list[int]:
    """Label items that share a key, or are named equal, or are joined through others.

    Returns:
        One label per item, 0, 1, ... in order of first appearance.
    """
    sets = UnionFind(len(keys))
    owner: dict[Hashable, int] = {}
    for item, own in enumerate(keys):
        for key in own:
            sets.union(item, owner.setdefault(key, item))
    for a, b in equal:
        sets.union(a, b)
    labels: dict[int, int] = {}
    return [labels.setdefault(sets.find(item), len(labels)) for item in range(len(keys))]
