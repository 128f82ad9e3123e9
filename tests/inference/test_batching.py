"""Batches of solutions and shared prompts change no score."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification

from e2h_cli.common.errors import RunError
from e2h_cli.data import template
from e2h_cli.inference import batching as passes
from e2h_cli.models.reward_formats import RewardModel, open_reward_model
from tests.builders import reward_model, reward_tokenizer

QUESTION = "What is 1 + 2?"
TEXT = template.completion(["We add.", "So 1 + 2 = 3."], "3")


def test_batches_change_no_score_and_pad_little(tmp_path: Path) -> None:
    tokens = reward_tokenizer("byte-bpe")
    reward = open_reward_model(reward_model(tmp_path, AutoModelForCausalLM, tokens), "llemma")
    texts = [
        template.completion([f"Step {'x' * (i % 9)}" for _ in range(1 + i % 7)], str(i))
        for i in range(60)
    ]
    readings = [reward.encode(QUESTION, text, True) for text in texts]

    def found(budget: int) -> tuple[dict[int, list[float]], passes.ScoringStats]:
        tally = passes.ScoringStats()
        made = passes.forward(
            reward.backbone, reward.head, readings, budget, device=reward.device,
            pad=reward.pad_token_id, tally=tally,
        )  # fmt: skip
        return {
            i: [*one.steps, one.outcome]
            for many, scored in made
            for i, one in zip(many, scored, strict=True)
        }, tally

    alone, none = found(1)
    together, some = found(2000)
    assert none.padding == 0
    assert none.tokens == some.tokens
    assert 0 < some.padding < 0.06 * some.tokens
    for i, values in alone.items():
        assert together[i] == pytest.approx(values, abs=1e-5)


def test_a_shared_prompt_changes_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = reward_tokenizer("byte-bpe")
    monkeypatch.setattr(passes, "_SHARED_TOKENS", (1, 1))
    for loader, family in (
        (AutoModelForCausalLM, "llemma"),
        (AutoModelForTokenClassification, "auto"),
    ):
        folder = tmp_path / family
        reward = open_reward_model(reward_model(folder, loader, tokens), family)
        questions = [f"What is {i} + 2?" * (1 + i) for i in range(3)]
        texts = [template.completion([f"x{'y' * j}."] * (1 + j % 4), str(j)) for j in range(9)]
        keys = [(q, t) for t in texts for q in questions] + [("Alone?", texts[0])]
        readings = [reward.encode(q, t, True) for q, t in keys]

        def found(
            problems: list[str] | None, reward: RewardModel = reward, readings: list = readings
        ) -> tuple[dict, passes.ScoringStats]:
            tally = passes.ScoringStats()
            made = passes.forward(
                reward.backbone, reward.head, readings, 300, device=reward.device,
                pad=reward.pad_token_id, tally=tally, problems=problems,
            )  # fmt: skip
            return {
                i: [*one.steps, one.outcome]
                for many, scored in made
                for i, one in zip(many, scored, strict=True)
            }, tally

        apart, whole = found(None)
        together, less = found([q for q, _ in keys])
        assert whole.shared == 0 < less.shared
        # Only the beginnings are saved, nothing else is left out.
        assert less.tokens + less.shared == whole.tokens
        assert apart.keys() == together.keys()
        for i, values in apart.items():
            assert together[i] == pytest.approx(values, abs=1e-5)


def test_a_score_that_is_no_number_stops_the_work(tmp_path: Path) -> None:
    tokens = reward_tokenizer()
    reward = open_reward_model(reward_model(tmp_path, AutoModelForCausalLM, tokens), "llemma")
    reading = reward.encode(QUESTION, TEXT, True)
    broken = passes.forward(
        reward.backbone, lambda x: x.sum(-1) * float("nan"), [reading], 99,
        device=reward.device, pad=reward.pad_token_id,
    )  # fmt: skip
    with pytest.raises(RunError, match="the reward model returned NaN"):
        list(broken)
