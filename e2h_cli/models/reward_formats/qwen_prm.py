"""Qwen2.5-Math-PRM: a chat in which a mark after each step has two labels.

Weights: ``model.*`` of a Qwen2 and ``score.0``, ``score.2`` of a head with one hidden layer, as
vLLM's ``Qwen2ForProcessRewardModel`` reads them. Chat, mark and label: the model's card. Compared
with this definition on small random models, not with the released weights.
"""

from __future__ import annotations

from torch import nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForTokenClassification,
)

from e2h_cli.common.errors import InputError
from e2h_cli.models.loading import load_complete
from e2h_cli.models.reward_formats.shared_heads import Head, classifier_head, steps_with_answer
from e2h_cli.models.token_spans import EncodedSolution

_MARK = "<extra_0>"
_SYSTEM = r"Please reason step by step, and put your final answer within \boxed{}."


class _QwenPRM(Qwen2ForTokenClassification):
    """Qwen2 with Linear, ReLU and Linear to two labels for each token."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__(config)
        size = config.hidden_size
        self.score = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 2))


def load_qwen_prm(name_or_path: str, precision: str) -> PreTrainedModel:
    """The model without code of its own. Raises InputError as ``load_complete``."""
    return load_complete(_QwenPRM, "Qwen PRM", name_or_path, precision, no_others=True)


def qwen_prm_head(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Head:
    """The softmax of the second label. Raises InputError if the tokenizer cannot write the chat."""
    _mark(tokenizer)
    return classifier_head(model, tokenizer)


def encode_qwen_prm(
    tokenizer: PreTrainedTokenizerFast, question: str, text: str, finished: bool
) -> EncodedSolution:
    """A step is scored at the mark after it; the last mark scores the outcome.

    Raises InputError if the tokenizer cannot write the chat.
    """
    mark = _mark(tokenizer)
    steps = steps_with_answer(text, finished, of_step=str.strip)
    # The text of others may not hold the mark.
    question, *steps = (part.replace(_MARK, " ") for part in (question, *steps))
    turns = [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": question},
        {"role": "assistant", "content": "".join(step + _MARK for step in steps)},
    ]
    chat = tokenizer.apply_chat_template(turns, tokenize=False)
    ids = list(tokenizer(chat, add_special_tokens=False).input_ids)
    *marks, last = [i for i, token in enumerate(ids) if token == mark]
    return EncodedSolution(ids, marks, last)


def _mark(tokenizer: PreTrainedTokenizerFast) -> int:
    ids = tokenizer(_MARK, add_special_tokens=False).input_ids
    if not tokenizer.chat_template or len(ids) != 1:
        raise InputError(
            f"this family needs a chat template and a token {_MARK}", where=tokenizer.name_or_path
        )
    return int(ids[0])
