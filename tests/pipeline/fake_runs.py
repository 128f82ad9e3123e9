"""Run folders with real records, whose stages have made a line of text each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from e2h_cli.evaluation.measurements import Measurement
from e2h_cli.pipeline.registry import COMMANDS
from e2h_cli.pipeline.run_folder import ResolvedInput, RunFolder, StageFolder
from e2h_cli.reports.tidy_metrics import write_metrics, write_problems

Inputs = dict[str, list[str]]


def make_stage(
    run: Path,
    name: str,
    command: str,
    inputs: Inputs | None = None,
    text: str = "made",
    counts: dict[str, Any] | None = None,
    **settings: Any,
) -> StageFolder:
    """A finished stage that holds ``out.txt``; inputs are stages of the run, or paths."""
    stage = start_stage(run, name, command, inputs, **settings)
    (stage.path / "out.txt").write_text(text)
    stage.finish(counts or {}, 2.0)
    return stage


def start_stage(
    run: Path, name: str, command: str, inputs: Inputs | None = None, **settings: Any
) -> StageFolder:
    """A stage that was started, and not finished."""
    folder = RunFolder(run)
    run.mkdir(parents=True, exist_ok=True)
    folder.describe("fake", "tiny", 0)
    values = COMMANDS[command].settings.variant_for(settings).model_validate(settings)
    resolved = {
        key: [ResolvedInput(one, folder.stage(one).fingerprint) for one in many]
        for key, many in (inputs or {}).items()
    }
    folder.stage(name).start(command, values.model_dump(mode="json"), resolved, recipe="fake")
    return folder.stage(name)


def make_run(run: Path, *, text: str = "made", temperature: float = 0.7) -> Path:
    """A run of three stages: split, sft on the split, and samples of both."""
    make_stage(run, "split", "split")
    make_stage(run, "sft", "sft", {"problems": ["split"], "model": []}, text)
    make_stage(
        run, "sample", "sample", {"problems": ["split"], "model": ["sft"]}, temperature=temperature
    )
    return run


def add_eval(run: Path, accuracy: list[float]) -> None:
    """An eval stage with the accuracy of majority voting on each problem, half of them easy."""
    ids = [f"p{i}" for i in range(len(accuracy))]
    levels = [1 + 4 * (i % 2) for i in range(len(ids))]
    stage = start_stage(run, "eval", "eval", {"problems": ["split"], "samples": ["sample"]})
    rows = [
        {
            "seed": 0, "scale": "tiny", "stage": "sample", "size": "small", "group": "all",
            "metric": "accuracy", "method": "majority", "aggregate": "", "n": n,
            "value": 100 * sum(accuracy) / len(accuracy), "low": 0.0, "high": 100.0,
            "problems": len(ids), "grader": "exact 1",
        }
        for n in (2, 4)
    ]  # fmt: skip
    write_metrics(stage.path, rows)
    measured = [Measurement("sft", "", "majority", "", n, pa.array(accuracy).to_numpy())
                for n in (2, 4)]  # fmt: skip
    groups = pa.table({"id": ids, "level": levels, "subject": [""] * len(ids)})
    write_problems(stage.path, [("sample", ids, measured)], groups)
    stage.finish({"max_level": 3}, 1.0)
