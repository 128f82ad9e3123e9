"""The tokenizer of the tiny model."""

from __future__ import annotations

from e2h_cli.data import template
from e2h_cli.models import tiny


def test_the_tokenizer_round_trips_chain_arithmetic() -> None:
    tokens = tiny.tokenizer()
    text = template.prompt("a3 b+4 c*7") + template.completion(["b=3+4=7", "c=7*7=9"], "9")
    ids = tokens(text).input_ids
    assert tokens.unk_token_id not in ids
    assert tokens.decode(ids) == text
