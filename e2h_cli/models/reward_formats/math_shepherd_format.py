"""Math-Shepherd: a mark after each step, where the model answers "+" or "-"."""

from __future__ import annotations

from itertools import accumulate

from e2h_cli.data.template import token_of_character
from e2h_cli.models.loading import load_tokenizer
from e2h_cli.models.reward_formats.interface import (
    EncodedSolution,
    RewardModel,
    load_causal_model,
    plus_or_minus_head,
    steps_with_answer,
)

_MARK = "ки"


def load(name_or_path: str, precision: str) -> RewardModel:
    """The score is P("+") against P("-") at a mark; the last mark scores the outcome."""
    model = load_causal_model(name_or_path, precision)
    tokenizer = load_tokenizer(name_or_path)

    def encode_solution(question: str, text: str, finished: bool) -> EncodedSolution:
        steps = steps_with_answer(text, finished)
        lines = [f"Step {i}: {step} {_MARK}" for i, step in enumerate(steps, 1)]
        batch = tokenizer(f"{question} " + "\n".join(lines), return_offsets_mapping=True)
        # Where each line ends, in characters: a newline or a space stands between all parts.
        ends = list(accumulate(len(part) + 1 for part in [question, *lines]))[1:]
        *marks, last = [token_of_character(batch["offset_mapping"], end - 2) for end in ends]
        return EncodedSolution(list(batch["input_ids"]), marks, last)

    head = plus_or_minus_head(model, tokenizer)
    return RewardModel(
        "math-shepherd", "prm", tokenizer, model.base_model, head, encode_solution, model.device
    )
