"""The reward models that the paper released (Llemma)."""

from __future__ import annotations

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.data import template
from e2h_cli.models.reward_formats.shared_heads import Head
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
