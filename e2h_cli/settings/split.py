"""Settings of ``e2h split``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from e2h_cli.settings.base import Counts, Settings

# Of sources whose defaults are others: programs have levels 1 to 3, of which 1 is easy; the paper's
# test set is a draw from that of APPS (p.10).
_BY_SOURCE: dict[str, dict[str, Any]] = {
    "programs": {
        "max_level": 1,
        "train_counts": [1200, 600, 600],
        "test_counts": [100, 300, 100],
    },
    "apps": {"max_level": 1, "test_counts": [100, 300, 100]},
}


class SplitSettings(Settings):
    """Settings of ``e2h split``."""

    source: Literal["chains", "math", "programs", "apps"] = Field(
        "chains",
        description="Where problems come from: made-up ones (chain arithmetic, or programs on "
        "lists), MATH, or APPS.",
    )
    max_level: int = Field(
        3,
        ge=1,
        description="Problems up to this level are easy (paper p.4: 3; of programs and apps 1).",
    )
    validation_size: int | None = Field(
        None, ge=0, description="Size of the validation set; as many as the test set if not given."
    )
    train_counts: Counts = Field(
        [500, 700, 800, 400, 400],
        description="Made-up problems: training problems of level 1, 2, ...",
    )
    test_counts: Counts = Field(
        [40, 40, 40, 100, 100],
        description="Test problems of level 1, 2, ..., made up, or drawn from those of APPS "
        "(paper p.10: 100,300,100).",
    )

    @classmethod
    def expand_preset(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values with the defaults of their source; explicit values win."""
        return {**_BY_SOURCE.get(str(values.get("source")), {}), **values}
