"""Reward models that are causal language models: the LM head gives the scores."""

from __future__ import annotations

from itertools import accumulate

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.models.reward_formats.interface import EncodedSolution, Head, steps_with_answer
from e2h_cli.models.token_spans import encode, token_at

_MARK = "ки"


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


def plus_or_minus_head(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Head:
    """P("+") under the softmax over the LM logits of "+" and "-" alone.

    The two tokens are those that stand after a space or a header.

    Raises:
        InputError: the tokenizer does not have both.
    """
    plus, minus = (tokenizer(sign, add_special_tokens=False).input_ids[-1] for sign in ("+", "-"))
    if plus == minus or tokenizer.unk_token_id in (plus, minus):
        raise InputError("this tokenizer has no tokens for + and -", where=tokenizer.name_or_path)
    lm_head = model.get_output_embeddings()
    weight = lm_head.weight[[plus, minus]].float()
    bias = 0.0 if lm_head.bias is None else lm_head.bias[[plus, minus]].float()
    return lambda features: (features.float() @ weight.T + bias).softmax(-1)[..., 0]


def encode_math_shepherd(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """A step is scored at the mark after it; the last mark scores the outcome."""
    steps = steps_with_answer(text, finished)
    lines = [f"Step {i}: {step} {_MARK}" for i, step in enumerate(steps, 1)]
    batch = tokenizer(f"{question} " + "\n".join(lines), return_offsets_mapping=True)
    # Where each line ends, in characters: a newline or a space stands between all parts.
    ends = list(accumulate(len(part) + 1 for part in [question, *lines]))[1:]
    *marks, last = [template.token_of_character(batch["offset_mapping"], end - 2) for end in ends]
    return EncodedSolution(list(batch["input_ids"]), marks, last)


def rlhflow_head(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Head:
    """P("+") against P("-"). Raises InputError if the tokenizer has no chat template."""
    if not tokenizer.chat_template:
        raise InputError(
            "this family needs a tokenizer with a chat template", where=tokenizer.name_or_path
        )
    return plus_or_minus_head(model, tokenizer)


def encode_rlhflow(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """Each step is a turn of the user, scored where the assistant answers "+" or "-".

    The last answer scores the outcome.
    """
    turns: list[dict[str, str]] = []
    answers = []  # where each answer stands, in characters
    for i, step in enumerate(steps_with_answer(text, finished)):
        turns.append({"role": "user", "content": step if i else f"{question} {step}"})
        asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        answers.append(len(asked))
        turns.append({"role": "assistant", "content": "+"})
    chat = tokenizer.apply_chat_template(turns, tokenize=False)
    batch = tokenizer(chat, add_special_tokens=False, return_offsets_mapping=True)
    # The token before an answer predicts it.
    *steps, last = [template.token_of_character(batch["offset_mapping"], at) - 1 for at in answers]
    return EncodedSolution(list(batch["input_ids"]), steps, last)
