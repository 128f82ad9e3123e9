"""Steps are read at the right tokens, whatever the tokenizer."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2h_cli.data import template
from e2h_cli.models.token_spans import encode
from tests import builders

tokenizer = functools.cache(builders.tokenizer)
STEPS = st.lists(
    st.text(alphabet="ab1+=. $\\", min_size=1, max_size=12).filter(lambda s: s.strip()), max_size=5
)


@pytest.mark.parametrize("kind", builders.KINDS)
@settings(max_examples=60, deadline=None)
@given(steps=STEPS, finished=st.booleans())
def test_each_step_is_read_at_the_token_of_its_separator(
    kind: str, steps: list[str], finished: bool
) -> None:
    prompt = template.prompt("What is 1+1?")
    text = template.completion(steps, "2")
    encoded = encode(tokenizer(kind), prompt, text, finished=finished)
    parsed = template.parse(text, finished=finished)
    assert len(encoded.step_positions) == len(parsed.steps)
    for token, step in zip(encoded.step_positions, parsed.steps, strict=True):
        assert step.separator_end is not None
        start, end = encoded.offsets[token]
        assert start < len(prompt) + step.separator_end <= end
        # No later token holds that character.
        assert encoded.offsets[token + 1][0] >= len(prompt) + step.separator_end or not finished
    assert encoded.step_positions == sorted(set(encoded.step_positions))
    assert (encoded.input_ids[encoded.outcome_position] == tokenizer(kind).eos_token_id) == finished


@pytest.mark.parametrize("kind", builders.KINDS)
def test_the_tokens_of_the_steps_tile_the_completion(kind: str) -> None:
    encoded = encode(
        tokenizer(kind), template.prompt("q"), template.completion(["We add.", "So 1."], "3")
    )
    owned = [t for step in range(3) for t in encoded.tokens_of_step(step)]
    assert owned == list(range(encoded.solution_start, len(encoded.input_ids)))
