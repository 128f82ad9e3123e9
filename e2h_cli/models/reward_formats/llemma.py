"""The reward models that the paper released (Llemma), and where its PPO reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.data import template
from e2h_cli.models.loading import load_generator
from e2h_cli.models.reward_formats.shared_heads import Head
from e2h_cli.models.reward_model import new_reward_model, score_head
from e2h_cli.models.token_spans import EncodedSolution, encode, token_at


def llemma_head(model: PreTrainedModel, _: PreTrainedTokenizerFast) -> Head:
    """The sigmoid of the mean LM logit, in the models that the paper released.

    The trained head has two rows whose outputs are averaged; in the export these two rows fill the
    whole LM head in turn.
    """
    lm_head = model.get_output_embeddings()
    weight = lm_head.weight.float().mean(0)
    bias = 0.0 if lm_head.bias is None else lm_head.bias.float().mean()
    return lambda features: (features.float() @ weight + bias).sigmoid()


def llemma_classifier(name_or_path: str, precision: str) -> PreTrainedModel:
    """A released model as a token classifier, whose logit is the mean LM logit."""
    lm_head = load_generator(name_or_path, "fp32", to_device=False).get_output_embeddings()
    model = new_reward_model(name_or_path, "value", precision)
    with torch.no_grad():
        score_head(model).weight.copy_(lm_head.weight.mean(0, keepdim=True))
    return model


def encode_llemma(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """A step is scored at the first newline after it (model cards), the outcome at end-of-text."""
    prompt = template.prompt(question)
    e = encode(tokenizer, prompt, text, finished=finished)
    newlines = [
        token_at(e.offsets, len(prompt) + text.index("\n", step.end))
        for step in e.solution.steps
        if step.separator_end is not None
    ]
    return EncodedSolution(e.input_ids, newlines, e.outcome_position, e.solution_start)


def encode_windows(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """Three positions per scored step, of which the released PPO takes the lowest score.

    They are the tokens of the last character of the step and of the two newlines after it.
    """
    prompt = template.prompt(question)
    e = encode(tokenizer, prompt, text, finished=finished)
    windows = window_positions(e.offsets, [len(prompt) + end for end in scored_ends(text)])
    return EncodedSolution(e.input_ids, windows, e.outcome_position, e.solution_start)


def window_positions(offsets: list[tuple[int, int]], ends: Sequence[int]) -> list[int]:
    """The tokens of the characters before, at and after each end, from offsets in characters."""
    return [token_at(offsets, end + k) for end in ends for k in (-1, 0, 1)]


def scored_ends(text: str) -> list[int]:
    """Where the steps end that the released PPO scores: indices of the first of two newlines.

    Blank lines cut a text into pieces, and the last two are not scored. In a whole solution they
    are the answer header and the answer; in an unfinished one the last two steps; where text
    follows the answer, the header is scored.
    """
    return [match.start() for match in re.finditer("\n\n", text)][:-1]
