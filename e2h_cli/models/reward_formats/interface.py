"""What every reward model offers, and the steps that several families are given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from e2h_cli.data import template

# (positions, features) -> P(correct) of shape (positions,)
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


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A loaded reward model.

    Attributes:
        family: a key of ``FAMILIES``.
        kind: "orm" if only the outcome is scored, else "prm" or "oprm".
        backbone: the transformer without its head: (input_ids, attention_mask, ...) ->
            last_hidden_state of shape (rows, tokens, features).
        head: from features at the scored positions to P(correct).
        encode: of (question, text of the solution, whether it is finished).
    """

    family: str
    kind: str
    tokenizer: PreTrainedTokenizerFast
    backbone: Callable[..., Any]
    head: Head
    encode: Callable[[str, str, bool], EncodedSolution]
    device: torch.device

    @property
    def pad_token_id(self) -> int:
        """The token that pads a batch."""
        return self.tokenizer.pad_token_id or 0


def steps_with_answer(text: str, finished: bool) -> list[str]:
    """The steps of a solution, one line each; the last one ends with "The answer is: ..."."""
    solution = template.parse(text, finished=finished)
    steps = [template.one_line(step.text) for step in solution.steps]
    if solution.answer is not None:
        answer = f"The answer is: {template.one_line(solution.answer)}"
        steps[-1:] = [" ".join([*steps[-1:], answer])]
    return steps or [template.one_line(text) or "-"]
