"""RLHFlow: each step is a turn of the user, and the assistant answers "+" or "-"."""

from __future__ import annotations

from e2h_cli.common.errors import InputError
from e2h_cli.data.template import token_of_character
from e2h_cli.models.loading import load_tokenizer
from e2h_cli.models.reward_formats.interface import (
    EncodedSolution,
    RewardModel,
    load_causal_model,
    plus_or_minus_head,
    steps_with_answer,
)


def load(name_or_path: str, precision: str) -> RewardModel:
    """The score is P("+") against P("-") as the answer; the last answer scores the outcome.

    Raises:
        InputError: the tokenizer has no chat template.
    """
    model = load_causal_model(name_or_path, precision)
    tokenizer = load_tokenizer(name_or_path)
    if not tokenizer.chat_template:
        raise InputError("this family needs a tokenizer with a chat template", where=name_or_path)

    def encode_solution(question: str, text: str, finished: bool) -> EncodedSolution:
        turns: list[dict[str, str]] = []
        answers = []  # where each answer stands, in characters
        for i, step in enumerate(steps_with_answer(text, finished)):
            turns.append({"role": "user", "content": f"{question} {step}" if i == 0 else step})
            asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            answers.append(len(asked))
            turns.append({"role": "assistant", "content": "+"})
        chat = tokenizer.apply_chat_template(turns, tokenize=False)
        batch = tokenizer(chat, add_special_tokens=False, return_offsets_mapping=True)
        # The token before an answer predicts it.
        *steps, last = [token_of_character(batch["offset_mapping"], at) - 1 for at in answers]
        return EncodedSolution(list(batch["input_ids"]), steps, last)

    head = plus_or_minus_head(model, tokenizer)
    return RewardModel(
        "rlhflow", "prm", tokenizer, model.base_model, head, encode_solution, model.device
    )
