"""Which tokens are scored and rewarded, whatever the tokenizers of policy and reward model."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from e2h_cli.data import template
from e2h_cli.rl.rollout_scoring import tokens_of_characters
from e2h_cli.rl.rollouts import Rollout
from tests import builders
from tests.rl.conftest import QUESTIONS

words = st.text("abc =+*\n", min_size=1, max_size=12)


@pytest.mark.parametrize("kind", builders.KINDS)
@given(st.lists(words, min_size=1, max_size=5), st.booleans())
@settings(max_examples=25, deadline=None)
def test_rewards_land_on_the_tokens_of_the_same_characters(
    kind: str, pieces: list[str], split: bool
) -> None:
    """Whatever reads the steps, the policy's reward stands where the step ends in its tokens."""
    tokens = TOKENIZERS.setdefault(kind, builders.tokenizer(kind))
    # Tokens as encoding gives them, or every character by itself, which a policy may draw, too.
    whole = "\n\n".join(pieces)
    drawn = whole if split else [whole]
    ids = [i for part in drawn for i in tokens(part, add_special_tokens=False).input_ids]
    text = tokens.decode(ids, skip_special_tokens=True)
    ids = [*ids, tokens.eos_token_id]
    parsed = template.parse(text)
    r = Rollout(QUESTIONS[0], 0, text, True, ids, parsed)
    closed = [s for s in parsed.steps if s.separator_end is not None]
    places = tokens_of_characters(r, tokens, [c for (c,) in r.reward_characters])
    assert len(places) == len(closed)
    for step, place in zip(closed, places, strict=True):
        assert step.separator_end is not None
        # What is written up to that token holds the whole step, and one token less does not.
        upto = tokens.decode(ids[: place + 1], skip_special_tokens=True)
        assert len(upto) >= step.separator_end or place == len(ids) - 1
        if place:
            less = tokens.decode(ids[:place], skip_special_tokens=True)
            assert len(less) < step.separator_end


TOKENIZERS: dict[str, PreTrainedTokenizerFast] = {}
