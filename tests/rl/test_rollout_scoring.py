"""Which tokens are scored and rewarded, whatever the tokenizers of policy and reward model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForTokenClassification, PreTrainedTokenizerFast

from e2h_cli.data import template
from e2h_cli.grading import get_grader
from e2h_cli.models.reward_formats import RewardModel
from e2h_cli.models.token_spans import EncodedSolution, encode
from e2h_cli.rl.rewards import Rewards
from e2h_cli.rl.rollout_scoring import score_rollouts, step_end_tokens
from e2h_cli.rl.rollouts import Rollout
from e2h_cli.settings.rl import RewardSettings
from tests import builders
from tests.rl.conftest import QUESTIONS, rollout

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
    places = step_end_tokens(r, tokens)
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


def test_the_released_code_takes_the_lowest_of_three_tokens(tmp_path: Path) -> None:
    """A reward model whose score is the number of the token says which tokens were read."""
    tokens = builders.tokenizer("character", ["abc\n# Answer0123"])
    config = LlamaConfig(
        vocab_size=len(tokens), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_labels=1, pad_token_id=0, max_position_embeddings=512,
    )  # fmt: skip
    net = LlamaForTokenClassification(config)
    reward = load_family_of(net, tokens)
    r = rollout(tokens, QUESTIONS[0], "ab\n\nc\n\n# Answer\n\n3", True, Rewards([], 0, 0, 0))
    with get_grader("exact") as grader:
        paper = RewardSettings(shaping="paper", reward_upper_bound=0.5)
        score_rollouts([r], grader, paper, reward, 4096)
        lowest = r.scores
        score_rollouts([r], grader, RewardSettings(), reward, 4096)
    reading = reward.encode(r.problem.problem, r.text, True)
    with torch.no_grad():
        values = net(input_ids=torch.tensor([reading.input_ids])).logits[0, :, 0].sigmoid()
    assert r.scores.steps == pytest.approx(
        [float(values[p]) for p in reading.step_positions], abs=1e-6
    )
    assert lowest.steps == pytest.approx(
        [float(values[p - 2 : p + 1].min()) for p in reading.step_positions], abs=1e-6
    )


def load_family_of(net: LlamaForTokenClassification, tokens: PreTrainedTokenizerFast) -> Any:
    """A model of ours that was never saved."""

    def encode_solution(question: str, text: str, finished: bool) -> EncodedSolution:
        encoded = encode(tokens, template.prompt(question), text, finished=finished)
        return EncodedSolution(encoded.input_ids, encoded.step_positions, encoded.outcome_position)

    return RewardModel(
        "e2h", "prm", tokens, net.eval().base_model, lambda x: net.score(x)[..., 0].sigmoid(),
        encode_solution, torch.device("cpu"),
    )  # fmt: skip
