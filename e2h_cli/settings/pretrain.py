"""Settings of ``e2h pretrain``."""

from __future__ import annotations

from pydantic import Field

from e2h_cli.settings.base import SupervisedSettings


class PretrainSettings(SupervisedSettings):
    """Settings of ``e2h pretrain``."""

    hidden_size: int = Field(128, ge=8, le=65_536, description="Width of the model.")
    num_layers: int = Field(4, ge=1, le=1000, description="Number of layers.")
    num_heads: int = Field(4, ge=1, le=1000, description="Number of attention heads.")
    documents: int = Field(20000, ge=1, description="Solutions in the pre-training corpus.")
    documents_per_row: int = Field(
        1,
        ge=1,
        description="Documents in one training row; with 5 the model learns to read 4 few-shot "
        "examples.",
    )
