"""The status of stages without a recipe at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.common.folder_lock import locked
from e2h_cli.pipeline.recipe_file import comes_with_e2h, find
from e2h_cli.pipeline.run_folder import RunFolder
from e2h_cli.pipeline.run_listing import find_runs, list_run, size_of
from tests.pipeline.fake_runs import make_run, make_stage, start_stage


def statuses(run: Path) -> dict[str, tuple[str, str]]:
    return {stage.name: (stage.status, stage.reason) for stage in list_run(run).stages}


def test_a_whole_run_is_up_to_date(tmp_path: Path) -> None:
    state = list_run(make_run(tmp_path / "run"))
    assert [stage.status for stage in state.stages] == ["up to date"] * 3
    assert state.about == {"experiment": "fake", "scale": "tiny", "seed": 0}
    assert {stage.seconds for stage in state.stages} == {2.0}
    assert state.size == size_of(tmp_path / "run") > 1000


def test_a_changed_output_makes_all_that_read_it_out_of_date(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "sft" / "out.txt").write_text("other")
    assert statuses(run) == {
        "split": ("up to date", ""),
        "sft": ("out of date", "out.txt has changed"),
        "sample": ("out of date", "sft is out of date"),
    }


def test_a_stage_that_was_made_anew_makes_its_readers_out_of_date(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    make_stage(run, "sft", "sft", {"problems": ["split"]}, "other")
    assert statuses(run)["sample"] == ("out of date", "sft has changed")


def test_unfinished_failed_and_damaged(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    start_stage(run, "rerank", "rerank", {"samples": ["sample"]})
    start_stage(run, "eval", "eval").fail("no memory", 1.0)
    record = run / "split" / "stage.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "seconds": 9}))
    found = statuses(run)
    assert found["rerank"][0] == "unfinished"
    assert found["eval"] == ("failed", "no memory")
    assert found["split"] == ("damaged", "was changed since e2h wrote it")
    assert found["sft"] == ("out of date", "split is damaged")


def test_inputs_from_outside(tmp_path: Path) -> None:
    from e2h_cli.common.files import fingerprint
    from e2h_cli.pipeline.run_folder import ResolvedInput

    file, run = tmp_path / "data.jsonl", make_run(tmp_path / "run")
    file.write_text("a")
    stage = RunFolder(run).stage("own")
    stage.start("sft", {}, {"rows": [ResolvedInput(str(file), fingerprint(file))],
                            "model": [ResolvedInput("a/b", "hub:a/b")]})  # fmt: skip
    stage.finish({}, 1.0)
    assert statuses(run)["own"] == ("up to date", "")
    file.write_text("b")
    assert statuses(run)["own"] == ("out of date", f"{file} has changed")
    file.unlink()
    assert statuses(run)["own"] == ("out of date", f"{file} is not there")


def test_other_settings_of_a_recipe_of_e2h(tmp_path: Path) -> None:
    run = tmp_path / "run"
    RunFolder(run).path.mkdir()
    RunFolder(run).describe("experiment", "tiny", 0)
    settings = {"max_level": 2}
    stage = RunFolder(run).stage("split")
    stage.start("split", settings, {}, recipe="experiment")
    stage.finish({}, 1.0)
    assert statuses(run)["split"] == ("out of date", "max_level: 2 -> 3")
    # What a command line has set is not held against the recipe.
    stage.start("split", settings, {}, ["max_level"], recipe="experiment")
    stage.finish({}, 1.0)
    assert statuses(run)["split"] == ("up to date", "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/locks")
def test_a_stage_that_another_process_works_at_is_running(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    code = (
        "import sys, pathlib; from e2h_cli.common.folder_lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), '.lock', shared=False):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(run / "sft")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert statuses(run)["sft"] == ("running", f"process {child.pid}")
        child.communicate("")
    assert statuses(run)["sft"][0] == "up to date"


def test_a_list_takes_no_lock(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with locked(run / "sft", ".lock", shared=False):
        list_run(run)


def test_sizes_do_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 100_000)
    run = make_run(tmp_path / "run")
    before = size_of(run)
    (run / "link").symlink_to(tmp_path / "big")
    (run / "folder").symlink_to(tmp_path)
    assert size_of(run) < before + 1000


def test_runs_of_a_folder(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "a")
    (tmp_path / "runs" / "no-run").mkdir()
    assert [run.name for run in find_runs(tmp_path / "runs")] == ["a"]
    with pytest.raises(InputError, match="no such folder"):
        find_runs(tmp_path / "none")
    with pytest.raises(InputError, match="no run folder"):
        list_run(tmp_path)


def test_a_recipe_of_the_user_s_own_is_not_taken_for_that_of_e2h(tmp_path: Path) -> None:
    """``e2h recipes copy experiment`` makes a file of the same name."""
    run = tmp_path / "run"
    (tmp_path / "experiment.yaml").write_text("name: experiment\n")
    assert not comes_with_e2h("experiment", tmp_path / "experiment.yaml")
    assert comes_with_e2h("experiment", find("experiment"))
    RunFolder(run).path.mkdir()
    RunFolder(run).describe("experiment", "tiny", 0)
    stage = RunFolder(run).stage("split")
    stage.start("split", {"max_level": 2}, {}, recipe="experiment", packaged=False)
    stage.finish({}, 1.0)
    assert statuses(run)["split"] == ("up to date", "")
