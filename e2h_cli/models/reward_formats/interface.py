"""What every reward model offers, and the parts that several families share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.models.loading import device, dtype, load_pretrained
from e2h_cli.models.reward_model import score_head

# (input_ids, attention_mask, ...) -> last_hidden_state of shape (rows, tokens, features)
Backbone = Callable[..., Any]
# (positions, features) -> (positions,) in [0, 1]
Head = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class EncodedSolution:
    """A question and its solution as the tokens of a reward model, with the scored positions.

    Attributes:
        input_ids: tokens.
        step_positions: for each step, the token at which it is scored.
        outcome_position: the token at which the whole solution is scored.
        solution_start: the first token of the solution; 0 if the family does not know it.
    """

    input_ids: list[int]
    step_positions: list[int]
    outcome_position: int
    solution_start: int = 0


# (question, text of the solution, whether it is finished)
Encoder = Callable[[str, str, bool], EncodedSolution]


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A loaded reward model.

    Attributes:
        family: a key of ``FAMILIES``.
        kind: "orm" if only the outcome is scored, else "prm" or "oprm".
        tokenizer: of the model.
        backbone: the transformer without its head.
        head: from features at the scored positions to P(correct).
        encode: from question, solution text and whether it is finished to tokens.
        device: of the backbone.
    """

    family: str
    kind: str
    tokenizer: PreTrainedTokenizerFast
    backbone: Backbone
    head: Head
    encode: Encoder
    device: torch.device

    @property
    def pad_token_id(self) -> int:
        """The token that pads a batch."""
        return self.tokenizer.pad_token_id or 0


def load_causal_model(name_or_path: str, precision: str) -> PreTrainedModel:
    """A causal language model whose LM head gives the scores."""
    model = load_pretrained(
        AutoModelForCausalLM, name_or_path, "reward model", dtype=dtype(precision)
    )
    return model.to(device())


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


def sigmoid_head(model: PreTrainedModel) -> Head:
    """The sigmoid of the one logit of a classifier."""
    score = score_head(model)
    return lambda features: score(features)[..., 0].float().sigmoid()


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


def steps_with_answer(text: str, finished: bool) -> list[str]:
    """The steps of a solution, one line each; the last one ends with "The answer is: ..."."""
    solution = template.parse(text, finished=finished)
    steps = [template.one_line(step.text) for step in solution.steps]
    if solution.answer is not None:
        answer = f"The answer is: {template.one_line(solution.answer)}"
        steps[-1:] = [" ".join([*steps[-1:], answer])]
    return steps or [template.one_line(text) or "-"]
