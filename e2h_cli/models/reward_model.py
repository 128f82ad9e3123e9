"""The reward model: a token classifier with one logit per token, sigmoid = P(correct).

What it was trained on and where its scores are read stand in its config under ``e2h``, so that no
reader has to guess.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForTokenClassification, PreTrainedModel

from e2h_cli.common.errors import InputError
from e2h_cli.data.template import TEMPLATE_NAME
from e2h_cli.models.loading import _check_place, _loaded, device, dtype, load_config

READ_STEP = "token that holds the last character of the separator after the step"
READ_OUTCOME = "end-of-text token, or the last token of an unfinished solution"


def new_reward_model(place: str, kind: str, precision: str = "fp32") -> PreTrainedModel:
    """A base model with a zero-initialised head: every score starts at one half (paper p.6-7).

    It stays on the CPU: the trainer places it, or spreads it over GPUs none of which could hold it.

    Raises:
        InputError: no model there, or its architecture has no token classifier.
    """
    _check_place(place)
    model = _loaded(
        AutoModelForTokenClassification,
        place,
        "base of the reward model",
        num_labels=1,
        dtype=dtype(precision),
    )
    head = model.score if hasattr(model, "score") else model.classifier
    torch.nn.init.zeros_(head.weight)
    if head.bias is not None:
        torch.nn.init.zeros_(head.bias)
    model.config.e2h = {
        "kind": kind,
        "template": TEMPLATE_NAME,
        "step_score_at": READ_STEP,
        "outcome_score_at": READ_OUTCOME,
    }
    return model


def load_reward_model(place: str, precision: str = "auto") -> PreTrainedModel:
    """A reward model that ``e2h train-rm`` made. Raises InputError for anything else."""
    description = describe(load_config(place), place)
    if description["template"] != TEMPLATE_NAME:
        raise InputError(
            f"trained on template {description['template']!r}, this e2h writes {TEMPLATE_NAME!r}",
            where=place,
        )
    model = _loaded(AutoModelForTokenClassification, place, "reward model", dtype=dtype(precision))
    return model.to(device())


def describe(config: Any, place: str) -> dict[str, Any]:
    """What a reward model's config says of it. Raises InputError where it is no reward model."""
    description = getattr(config, "e2h", None)
    if not isinstance(description, dict) or "kind" not in description:
        raise InputError(
            "not a reward model of e2h: its config has no 'e2h' entry",
            where=place,
            hint="make one with: e2h train-rm",
        )
    return description
