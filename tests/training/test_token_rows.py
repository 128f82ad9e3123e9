"""The order of rows, and packed rows."""

from __future__ import annotations

from e2h_cli.data import template
from e2h_cli.models import tiny
from e2h_cli.training.token_rows import NO_LOSS, LengthGrouped, packed_row, sft_row


def test_a_packed_row_is_a_few_shot_prompt_with_loss_on_every_solution() -> None:
    tokenizer = tiny.tokenizer()
    documents = [(template.prompt(f"a{i} b+1"), f"b={i}\n\n# Answer\n\n{i}") for i in range(3)]
    rows = [sft_row(tokenizer, *document) for document in documents]
    packed = packed_row(rows, tokenizer(template.SEPARATOR).input_ids)
    text = template.SEPARATOR.join(prompt + solution for prompt, solution in documents)
    ids = [*tokenizer(text).input_ids, tokenizer.eos_token_id]
    assert packed.input_ids.tolist() == ids
    trained = [token for token in packed.labels.tolist() if token != NO_LOSS]
    # Only the last solution ends in end-of-text.
    solutions = [tokenizer(solution).input_ids for _, solution in documents]
    assert trained == [*(t for solution in solutions for t in solution), tokenizer.eos_token_id]
    assert packed_row(rows[:1], [9]).input_ids.tolist() == rows[0].input_ids.tolist()


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
