"""Batches of solutions and shared prompts change no score."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification

from e2h_cli.common.errors import RunError
from e2h_cli.data import template
from e2h_cli.inference import batching
from e2h_cli.inference.batching import Scores, ScoringStats, score_batches, score_in_chunks
from e2h_cli.models.reward_formats import RewardModel, open_reward_model
from e2h_cli.models.token_spans import EncodedSolution
from tests.builders import reward_model, reward_tokenizer

QUESTION = "What is 1 + 2?"
TEXT = template.completion(["We add.", "So 1 + 2 = 3."], "3")


def scored(
    model: RewardModel,
    encoded: list[EncodedSolution],
    max_batch_tokens: int,
    problems: list[str] | None = None,
) -> tuple[dict[int, list[float]], ScoringStats]:
    """Scores of steps and outcome by index, and counts of tokens."""
    stats = ScoringStats()
    batches = score_batches(model, encoded, max_batch_tokens, problems=problems, stats=stats)
    return {
        i: [*scores.steps, scores.outcome]
        for indices, batch in batches
        for i, scores in zip(indices, batch, strict=True)
    }, stats


def test_batches_change_no_score_and_pad_little(tmp_path: Path) -> None:
    tokens = reward_tokenizer("byte-bpe")
    model = open_reward_model(reward_model(tmp_path, AutoModelForCausalLM, tokens), "llemma")
    texts = [
        template.completion([f"Step {'x' * (i % 9)}" for _ in range(1 + i % 7)], str(i))
        for i in range(60)
    ]
    encoded = [model.encode(QUESTION, text, True) for text in texts]
    alone, none = scored(model, encoded, 1)
    together, some = scored(model, encoded, 2000)
    assert none.padding == 0
    assert none.tokens == some.tokens
    assert 0 < some.padding < 0.06 * some.tokens
    assert alone.keys() == together.keys() == set(range(60))
    for i, values in alone.items():
        assert together[i] == pytest.approx(values, abs=1e-5)


@pytest.mark.parametrize(
    ("loader", "family"),
    [(AutoModelForCausalLM, "llemma"), (AutoModelForTokenClassification, "auto")],
)
def test_a_shared_prompt_changes_no_score(
    loader: type, family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_SHARED_TOKENS", (1, 1))
    tokens = reward_tokenizer("byte-bpe")
    model = open_reward_model(reward_model(tmp_path, loader, tokens), family)
    questions = [f"What is {i} + 2?" * (1 + i) for i in range(3)]
    texts = [template.completion([f"x{'y' * j}."] * (1 + j % 4), str(j)) for j in range(9)]
    pairs = [(q, t) for t in texts for q in questions] + [("Alone?", texts[0])]
    encoded = [model.encode(q, t, True) for q, t in pairs]
    apart, whole = scored(model, encoded, 300)
    together, less = scored(model, encoded, 300, [q for q, _ in pairs])
    assert whole.shared == 0 < less.shared
    # Only the shared prefixes are saved, nothing else is left out.
    assert less.tokens + less.shared == whole.tokens
    assert apart.keys() == together.keys()
    for i, values in apart.items():
        assert together[i] == pytest.approx(values, abs=1e-5)


def test_chunks_are_of_whole_problems_and_change_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_reward_model(
        reward_model(tmp_path, AutoModelForCausalLM, reward_tokenizer()), "llemma"
    )
    problems = [problem for problem, count in (("a", 3), ("b", 4), ("c", 1)) for _ in range(count)]
    solutions = [(QUESTION, TEXT + "x" * i, i % 2 == 0) for i in range(8)]

    def chunked(size: int) -> tuple[dict[int, Scores], list[int]]:
        sizes: list[int] = []

        def counted(*arguments: Any, **options: Any) -> Any:
            sizes.append(len(arguments[1]))
            return score_batches(*arguments, **options)

        monkeypatch.setattr(batching, "_CHUNK", size)
        monkeypatch.setattr(batching, "score_batches", counted)
        found = score_in_chunks(model, solutions, problems, None, ScoringStats())
        return {
            i: s for indices, batch in found for i, s in zip(indices, batch, strict=True)
        }, sizes

    whole, one = chunked(100)
    parts, several = chunked(2)
    assert (one, several) == ([8], [3, 4, 1])
    assert sorted(whole) == sorted(parts) == list(range(8))
    for i, scores in whole.items():
        assert parts[i].outcome == pytest.approx(scores.outcome, abs=1e-5)
        assert parts[i].steps == pytest.approx(scores.steps, abs=1e-5)


def test_a_score_that_is_nan_is_an_error(tmp_path: Path) -> None:
    path = reward_model(tmp_path, AutoModelForCausalLM, reward_tokenizer())
    model = open_reward_model(path, "llemma")
    broken = dataclasses.replace(model, head=lambda x: x.sum(-1) * float("nan"))
    with pytest.raises(RunError, match="the reward model returned NaN"):
        scored(broken, [model.encode(QUESTION, TEXT, True)], 99)
