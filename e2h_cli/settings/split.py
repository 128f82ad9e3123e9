"""Settings of ``e2h split``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from e2h_cli.settings.base import Counts, Settings


class SplitSettings(Settings):
    """Settings of ``e2h split``."""

    source: Literal["chains", "math"] = Field(
        "chains", description="Where problems come from: chain arithmetic, or MATH."
    )
    max_level: int = Field(
        3, ge=1, description="Problems up to this level are easy (paper p.4: 3)."
    )
    validation_size: int | None = Field(
        None, ge=0, description="Size of the validation set; as many as the test set if not given."
    )
    train_counts: Counts = Field(
        [500, 700, 800, 400, 400], description="Chains only: training problems of level 1, 2, ..."
    )
    test_counts: Counts = Field(
        [40, 40, 40, 100, 100], description="Chains only: test problems of level 1, 2, ..."
    )
