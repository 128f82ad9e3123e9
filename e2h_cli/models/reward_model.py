"""The reward model of e2h: a token classifier with one logit per token, sigmoid = P(correct).

Its config has an entry ``e2h`` that says which labels it was trained on and at which tokens its
scores are read.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForTokenClassification, PreTrainedModel

from e2h_cli.common.errors import InputError
from e2h_cli.data.template import TEMPLATE_NAME
from e2h_cli.models.loading import device, dtype, load_complete, load_config, load_pretrained


def new_reward_model(name_or_path: str, kind: str, precision: str = "fp32") -> PreTrainedModel:
    """A base model with a zero-initialised head: every score starts at one half (paper p.6-7).

    No dropout in front of the head.

    It stays on the CPU: the trainer moves it, or shards it over GPUs that could not hold it whole.

    ``kind`` is "prm", "orm", "oprm", or "value" for the value model of PPO.

    Raises:
        InputError: no model there, or its architecture has no token classifier.
    """
    config = load_config(name_or_path)
    config.num_labels = 1
    # transformers puts dropout of 0.1 in front of the head of a token classifier. The paper has
    # none, and with it the gradient of a batch depends on how it is cut into micro batches.
    config.classifier_dropout = 0.0
    model = load_pretrained(
        AutoModelForTokenClassification,
        name_or_path,
        "base of the reward model",
        config=config,
        dtype=dtype(precision),
    )
    for parameter in score_head(model).parameters():
        torch.nn.init.zeros_(parameter)
    model.config.e2h = {
        "kind": kind,
        "template": TEMPLATE_NAME,
        "step_score_at": "token that holds the last character of the separator after the step",
        "outcome_score_at": "end-of-text token, or the last token of an unfinished solution",
    }
    return model


def load_reward_model(name_or_path: str, precision: str = "auto") -> PreTrainedModel:
    """A reward model that ``e2h train-rm`` made. Raises InputError for any other model."""
    require_template(load_config(name_or_path), name_or_path)
    model = load_complete(AutoModelForTokenClassification, "reward model", name_or_path, precision)
    return model.to(device())


def require_template(config: Any, name_or_path: str) -> None:
    """Raise InputError unless it is a reward model of e2h, trained on the template of this e2h."""
    description = describe(config, name_or_path)
    if description["template"] != TEMPLATE_NAME:
        raise InputError(
            f"trained on template {description['template']!r}, this e2h writes {TEMPLATE_NAME!r}",
            where=name_or_path,
        )


def describe(config: Any, name_or_path: str) -> dict[str, Any]:
    """The ``e2h`` entry of a reward model's config. Raises InputError if there is none."""
    description = getattr(config, "e2h", None)
    if not isinstance(description, dict) or "kind" not in description:
        raise InputError(
            "not a reward model of e2h: its config has no 'e2h' entry",
            where=name_or_path,
            hint="make one with: e2h train-rm",
        )
    return description


def score_head(model: PreTrainedModel) -> Any:
    """The linear layer of a classifier; architectures name it ``score`` or ``classifier``."""
    return model.score if hasattr(model, "score") else model.classifier
