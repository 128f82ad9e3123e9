"""Reward models that are classifiers of tokens or of whole sequences."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.models.loading import device, dtype, load_pretrained
from e2h_cli.models.reward_formats.interface import EncodedSolution, Head, steps_with_answer
from e2h_cli.models.reward_model import score_head
from e2h_cli.models.token_spans import encode


def load_classifier(auto_class: Any, name_or_path: str, precision: str) -> PreTrainedModel:
    """A classifier with a trained head. Raises InputError if its files hold no head."""
    model, info = load_pretrained(
        auto_class, name_or_path, "reward model", dtype=dtype(precision), output_loading_info=True
    )
    # transformers initialises a missing head at random.
    if any(name.startswith(("score", "classifier")) for name in info["missing_keys"]):
        raise InputError(
            "this model has no weights for a score",
            where=name_or_path,
            hint="choose another --family",
        )
    return model.to(device())


def classifier_head(model: PreTrainedModel, _: PreTrainedTokenizerFast) -> Head:
    """The sigmoid of the only logit, or the softmax of the second of two."""
    score = score_head(model)

    def head(features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = score(features).float()
        return logits[..., 0].sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)[..., 1]

    return head


def sequence_head(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Head:
    """The sigmoid of the only logit. Raises InputError if the classifier has several labels."""
    if model.config.num_labels != 1:
        raise InputError(
            f"a reward model has one label, this classifier {model.config.num_labels}",
            where=model.name_or_path,
        )
    return classifier_head(model, tokenizer)


def encode_e2h(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """Scores are read at the tokens that ``token_spans.encode`` names, as in training."""
    e = encode(tokenizer, template.prompt(question), text, finished=finished)
    return EncodedSolution(e.input_ids, e.step_positions, e.outcome_position, e.solution_start)


def encode_for_tokens(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """A step is scored at the newline after it; the last newline scores the outcome.

    Question, steps and newlines are encoded one by one and joined, as TRL's PRMTrainer does.
    """
    ids = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    positions = []
    for part in [question, *steps_with_answer(text, finished)]:
        for piece in (part, "\n"):
            ids += tokenizer(piece, add_special_tokens=False).input_ids
        positions.append(len(ids) - 1)
    return EncodedSolution(ids, positions[1:-1], positions[-1])


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
