"""Reward models that e2h trains: one logit per token, the head is ``classifier_head``."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast

from e2h_cli.data import template
from e2h_cli.models.token_spans import EncodedSolution, encode


def encode_e2h(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """Scores are read at the tokens that ``token_spans.encode`` names, as in training."""
    e = encode(tokenizer, template.prompt(question), text, finished=finished)
    return EncodedSolution(e.input_ids, e.step_positions, e.outcome_position, e.solution_start)
