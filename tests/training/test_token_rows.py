"""The order of rows."""

from __future__ import annotations

from e2h_cli.training.token_rows import LengthGrouped


def test_rows_of_similar_length_share_a_batch_and_none_is_lost() -> None:
    lengths = [i % 37 + 1 for i in range(1003)]
    sampler = LengthGrouped(lengths, 8, seed=0)
    first = list(sampler)
    assert sorted(first) == list(range(1003))
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
    spread = [
        max(lengths[j] for j in first[i : i + 8]) - min(lengths[j] for j in first[i : i + 8])
        for i in range(0, 1000, 8)
    ]
    assert sum(spread) / len(spread) < 2
