"""Inputs of finished stages, by their records."""

from __future__ import annotations

from pathlib import Path

from e2h_cli.pipeline.lineage import input_path, input_record
from e2h_cli.pipeline.run_folder import ResolvedInput, StageFolder


def test_the_record_of_a_stage_of_the_same_run(mini_run: Path) -> None:
    assert input_path(mini_run / "rerank", "samples") == mini_run / "sample"
    assert input_record(mini_run / "sample", "model")["command"] == "sft"


def test_inputs_from_elsewhere(tmp_path: Path) -> None:
    inputs = {"model": [ResolvedInput("org/model", "hub:org/model")],
              "samples": [ResolvedInput(str(tmp_path / "other"), "")], "votes": []}  # fmt: skip
    StageFolder(tmp_path / "stage").start("rerank", {}, inputs)
    assert input_path(tmp_path / "stage", "model") == Path("org/model")
    assert input_record(tmp_path / "stage", "model") == {}
    assert input_path(tmp_path / "stage", "samples") == tmp_path / "other"
    for name in ("votes", "problems"):
        assert input_path(tmp_path / "stage", name) is None
    assert input_record(tmp_path / "no-stage", "model") == {}
