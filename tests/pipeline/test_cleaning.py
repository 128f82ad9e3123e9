"""What can be removed from a run, and what must never be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline.cleaning import Removable, find_removable, outermost, remove
from e2h_cli.pipeline.run_listing import list_run
from tests.pipeline.fake_runs import make_run, make_stage, start_stage


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with something of each kind, and links that lead out of it."""
    folder = make_run(tmp_path / "run")
    make_stage(folder, "rerank", "rerank", {"samples": ["sample"]})
    start_stage(folder, "train-rm", "train-rm")
    outside = tmp_path / "outside"
    (outside / "unfinished").mkdir(parents=True)
    (outside / "torn-checkpoint-1").write_text("mine")
    (outside / ".a.tmp").write_text("mine")
    for stage in ("sft", "train-rm"):
        (folder / stage / "unfinished" / "checkpoints").mkdir(parents=True)
        (folder / stage / "unfinished" / "checkpoints" / "weights").write_bytes(b"x" * 1000)
        (folder / stage / "unfinished" / "link").symlink_to(outside)
    (folder / ".results.json.abc.tmp").write_text("half")
    (folder / "train-rm" / "unfinished" / "torn-checkpoint-3").mkdir()
    (folder / "linked").symlink_to(outside)
    (folder / "split" / "unfinished").symlink_to(outside / "unfinished")
    (folder / ".b.tmp").symlink_to(outside / ".a.tmp")
    (folder / "notes.txt").write_text("of the user")
    return folder


def kinds(found: list[Removable], run: Path) -> dict[str, str]:
    return {one.path.relative_to(run).as_posix(): one.kind for one in found}


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_finds_what_e2h_has_left_and_no_link(run: Path) -> None:
    assert kinds(find_removable(run), run) == {
        ".results.json.abc.tmp": "leftover",
        "train-rm/unfinished/torn-checkpoint-3": "leftover",
        "sft/unfinished": "scratch",
        "train-rm/unfinished": "unfinished",
        "rerank": "rebuildable",
    }


def test_a_named_stage_goes_as_a_whole(run: Path) -> None:
    assert kinds(find_removable(run, ["sft"]), run)["sft"] == "stage"
    with pytest.raises(InputError, match="no stage 'nothing'"):
        find_removable(run, ["nothing"])


def test_removes_these_and_nothing_else(run: Path) -> None:
    outside = everything(run.parent / "outside")
    before = everything(run)
    found = outermost(find_removable(run))
    freed = remove(run, found)
    assert freed == sum(one.size for one in found) > 2000
    gone = before - everything(run)
    assert {path.split("/")[0] for path in gone} == {
        ".results.json.abc.tmp", "sft", "train-rm", "rerank",
    }  # fmt: skip
    assert {"sft/out.txt", "sft/stage.json", "train-rm/stage.json", "notes.txt"} <= everything(run)
    assert everything(run.parent / "outside") == outside
    assert {one.kind for one in find_removable(run)} == set()
    states = {stage.name: stage.status for stage in list_run(run).stages}
    assert states["sft"] == "up to date"


def test_nothing_counts_twice(run: Path) -> None:
    found = outermost(find_removable(run))
    assert "train-rm/unfinished/torn-checkpoint-3" not in kinds(found, run)


@pytest.mark.parametrize(
    "aim", ["../outside", "linked/unfinished", "linked", "sft/../../outside", "."]
)
def test_refuses_to_leave_the_run(run: Path, aim: str) -> None:
    path = run if aim == "." else run / aim
    with pytest.raises(InputError, match="out of the run folder"):
        remove(run, [Removable(path, "leftover", 0, "")])
    assert (run.parent / "outside" / ".a.tmp").read_text() == "mine"


def test_refuses_while_a_process_works_in_the_run(run: Path) -> None:
    code = (
        "import sys, pathlib; from e2h_cli.common.folder_lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), '.lock', shared=True):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(run / "sample")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="another e2h process"):
            remove(run, find_removable(run))
        assert (run / "sft" / "unfinished").is_dir()
        child.communicate("")
    assert remove(run, outermost(find_removable(run))) > 0


def test_a_damaged_record_keeps_its_stage(run: Path) -> None:
    (run / "sft" / "stage.json").write_text("{}")
    assert "sft/unfinished" not in kinds(find_removable(run), run)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / ".a.tmp").write_text("mine")
    with pytest.raises(InputError, match="no run folder"):
        find_removable(tmp_path)
