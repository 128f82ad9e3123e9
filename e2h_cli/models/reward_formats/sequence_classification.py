"""Outcome reward models: one logit for the whole text."""

from __future__ import annotations

from transformers import AutoModelForSequenceClassification

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.models.loading import load_tokenizer
from e2h_cli.models.reward_formats.interface import (
    EncodedSolution,
    RewardModel,
    load_classifier,
    sigmoid_head,
)
from e2h_cli.models.token_spans import encode


def load(name_or_path: str, precision: str) -> RewardModel:
    """The score is the sigmoid of the logit at the last token.

    The text is that of the tokenizer's chat template, or of e2h's own template if there is none.

    Raises:
        InputError: the classifier has several labels.
    """
    model = load_classifier(AutoModelForSequenceClassification, name_or_path, precision)
    if model.config.num_labels != 1:
        raise InputError(
            f"a reward model has one label, this classifier {model.config.num_labels}",
            where=name_or_path,
        )
    tokenizer = load_tokenizer(name_or_path)

    def encode_solution(question: str, text: str, finished: bool) -> EncodedSolution:
        if tokenizer.chat_template:
            turns = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": text},
            ]
            chat = tokenizer.apply_chat_template(turns, tokenize=False)
            ids = list(tokenizer(chat, add_special_tokens=False).input_ids)
        else:
            prompt = template.prompt(question)
            ids = encode(tokenizer, prompt, text, finished=finished).input_ids
        return EncodedSolution(ids, [], len(ids) - 1)

    return RewardModel(
        "sequence-classification", "orm", tokenizer, model.base_model, sigmoid_head(model),
        encode_solution, model.device,
    )  # fmt: skip
