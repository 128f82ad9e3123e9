"""Training rows of reward models from labelled solutions and from pairs of solutions.

A labelled solution is a row of ``data.rm_labels.read_rows``: ``id``, ``prompt``, ``completions``
(the steps, and the answer block as the last of them) and one label each: P(correct), or None.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.models.token_spans import EncodedCompletion, encode
from e2h_cli.training.token_rows import NO_LOSS, Row

# loss_on -> how many tokens at the end of a step carry its label; None is all.
_LABELLED_TOKENS = {"every-token": None, "last-three": 3, "separator": 1}


def reward_row(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any], loss_on: str) -> Row:
    """One training sequence of a labelled solution.

    The tokens of a step, up to the one at which it is scored, carry its label; see
    ``models.token_spans`` for which tokens those are.

    Args:
        tokenizer: of the model.
        row: a labelled solution.
        loss_on: "every-token", "last-three" or "separator": which tokens of a step carry loss.

    Raises:
        InputError: the steps are not found again in the text.
    """
    encoded = encode_labelled(tokenizer, row)
    labels = np.full(len(encoded.input_ids), NO_LOSS, dtype=np.float32)
    count = _LABELLED_TOKENS[loss_on]
    for step, label in enumerate(row["labels"]):
        if label is not None:
            tokens = encoded.tokens_of_step(step)
            labels[list(tokens if count is None else tokens[-count:])] = float(label)
    return Row(np.array(encoded.input_ids, dtype=np.int32), labels)


def encode_labelled(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any]) -> EncodedCompletion:
    """Encode a labelled solution. Raises InputError if its steps are not found again."""
    steps = row["completions"]
    finished = steps[-1].startswith(template.ANSWER_HEADER)
    text = template.SEPARATOR.join(steps)
    if not finished:
        text += template.SEPARATOR  # closes the last step, so that it is scored
    encoded = encode(tokenizer, row["prompt"], text, finished=finished)
    if len(encoded.step_positions) != len(steps) - finished:
        raise InputError(
            f"{len(steps) - finished} steps are read back as {len(encoded.step_positions)}",
            where=row["id"],
        )
    return encoded


def pair_rows(
    tokenizer: PreTrainedTokenizerFast, row: dict[str, Any], where: str
) -> tuple[Row, Row]:
    """The chosen and the rejected solution of a pair; see ``pair_loss`` for their labels.

    Args:
        tokenizer: of the model.
        row: texts under "prompt", "chosen" and "rejected"; the prompt may be a bare question.
        where: file and line, for messages.

    Raises:
        InputError: a text is missing.
    """
    return (
        _pair_row(tokenizer, row, "chosen", where),
        _pair_row(tokenizer, row, "rejected", where),
    )


def _pair_row(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any], key: str, where: str) -> Row:
    prompt, text = row.get("prompt"), row.get(key)
    if not isinstance(prompt, str) or not isinstance(text, str):
        raise InputError(f"no text under 'prompt' or {key!r}", where=where)
    if "# Solution" not in prompt:
        prompt = template.prompt(prompt)
    encoded = encode(tokenizer, prompt, text)
    labels = np.full(len(encoded.input_ids), NO_LOSS, dtype=np.float32)
    labels[encoded.outcome_position] = float(key == "chosen")
    return Row(np.array(encoded.input_ids, dtype=np.int32), labels)


def is_held_out(problem_id: str, share: float, seed: int) -> bool:
    """Whether the rows of a problem are held out for validation; depends on id and seed alone."""
    return random.Random(f"hold out {seed} {problem_id}").random() < share


@dataclass
class LabelCounts:
    """Labels of steps and outcomes, and counts of kept, too long and unlabelled rows."""

    rows: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    unlabelled: int = 0
    too_long: list[str] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, row: dict[str, Any], encoded: Row, max_length: int) -> bool:
        """Count a labelled solution; returns whether it is trained on."""
        self.rows += 1
        for step, label in zip(row["completions"], row["labels"], strict=True):
            name = "unlabelled" if label is None else "right" if label >= 0.5 else "wrong"
            is_answer = step.startswith(template.ANSWER_HEADER)
            (self.outcomes if is_answer else self.steps)[name] += 1
        if len(encoded.input_ids) > max_length:
            self.too_long.append(row["id"])
            return False
        if not encoded.trained_tokens:
            self.unlabelled += 1
            return False
        self.tokens += len(encoded.input_ids)
        self.trained_tokens += encoded.trained_tokens
        return True

    def summary(self) -> dict[str, int]:
        """For the stage's record."""
        known = self.steps + self.outcomes
        return {
            "labels": known["right"] + known["wrong"],
            "tokens": self.tokens,
            "too_long": len(self.too_long),
            "unlabelled": self.unlabelled,
        }
