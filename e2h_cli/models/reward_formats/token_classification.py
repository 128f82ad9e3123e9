"""Token classifiers with one or two labels, as TRL's PRMTrainer makes them."""

from __future__ import annotations

import torch
from transformers import AutoModelForTokenClassification

from e2h_cli.models.loading import load_tokenizer
from e2h_cli.models.reward_formats.interface import (
    EncodedSolution,
    RewardModel,
    load_classifier,
    steps_with_answer,
)
from e2h_cli.models.reward_model import score_head


def load(name_or_path: str, precision: str) -> RewardModel:
    """A step is scored at the newline after it; the last newline scores the outcome.

    Question, steps and newlines are encoded one by one and joined, as in TRL's training.
    """
    model = load_classifier(AutoModelForTokenClassification, name_or_path, precision)
    tokenizer = load_tokenizer(name_or_path)
    score = score_head(model)

    def encode_solution(question: str, text: str, finished: bool) -> EncodedSolution:
        ids = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        newline = tokenizer("\n", add_special_tokens=False).input_ids
        ids += tokenizer(question, add_special_tokens=False).input_ids + newline
        positions = []
        for step in steps_with_answer(text, finished):
            ids += tokenizer(step, add_special_tokens=False).input_ids + newline
            positions.append(len(ids) - 1)
        return EncodedSolution(ids, positions[:-1], positions[-1])

    def head(features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = score(features).float()
        return logits[..., 0].sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)[..., 1]

    return RewardModel(
        "token-classification",
        "prm",
        tokenizer,
        model.base_model,
        head,
        encode_solution,
        model.device,
    )
