"""The tokenizers of the tiny models."""

from __future__ import annotations

import random

from e2h_cli.data import template, tiny_programs
from e2h_cli.models import tiny


def test_the_tokenizer_round_trips_chain_arithmetic() -> None:
    tokens = tiny.tokenizer()
    text = template.prompt("a3 b+4 c*7") + template.completion(["b=3+4=7", "c=7*7=9"], "9")
    ids = tokens(text).input_ids
    assert tokens.unk_token_id not in ids
    assert tokens.decode(ids) == text


def test_the_tokenizer_round_trips_programs_of_all_operations() -> None:
    tokens = tiny.program_tokenizer()
    texts = ["".join(d) for d in tiny_programs.corpus(500, set(), random.Random(0))]
    for name in tiny_programs.OPERATIONS:
        assert any(tiny_programs.OPERATIONS[name].words.split("{d}")[0] in text for text in texts)
    for text in texts:
        ids = tokens(text).input_ids
        assert tokens.unk_token_id not in ids
        assert tokens.decode(ids) == text
        assert len(ids) < 100


def test_other_code_is_unknown_to_the_tokenizer_of_programs() -> None:
    tokens = tiny.program_tokenizer()
    assert tokens.unk_token_id in tokens("def f(x):\n    import os").input_ids
