"""Settings of ``e2h train-rm``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from e2h_cli.settings.base import ShowTokensSettings, SupervisedSettings


class TrainRMSettings(SupervisedSettings, ShowTokensSettings):
    """Settings of ``e2h train-rm``."""

    kind: Literal["prm", "orm", "oprm"] = Field(
        "prm", description="Step labels, outcome labels, or both in one model (paper p.6)."
    )
    loss_on: Literal["every-token", "last-three", "separator"] = Field(
        "every-token", description="Which tokens of a labelled step carry loss."
    )
    loss: Literal["pointwise", "pairwise"] = Field(
        "pointwise",
        description="Labels of tokens, or Bradley-Terry on rows of prompt, chosen, rejected.",
    )
    patience: int = Field(
        0, ge=0, description="Stop after so many validations without a new best AUC; 0 is never."
    )
    eval_steps: int = Field(50, ge=1, description="Optimiser steps between validations.")
    validation_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the training problems held out for validation, beside the rows of "
        "validation problems.",
    )
