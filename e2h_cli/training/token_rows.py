"""Training sequences, their order, and how they are padded into batches."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerFast

from e2h_cli.data.template import answer_header
from e2h_cli.models.token_spans import encode

# The label of a token without loss, as in transformers.
NO_LOSS = -100


@dataclass(frozen=True, slots=True)
class Row:
    """One training sequence: (tokens,) ids and labels, ``NO_LOSS`` for tokens without loss.

    Arrays, not lists: as lists the rows of PRM800K would take tens of gigabytes.
    """

    input_ids: NDArray[np.int32]
    labels: NDArray[np.int32] | NDArray[np.float32]

    @property
    def trained_tokens(self) -> int:
        """The number of tokens with loss."""
        return int(np.count_nonzero(self.labels != NO_LOSS))


def unlabelled_row(input_ids: list[int]) -> Row:
    """A row whose labels are all ``NO_LOSS``, to be set in place."""
    labels = np.full(len(input_ids), NO_LOSS, dtype=np.float32)
    return Row(np.array(input_ids, dtype=np.int32), labels)


def sft_row(
    tokenizer: PreTrainedTokenizerFast, prompt: str, completion: str, *, finished: bool = False
) -> Row:
    """One sequence of supervised fine-tuning; the prompt carries no loss.

    It ends with end-of-text if the completion is ``finished`` or ends with an answer. Otherwise the
    completion is a prefix of a solution, and nothing is said about its end.
    """
    whole = finished or answer_header(completion) is not None
    encoded = encode(tokenizer, prompt, completion, finished=whole)
    ids = np.array(encoded.input_ids, dtype=np.int32)
    labels = ids.copy()
    labels[: encoded.solution_start] = NO_LOSS
    return Row(ids, labels)


def packed_row(rows: Sequence[Row], separator: Sequence[int]) -> Row:
    """Several rows as one, with the tokens ``separator`` between them.

    The end-of-text token of all but the last gives way to the separator, and neither carries loss:
    a model that is trained on packed rows still ends after one solution.
    """
    between = np.array(separator, dtype=np.int32)
    no_loss = np.full(len(between), NO_LOSS, dtype=np.int32)
    ids = [part for row in rows[:-1] for part in (row.input_ids[:-1], between)]
    labels = [part for row in rows[:-1] for part in (row.labels[:-1], no_loss)]
    return Row(
        np.concatenate([*ids, rows[-1].input_ids]),
        np.concatenate([*labels, rows[-1].labels]).astype(np.int32),
    )


# An item of the data set: a row, or the two rows of a pair, which stay in the same batch.
Example = Row | tuple[Row, ...]


def rows_of(example: Example) -> tuple[Row, ...]:
    """The rows of an example."""
    return (example,) if isinstance(example, Row) else example


@dataclass(frozen=True, slots=True)
class PadCollator:
    """Pads the rows of a batch on the right to the longest of them.

    ``mask``: whether the model needs an attention mask; see ``models.loading.is_causal``.
    """

    pad_token_id: int
    label_dtype: torch.dtype
    mask: bool

    def __call__(self, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
        """(rows, tokens) input_ids, labels, and attention_mask if there is one."""
        rows = [row for example in examples for row in rows_of(example)]
        ids = [torch.from_numpy(row.input_ids).long() for row in rows]
        labels = [torch.from_numpy(row.labels).to(self.label_dtype) for row in rows]
        batch = {
            "input_ids": pad_sequence(ids, True, self.pad_token_id),
            "labels": pad_sequence(labels, True, NO_LOSS),
        }
        if self.mask:
            batch["attention_mask"] = pad_sequence([torch.ones_like(x) for x in ids], True)
        return batch


class LengthGrouped(Sampler[int]):
    """Random order in which examples of similar length are adjacent, so that batches pad little.

    The order depends on seed and epoch alone. The length grouping of transformers draws from the
    global random state, so that a resumed training would see other batches.

    ``batch_size`` is the number of examples per optimizer step, over all devices.
    """

    _BATCHES_PER_SORT = 50

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self._seed} {self._epoch}")
        order = list(range(len(self._lengths)))
        rng.shuffle(order)
        chunk, size = self._batch_size * self._BATCHES_PER_SORT, self._batch_size
        batches = []
        for start in range(0, len(order), chunk):
            near = sorted(order[start : start + chunk], key=lambda i: self._lengths[i])
            batches += [near[i : i + size] for i in range(0, len(near), size)]
        # A short batch goes to the end: elsewhere it would shift the borders of all that follow.
        whole = [batch for batch in batches if len(batch) == size]
        short = [batch for batch in batches if len(batch) < size]
        rng.shuffle(whole)
        yield from (i for batch in [*whole, *short] for i in batch)
