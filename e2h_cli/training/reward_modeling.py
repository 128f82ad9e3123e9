"""Reward modeling: rows of tokens from labelled solutions and pairs, losses, and early stopping.

A labelled solution is a row of ``data.rm_labels.read_rows``: ``id``, ``prompt``, ``completions``
(the steps, and the answer block as the last of them) and one label each: P(correct), or None.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.data.external_rows import text_of
from e2h_cli.evaluation.rm_metrics import roc_auc
from e2h_cli.models.token_spans import EncodedCompletion, encode
from e2h_cli.settings.train_rm import TrainRMSettings
from e2h_cli.training.token_rows import NO_LOSS, Row, unlabelled_row
from e2h_cli.training.trainer import Validation

_MAX_VALIDATION_ROWS = 2000
# loss_on -> how many tokens at the end of a step carry its label; 0 is all.
_LABELLED_TOKENS = {"every-token": 0, "last-three": 3, "separator": 1}


def reward_row(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any], loss_on: str) -> Row:
    """One training sequence of a labelled solution.

    The tokens of a step, up to the one at which it is scored (``models.token_spans``), carry its
    label: all of them or the last ones, as ``loss_on`` ("every-token", "last-three", "separator")
    says. Raises InputError if the steps are not found again in the text.
    """
    encoded = _encode_labelled(tokenizer, row)
    example = unlabelled_row(encoded.input_ids)
    count = _LABELLED_TOKENS[loss_on]
    for step, label in enumerate(_labels(row, encoded)):
        if label is not None:
            tokens = encoded.tokens_of_step(step)
            example.labels[list(tokens[-count:])] = label
    return example


def _labels(row: dict[str, Any], encoded: EncodedCompletion) -> list[float | None]:
    """The label of each step and of the outcome; a program has one for all its lines."""
    if row.get("verbatim"):
        return row["labels"] * (len(encoded.step_positions) + 1)
    return list(row["labels"])


def _encode_labelled(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any]) -> EncodedCompletion:
    """Encode a labelled solution. Raises InputError if its steps are not found again."""
    steps = row["completions"]
    if row.get("verbatim"):
        return encode(tokenizer, row["prompt"], steps[0])
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
            is_answer = row.get("verbatim") or step.startswith(template.ANSWER_HEADER)
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


def token_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Binary cross-entropy, the mean over labelled tokens (paper p.6).

    Args:
        outputs: with ``logits`` of shape (rows, tokens, 1).
        labels: (rows, tokens), P(correct) or ``NO_LOSS``.
        num_items_in_batch: labelled tokens of the whole optimizer step; if None, of the batch.
    """
    logits = outputs.logits[..., 0].float()
    labelled = labels != NO_LOSS
    total = F.binary_cross_entropy_with_logits(
        logits[labelled], labels[labelled].to(logits.dtype), reduction="sum"
    )
    count = labelled.sum() if num_items_in_batch is None else num_items_in_batch
    return total / torch.as_tensor(count, device=total.device).clamp(min=1)


def pair_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None = None
) -> torch.Tensor:
    """Bradley-Terry: mean of -log sigmoid(reward of the chosen - of the rejected solution).

    (The official code subtracts the other way round and so trains the opposite.)

    Args:
        outputs: with ``logits`` of shape (2 * pairs, tokens, 1).
        labels: (2 * pairs, tokens): 1 at the last token of a chosen solution, 0 at that of the
            rejected one in the row after it, ``NO_LOSS`` elsewhere.
        num_items_in_batch: labelled tokens of the whole optimizer step, two per pair.
    """
    labelled = labels != NO_LOSS
    rewards = outputs.logits[..., 0].float()[labelled]
    chosen = labels[labelled] > 0.5
    losses = -F.logsigmoid(rewards[chosen] - rewards[~chosen])
    count = 2 * len(losses) if num_items_in_batch is None else num_items_in_batch
    return 2 * losses.sum() / torch.as_tensor(count, device=losses.device).clamp(min=1)


def auc_validation(
    rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, settings: TrainRMSettings
) -> Validation:
    """ROC AUC of steps for a PRM, of outcomes for an ORM, and the mean of both for an OPRM.

    ``rows`` are labelled solutions, each with the ``kind`` of its labels; at most 2,000 are drawn,
    and those over the maximum length are left out.

    Raises:
        InputError: a metric needs right and wrong labels, and one of them is missing.
    """
    if len(rows) > _MAX_VALIDATION_ROWS:
        rows = random.Random(f"validation {settings.seed}").sample(rows, _MAX_VALIDATION_ROWS)
    encoded = [(row, _encode_labelled(tokenizer, row)) for row in rows]
    encoded = [(row, e) for row, e in encoded if len(e.input_ids) <= settings.max_length]
    encoded.sort(key=lambda pair: -len(pair[1].input_ids))  # so that batches pad little
    # (row, token, whether it is right) of every label
    steps, outcomes = list[tuple[int, int, bool]](), list[tuple[int, int, bool]]()
    for index, (row, e) in enumerate(encoded):
        for step, label in enumerate(_labels(row, e)):
            is_outcome = step == len(e.step_positions)
            if label is None or (not is_outcome and row["kind"] == "orm"):
                continue  # in rows of outcome labels the steps have the label of the outcome
            position = e.outcome_position if is_outcome else e.step_positions[step]
            (outcomes if is_outcome else steps).append((index, position, label >= 0.5))
    metrics = {"prm": [steps], "orm": [outcomes], "oprm": [steps, outcomes]}[settings.kind]
    if any(len({right for _, _, right in labels}) < 2 for labels in metrics):
        raise InputError(
            "validation needs right and wrong labels, and one kind is missing",
            hint="raise --validation-share, give rows of validation problems, or --patience 0",
        )
    arrays = [np.array(labels).T for labels in metrics]

    def mean_auc(logits: NDArray[Any]) -> float:
        scores = torch.from_numpy(logits[..., 0]).float().sigmoid().numpy()
        return float(np.mean([roc_auc(scores[i, at], right == 1) for i, at, right in arrays]))

    held_out = [unlabelled_row(e.input_ids) for _, e in encoded]
    return Validation(held_out, mean_auc, settings.eval_steps, settings.patience)
