"""Training rows of reward models from labelled solutions and from pairs of solutions.

A labelled solution is a row of ``data.rm_labels.read_rows``: ``id``, ``prompt``, ``completions``
(the steps, and the answer block as the last of them) and one label each: P(correct), or None.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.data.external_rows import text_of
from e2h_cli.models.token_spans import EncodedCompletion, encode
from e2h_cli.training.token_rows import Row, unlabelled_row

# loss_on -> how many tokens at the end of a step carry its label; 0 is all.
_LABELLED_TOKENS = {"every-token": 0, "last-three": 3, "separator": 1}


def reward_row(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any], loss_on: str) -> Row:
    """One training sequence of a labelled solution.

    The tokens of a step, up to the one at which it is scored, carry its label; see
    ``models.token_spans`` for which tokens those are.

    ``loss_on`` ("every-token", "last-three" or "separator") says which of them carry loss. Raises
    InputError if the steps are not found again in the text.
    """
    encoded = encode_labelled(tokenizer, row)
    example = unlabelled_row(encoded.input_ids)
    count = _LABELLED_TOKENS[loss_on]
    for step, label in enumerate(row["labels"]):
        if label is not None:
            tokens = encoded.tokens_of_step(step)
            example.labels[list(tokens[-count:])] = label
    return example


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

    ``row`` has texts under "prompt", "chosen" and "rejected"; the prompt may be a bare question.

    Raises:
        InputError: a text is missing; ``where`` is the file and line.
    """
    prompt = text_of(row, "prompt", where)
    if "# Solution" not in prompt:
        prompt = template.prompt(prompt)

    def labelled(key: str, label: float) -> Row:
        encoded = encode(tokenizer, prompt, text_of(row, key, where))
        side = unlabelled_row(encoded.input_ids)
        side.labels[encoded.outcome_position] = label
        return side

    return labelled("chosen", 1), labelled("rejected", 0)


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
