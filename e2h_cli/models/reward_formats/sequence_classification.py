"""Classifiers of whole texts with one logit: outcome reward models."""

from __future__ import annotations

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.models.reward_formats.shared_heads import Head, classifier_head
from e2h_cli.models.token_spans import EncodedSolution, encode


def sequence_head(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Head:
    """The sigmoid of the only logit. Raises InputError if the classifier has several labels."""
    if model.config.num_labels != 1:
        raise InputError(
            f"a reward model has one label, this classifier {model.config.num_labels}",
            where=model.name_or_path,
        )
    return classifier_head(model, tokenizer)


def encode_for_sequence(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """The last token scores the outcome of a chat, or of e2h's template without a chat template."""
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
        chat = tokenizer.apply_chat_template(turns, tokenize=False)
        ids = list(tokenizer(chat, add_special_tokens=False).input_ids)
    else:
        ids = encode(tokenizer, template.prompt(question), text, finished=finished).input_ids
    return EncodedSolution(ids, [], len(ids) - 1)
