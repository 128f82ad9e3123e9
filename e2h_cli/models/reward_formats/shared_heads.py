"""What several families share: heads, loading of classifiers, steps as lines."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.models.reward_model import score_head

# (positions, features) -> P(correct) of shape (positions,)
Head = Callable[[torch.Tensor], torch.Tensor]


def classifier_head(model: PreTrainedModel, _: PreTrainedTokenizerFast) -> Head:
    """P(correct) from the logits of a classifier; see ``probability``."""
    score = score_head(model)
    return lambda features: probability(score(features).float())


def probability(logits: torch.Tensor) -> torch.Tensor:
    """Sigmoid of the only logit, or softmax of the second of two: (..., labels) to (...)."""
    return logits[..., 0].sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)[..., 1]


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


def steps_with_answer(
    text: str, finished: bool, of_step: Callable[[str], str] = template.one_line
) -> list[str]:
    """The steps of a solution, one line each; the last one ends with "The answer is: ...".

    ``of_step``: what is done to the text of a step.
    """
    solution = template.parse(text, finished=finished)
    steps = [of_step(step.text) for step in solution.steps]
    if solution.answer is not None:
        answer = f"The answer is: {template.one_line(solution.answer)}"
        steps[-1:] = [" ".join([*steps[-1:], answer])]
    return steps or [template.one_line(text) or "-"]
