"""ROC AUC on held-out rows, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.models.token_spans import encode
from e2h_cli.settings.train_rm import TrainRMSettings
from e2h_cli.training.reward_modeling import auc_validation
from tests import builders

TOKENS = builders.tokenizer("character")
STEPS = ["We add.", "So 1 + 2 = 3.", template.answer_block("3")]


def row(labels: list[Any], kind: str = "prm") -> dict[str, Any]:
    return {
        "id": "r",
        "prompt": template.prompt("1+2?"),
        "completions": STEPS,
        "labels": labels,
        "kind": kind,
    }


def logits(values: list[list[float]]) -> Any:
    """(rows, tokens, 1) with the values of a row at its two steps and its end; 9 elsewhere."""
    encoded = encode(TOKENS, template.prompt("1+2?"), template.completion(STEPS[:2], "3"))
    made = np.full((len(values), len(encoded.input_ids) + 3, 1), 9.0, dtype=np.float32)
    made[:, [*encoded.step_positions, encoded.outcome_position], 0] = values
    return made


@pytest.mark.parametrize(
    ("kind", "expected"),
    # Right steps score 2, 1 and wrong ones -1, 1: 3.5 of 4 pairs. The right outcome scores lower.
    [("prm", 3.5 / 4), ("orm", 0.0), ("oprm", 3.5 / 8)],
)
def test_auc_by_hand(kind: str, expected: float) -> None:
    rows = [row([True, False, True]), row([0.7, None, False]), row([False, None, None])]
    validation = auc_validation(rows, TOKENS, TrainRMSettings(kind=kind, patience=3))
    values = [[2.0, -1.0, 0.0], [1.0, 5.0, 1.0], [1.0, 5.0, 5.0]]
    assert validation.metric(logits(values)) == pytest.approx(expected)
    assert (validation.patience, validation.eval_steps) == (3, 50)


def test_steps_of_outcome_rows_are_no_step_labels() -> None:
    rows = [row([True, False, True]), row([False, False, False], "orm")]
    validation = auc_validation(rows, TOKENS, TrainRMSettings(kind="oprm", patience=1))
    # One pair of steps and one of outcomes, both in the right order.
    assert validation.metric(logits([[2.0, 1.0, 1.0], [9.0, 9.0, 0.0]])) == 1


def test_long_rows_are_left_out_and_the_longest_comes_first() -> None:
    short = {**row([True, False]), "completions": ["x", "y"]}
    long = row([True, False, None])
    settings = TrainRMSettings(patience=1, max_length=60)
    assert len(auc_validation([short, long], TOKENS, settings).rows) == 1
    both = auc_validation([short, long], TOKENS, TrainRMSettings(patience=1)).rows
    assert len(both[0].input_ids) > len(both[1].input_ids)


@pytest.mark.parametrize("rows", [[], [row([True, True, False])], [row([None, None, False])]])
def test_one_kind_of_label_is_no_validation(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(InputError, match="one kind is missing"):
        auc_validation(rows, TOKENS, TrainRMSettings(patience=1))
