"""Reward models that ``e2h train-rm`` made: one logit per token."""

from __future__ import annotations

from e2h_cli.data import template
from e2h_cli.models.loading import load_tokenizer
from e2h_cli.models.reward_formats.interface import EncodedSolution, RewardModel, sigmoid_head
from e2h_cli.models.reward_model import describe, load_reward_model
from e2h_cli.models.token_spans import encode


def load(name_or_path: str, precision: str) -> RewardModel:
    """Scores are read at the tokens that ``token_spans.encode`` names, as in training."""
    model = load_reward_model(name_or_path, precision)
    tokenizer = load_tokenizer(name_or_path)

    def encode_solution(question: str, text: str, finished: bool) -> EncodedSolution:
        e = encode(tokenizer, template.prompt(question), text, finished=finished)
        return EncodedSolution(e.input_ids, e.step_positions, e.outcome_position, e.solution_start)

    kind = describe(model.config, name_or_path)["kind"]
    return RewardModel(
        "e2h", kind, tokenizer, model.base_model, sigmoid_head(model), encode_solution, model.device
    )
