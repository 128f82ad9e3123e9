"""The reward models that the paper released, exported as causal language models."""

from __future__ import annotations

import torch

from e2h_cli.data import template
from e2h_cli.models.loading import load_tokenizer
from e2h_cli.models.reward_formats.interface import EncodedSolution, RewardModel, load_causal_model
from e2h_cli.models.token_spans import encode, token_at


def load(name_or_path: str, precision: str) -> RewardModel:
    """The score at a position is the sigmoid of the mean of the LM logits there.

    The trained head has two rows whose outputs are averaged; in the export these two rows fill the
    whole LM head in turn. A step is scored at the first newline after it, as the model cards say,
    and the outcome at the end-of-text token.
    """
    model = load_causal_model(name_or_path, precision)
    tokenizer = load_tokenizer(name_or_path)
    lm_head = model.get_output_embeddings()
    weight = lm_head.weight.float().mean(0)
    bias = 0.0 if lm_head.bias is None else lm_head.bias.float().mean()

    def encode_solution(question: str, text: str, finished: bool) -> EncodedSolution:
        prompt = template.prompt(question)
        encoded = encode(tokenizer, prompt, text, finished=finished)
        newlines = [
            token_at(encoded.offsets, len(prompt) + text.index("\n", step.end))
            for step in encoded.solution.steps
            if step.separator_end is not None
        ]
        return EncodedSolution(
            encoded.input_ids, newlines, encoded.outcome_position, encoded.solution_start
        )

    def head(features: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = (features.float() @ weight + bias).sigmoid()
        return values

    return RewardModel(
        "llemma", "oprm", tokenizer, model.base_model, head, encode_solution, model.device
    )
