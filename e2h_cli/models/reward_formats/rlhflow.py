"""RLHFlow's PRMs: a chat in which the assistant answers each step with + or -."""

from __future__ import annotations

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.models.reward_formats.shared_heads import Head, plus_or_minus_head, steps_with_answer
from e2h_cli.models.token_spans import EncodedSolution


def rlhflow_head(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Head:
    """P("+") against P("-"). Raises InputError if the tokenizer has no chat template."""
    if not tokenizer.chat_template:
        raise InputError(
            "this family needs a tokenizer with a chat template", where=tokenizer.name_or_path
        )
    return plus_or_minus_head(model, tokenizer)


def encode_rlhflow(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """Each step is a turn of the user, scored where the assistant answers "+" or "-".

    The last answer scores the outcome.
    """
    turns: list[dict[str, str]] = []
    answers = []  # where each answer stands, in characters
    for i, step in enumerate(steps_with_answer(text, finished)):
        turns.append({"role": "user", "content": step if i else f"{question} {step}"})
        asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        answers.append(len(asked))
        turns.append({"role": "assistant", "content": "+"})
    chat = tokenizer.apply_chat_template(turns, tokenize=False)
    batch = tokenizer(chat, add_special_tokens=False, return_offsets_mapping=True)
    # The token before an answer predicts it.
    *steps, last = [template.token_of_character(batch["offset_mapping"], at) - 1 for at in answers]
    return EncodedSolution(list(batch["input_ids"]), steps, last)
