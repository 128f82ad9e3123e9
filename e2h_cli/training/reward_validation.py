"""Early stopping of reward models: ROC AUC on held-out labelled solutions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from e2h_cli.common.errors import InputError
from e2h_cli.evaluation.rm_metrics import roc_auc
from e2h_cli.settings.train_rm import TrainRMSettings
from e2h_cli.training.reward_rows import encode_labelled
from e2h_cli.training.token_rows import unlabelled_row
from e2h_cli.training.trainer import Validation

_MAX_ROWS = 2000


def auc_validation(
    rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, settings: TrainRMSettings
) -> Validation:
    """ROC AUC of steps for a PRM, of outcomes for an ORM, and the mean of both for an OPRM.

    ``rows`` are labelled solutions, each with the ``kind`` of its labels; at most 2,000 are drawn,
    and those over the maximum length are left out.

    Raises:
        InputError: a metric needs right and wrong labels, and one of them is missing.
    """
    if len(rows) > _MAX_ROWS:
        rows = random.Random(f"validation {settings.seed}").sample(rows, _MAX_ROWS)
    encoded = [(row, encode_labelled(tokenizer, row)) for row in rows]
    encoded = [(row, e) for row, e in encoded if len(e.input_ids) <= settings.max_length]
    encoded.sort(key=lambda pair: -len(pair[1].input_ids))  # so that batches pad little
    # (row, token, whether it is right) of every label
    steps, outcomes = list[tuple[int, int, bool]](), list[tuple[int, int, bool]]()
    for index, (row, e) in enumerate(encoded):
        for step, label in enumerate(row["labels"]):
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
