"""Settings of ``e2h sft``."""

from __future__ import annotations

from pydantic import Field

from e2h_cli.settings.base import Levels, SupervisedSettings


class SftSettings(SupervisedSettings):
    """Settings of ``e2h sft``."""

    levels: Levels = Field("easy", description="Whose reference solutions are trained on.")
