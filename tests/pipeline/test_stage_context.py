"""What a stage's function is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.base import Settings


@pytest.fixture
def context(tmp_path: Path) -> StageContext[Settings]:
    inputs = {"samples": [str(tmp_path / "run/sample")], "reward_model": []}
    return StageContext("rerank", Settings(), inputs, inputs, inputs, tmp_path / "run/rerank",
                        tmp_path / "run", "tiny")  # fmt: skip


def test_inputs_by_name(context: StageContext[Settings], tmp_path: Path) -> None:
    assert context.input_path("samples") == tmp_path / "run/sample"
    assert context.input_name("samples") == "sample"
    assert context.optional_input("reward_model") is None
    with pytest.raises(InputError, match="rerank needs reward_model; give --reward-model"):
        context.model_or_path("reward_model")


def test_verdicts_are_cached_for_the_user_not_in_the_run_folder(
    context: StageContext[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever hands over a run folder must not be able to hand over verdicts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert context.verdict_cache == tmp_path / "cache/e2h/verdicts.sqlite"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert context.verdict_cache == tmp_path / "home/.cache/e2h/verdicts.sqlite"
