"""Classifiers of tokens, as TRL's PRMTrainer makes them."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from e2h_cli.models.reward_formats.shared_heads import steps_with_answer
from e2h_cli.models.token_spans import EncodedSolution


def encode_for_tokens(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """A step is scored at the newline after it; the last newline scores the outcome.

    Question, steps and newlines are encoded one by one and joined, as ``tokenize_row`` of TRL's
    PRMTrainer does (TRL 1.13). No newline follows the question there; the example in TRL's
    documentation has one, which the model has not seen in training.
    """
    ids = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids += tokenizer(question, add_special_tokens=False).input_ids
    positions = []
    for step in steps_with_answer(text, finished):
        for piece in (step, "\n"):
            ids += tokenizer(piece, add_special_tokens=False).input_ids
        positions.append(len(ids) - 1)
    return EncodedSolution(ids, positions[:-1], positions[-1])
