"""The KV cache of a batch of samples, with one row for all samples that have the same tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from transformers import Cache

# The cache is copied into fewer rows when more than a quarter of them is used by no sample, and
# into a quarter more rows than are used when there are too few: most samples that part from others
# then find a row that is free, and only this row is copied.
_SHRINK_BELOW = 0.75
_ROOM = 1.25


@dataclass
class Rows:
    """Distinct sequences of tokens: those of one row or more samples each, and unused ones.

    ``mask``: (rows, tokens so far), 0 at the padding of prompts, None without any; ``position``:
    (rows, 1), of the last token.
    """

    cache: Cache
    mask: torch.Tensor | None
    position: torch.Tensor

    def needed(self, row: torch.Tensor, token: torch.Tensor, done: torch.Tensor) -> int:
        """Number of rows in use after ``advance`` with the same arguments."""
        live = ~done
        return len(torch.unique(row[live] * (int(token.max()) + 1) + token[live]))

    def advance(
        self, row: torch.Tensor, token: torch.Tensor, done: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append a token to each sample. Samples of a row that have different ones part.

        Args:
            row: (batch,), of each sample.
            token: (batch,), what it goes on with.
            done: (batch,), samples that need no row any more.

        Returns:
            The row of each sample, (batch,), 0 if it is done; and the last token of each row,
            (rows, 1), any of them in unused rows.
        """
        live = ~done
        size = int(token.max()) + 1
        pairs, number = torch.unique(row[live] * size + token[live], return_inverse=True)
        parent, last = pairs // size, pairs % size
        slot = self._place(parent, int(live.sum()))
        count = len(self.position)
        tokens = torch.zeros(count, 1, dtype=token.dtype, device=token.device)
        tokens[slot, 0] = last
        moved = torch.zeros_like(row)
        moved[live] = slot[number]
        self.position = self.position + 1
        if self.mask is not None:
            self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)
        return moved, tokens

    def _place(self, parent: torch.Tensor, samples: int) -> torch.Tensor:
        """Give every new sequence a row with the tokens of its parent's, (sequences,) ascending.

        Returns the rows, (sequences,).
        """
        count, needed = len(self.position), len(parent)
        # The first sequence of each parent stays in its row.
        more = torch.zeros_like(parent, dtype=torch.bool)
        more[1:] = parent[1:] == parent[:-1]
        used = torch.zeros(count, dtype=torch.bool, device=parent.device)
        used[parent] = True
        free = (~used).nonzero().squeeze(1)
        parting = parent[more]
        if len(parting) > len(free) or needed < _SHRINK_BELOW * count:
            room = min(samples, math.ceil(_ROOM * needed)) - needed
            self._select(torch.cat([parent, parent[:1].expand(room)]))
            return torch.arange(needed, device=parent.device)
        slot = parent.clone()
        if len(parting):
            slot[more] = free[: len(parting)]
            self._copy(parting, slot[more])
        return slot

    def _select(self, rows: torch.Tensor) -> None:
        self.cache.batch_select_indices(rows)
        self.position = self.position[rows]
        self.mask = None if self.mask is None else self.mask[rows]

    def _copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        for layer in self.cache.layers:
            for tensor in (layer.keys, layer.values):
                tensor[target] = tensor[source]
        self.position[target] = self.position[source]
        if self.mask is not None:
            self.mask[target] = self.mask[source]
