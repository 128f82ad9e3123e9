"""What differs between two runs, and tests on the problems of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.evaluation.statistics import compare
from e2h_cli.pipeline.run_diff import Change, diff_runs
from tests.pipeline.fake_runs import add_eval, make_run, make_stage


def test_equal_runs_do_not_differ(tmp_path: Path) -> None:
    found = diff_runs(make_run(tmp_path / "a"), make_run(tmp_path / "b"))
    assert (found.settings, found.inputs, found.versions, found.figures) == ([], [], [], [])
    assert (found.only_a, found.only_b) == ([], [])


def test_settings_and_stages(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b", temperature=1.0)
    make_stage(b, "greedy", "sample", {"problems": ["split"], "model": ["sft"]}, n=1)
    found = diff_runs(a, b)
    assert found.settings == [Change("sample", "temperature", 0.7, 1.0)]
    assert (found.only_a, found.only_b) == ([], ["greedy"])


def test_inputs_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    make_stage(b, "sample", "sample", {"problems": ["split"], "model": ["split"]})
    monkeypatch.setattr("e2h_cli.pipeline.run_folder.versions", lambda: {"torch": "9"})
    make_stage(b, "sft", "sft", {"problems": ["split"], "model": []})
    found = diff_runs(a, b)
    assert found.inputs == [Change("sample", "model", "sft", "split")]
    changed = {(one.stage, one.name): one.b for one in found.versions}
    assert changed["sft", "torch"] == "9"
    assert changed["sft", "e2h"] is None
    assert all(stage == "sft" for stage, _ in changed)


def test_figures_have_the_paired_test_of_the_statistics(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    rng = np.random.default_rng(0)
    before, after = rng.random(40), np.minimum(rng.random(40) + 0.4, 1.0)
    add_eval(a, before.tolist())
    add_eval(b, after.tolist())
    smaller, one = diff_runs(a, b).figures
    expected = compare(after, before, 0.95)
    assert (smaller.main, one.main) == (False, True)
    assert (one.facets["method"], one.facets["n"], one.facets["size"]) == ("majority", 4, "small")
    assert one.difference == pytest.approx(100 * expected.difference)
    assert (one.low, one.high, one.p) == pytest.approx(
        (100 * expected.low, 100 * expected.high, expected.p)
    )
    assert one.p_holm == pytest.approx(one.p)
    assert (one.problems, smaller.p_holm) == (40, None)


def test_no_test_on_other_or_too_few_problems(tmp_path: Path) -> None:
    few_a, few_b = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    for run in (few_a, few_b):
        add_eval(run, [0.0, 1.0] * 5)
    assert {one.p for one in diff_runs(few_a, few_b).figures} == {None}

    a, b = make_run(tmp_path / "c"), make_run(tmp_path / "d")
    make_stage(b, "split", "split", text="others")
    for run in (a, b):
        add_eval(run, [0.0, 1.0] * 20)
    found = diff_runs(a, b)
    assert {one.p for one in found.figures} == {None}
    assert found.figures[0].difference == 0
    assert found.other_problems == ["eval"]


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run folder"):
        diff_runs(make_run(tmp_path / "a"), tmp_path)
