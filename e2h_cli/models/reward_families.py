"""How each family of reward models encodes a solution, and turns features into P(correct).

A head is made of (model, tokenizer); an encoder is a function of (tokenizer, question, text of the
solution, whether it is finished).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.models.loading import device, dtype, load_pretrained
from e2h_cli.models.reward_model import score_head
from e2h_cli.models.token_spans import EncodedSolution, encode, token_at

# (positions, features) -> P(correct) of shape (positions,)
Head = Callable[[torch.Tensor], torch.Tensor]

_MARK = "ки"


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
    for part in [question, *_steps_with_answer(text, finished)]:
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
    steps = _steps_with_answer(text, finished)
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
    for i, step in enumerate(_steps_with_answer(text, finished)):
        turns.append({"role": "user", "content": step if i else f"{question} {step}"})
        asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        answers.append(len(asked))
        turns.append({"role": "assistant", "content": "+"})
    chat = tokenizer.apply_chat_template(turns, tokenize=False)
    batch = tokenizer(chat, add_special_tokens=False, return_offsets_mapping=True)
    # The token before an answer predicts it.
    *steps, last = [template.token_of_character(batch["offset_mapping"], at) - 1 for at in answers]
    return EncodedSolution(list(batch["input_ids"]), steps, last)


def _steps_with_answer(text: str, finished: bool) -> list[str]:
    """The steps of a solution, one line each; the last one ends with "The answer is: ..."."""
    solution = template.parse(text, finished=finished)
    steps = [template.one_line(step.text) for step in solution.steps]
    if solution.answer is not None:
        answer = f"The answer is: {template.one_line(solution.answer)}"
        steps[-1:] = [" ".join([*steps[-1:], answer])]
    return steps or [template.one_line(text) or "-"]
