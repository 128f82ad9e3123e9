"""The run folder: what may be deleted, what counts as up to date, what is recorded."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline.run_folder import RunFolder, StageFolder
from tests.conftest import MINI, Cli, Done, assert_one_line, copy_stages, e2h


def mini(*arguments: str | Path, run: Path) -> Done:
    return e2h(*arguments, "--recipe", MINI, "--run-dir", run, cwd=run.parent)


def record(run: Path, stage: str) -> dict:
    return json.loads((run / stage / "stage.json").read_text())


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/abs", "a\\b", "A", "x" * 101, "-a"])
def test_a_stage_name_cannot_lead_out_of_the_run_folder(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError):
        RunFolder(tmp_path).stage(name)
    neighbour = tmp_path / "neighbour.txt"
    neighbour.write_text("mine")
    quoted = json.dumps(name)
    (tmp_path / "r.yaml").write_text(
        f"name: r\nstages:\n  {quoted}: {{run: split}}\nscales: {{tiny: {{}}}}\n"
    )
    assert_one_line(cli("run", "r.yaml", "--run-dir", "runs/r"), "r.yaml:3", "no name of a stage")
    assert neighbour.read_text() == "mine"
    assert not (tmp_path / "runs").exists()


def test_nothing_is_deleted_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/sft").symlink_to(elsewhere)
    with pytest.raises(InputError, match="symbolic link"):
        StageFolder(tmp_path / "run/sft").clear()
    inside = tmp_path / "run/split"
    inside.mkdir()
    (inside / "link").symlink_to(elsewhere)
    StageFolder(inside).clear()
    assert not list(inside.iterdir())
    assert (elsewhere / "precious").read_text() == "mine"


def test_a_lock_that_is_a_link_is_refused(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "run/split").mkdir(parents=True)
    (tmp_path / "run/split/.lock").symlink_to(target)
    assert_one_line(cli("split", "--run-dir", "run"), ".lock")
    assert target.read_text() == "mine"


def test_finished_outputs_are_looked_at_again(mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "sft")
    for file in run.rglob("*.*"):
        os.utime(file)  # other times alone are no change
    assert "is up to date" in mini("sft", run=run).stdout

    (run / "sft/model.safetensors").unlink()
    assert_one_line(mini("sft", run=run), "model.safetensors is missing", "--force")
    assert_one_line(
        mini("sample", run=run), "sft: model.safetensors is missing", "e2h sft", "--force"
    )
    done = mini("sft", "--force", run=run)
    assert done.returncode == 0, done.stderr
    assert (run / "sft/model.safetensors").is_file()

    test = run / "split/test.jsonl"
    test.write_text(test.read_text().replace('"answer": "', '"answer": "1'))
    assert_one_line(mini("split", run=run), "test.jsonl has changed")
    assert_one_line(mini("sample", run=run), "split: test.jsonl has changed")


def test_scores_that_were_changed_are_not_preserved(mini_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(mini_run, run)
    scores = run / "rerank/scores/scores.parquet"
    before = scores.read_bytes()
    scores.write_bytes(before[:100])
    done = e2h("run", MINI, "--run-dir", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "scores/scores.parquet has changed" in done.stdout
    assert scores.read_bytes() == before


def test_run_deletes_no_work_of_a_command_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert mini("split", "--max-level", "2", run=run).returncode == 0
    done = e2h("run", MINI, "--run-dir", run, "--until", "split", cwd=tmp_path)
    assert_one_line(done, "split was made by a command line with its own max_level", "--force")
    assert record(run, "split")["settings"]["max_level"] == 2
    done = e2h("run", MINI, "--run-dir", run, "--until", "split", "--force", cwd=tmp_path)
    assert done.returncode == 0
    assert record(run, "split")["settings"]["max_level"] == 3


@pytest.mark.parametrize("text", ["null", "[]", "{}", '{"settings": 3}', "{"])
def test_a_record_that_is_none_is_one_line(cli: Cli, tmp_path: Path, text: str) -> None:
    (tmp_path / "run/split").mkdir(parents=True)
    (tmp_path / "run/split/stage.json").write_text(text)
    assert_one_line(cli("split", "--run-dir", "run"), "stage.json")


def test_an_unexpected_error_is_one_line_and_recorded(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(context: object) -> None:
        raise ZeroDivisionError("a [bold]bug")

    monkeypatch.setattr("e2h_cli.stages.split.run", broken)
    done = cli("split", "--run-dir", "run")
    assert_one_line(done, "unexpected ZeroDivisionError: a [bold]bug", code=1)
    trace = Path(done.stderr.split()[-1])
    assert "in broken" in trace.read_text()
    trace.unlink()
    assert record(tmp_path / "run", "split")["status"] == "failed"


def test_markup_in_a_path_is_text(cli: Cli, tmp_path: Path) -> None:
    done = cli("split", "--recipe", MINI, "--run-dir", "x[/b]")
    assert done.returncode == 0, done.stderr
    assert "x[/b]/split" in done.stdout
    assert "x[/b]/split" in cli("split", "--recipe", MINI, "--run-dir", "x[/b]").stdout
