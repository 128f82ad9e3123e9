"""How the inputs of a finished stage were made, by the records of the stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from e2h_cli.pipeline.run_folder import StageFolder


def input_path(stage: Path, name: str) -> Path | None:
    """The path of an input of a stage folder, or None where the record names none."""
    recorded = StageFolder(stage).record.get("inputs", {}).get(name)
    if not recorded:
        return None
    # A stage of the same run is recorded by its name, anything else by its path or Hub name.
    same_run = stage.parent / str(recorded[0]["path"])
    return same_run if same_run.is_dir() else Path(recorded[0]["path"])


def input_record(stage: Path, name: str) -> dict[str, Any]:
    """The record of the stage that made an input; empty where that is not known."""
    path = input_path(stage, name)
    return {} if path is None else StageFolder(path).record
