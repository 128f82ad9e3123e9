"""``e2h validate`` and ``e2h recipes``."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2h_cli.pipeline.recipe_file import packaged
from tests.conftest import MINI, Cli, assert_one_line


@pytest.mark.parametrize("name", packaged())
def test_every_recipe_is_valid(cli: Cli, tmp_path: Path, name: str) -> None:
    done = cli("validate", name)
    assert done.returncode == 0, done.stderr
    scales = [line for line in done.stdout.splitlines() if not line.startswith("  note: ")]
    expected = ["tiny", "own", "small", "paper"]
    if name == "published":
        expected = ["own"]
    elif name in ("programs", "table3", "table6"):
        expected.remove("own")
    assert [line.partition(":")[0] for line in scales] == expected
    assert all(line.endswith(" stages") for line in scales)
    assert not list(tmp_path.iterdir())


def test_stages_are_counted_and_missing_files_are_notes(cli: Cli, tmp_path: Path) -> None:
    assert cli("validate", MINI).stdout == "tiny: 10 stages\n"
    shown = cli("validate", "table2").stdout
    assert shown.startswith("tiny: 39 of 168 stages\nown: 38 of 166 stages\n")
    assert "  note: sft (and 3 more stages) needs model: the model to start from\n" in shown
    missing = "  note: rows-easy-human reads data/prm800k/phase2_train.jsonl, which is not there\n"
    assert missing in shown
    (tmp_path / "data/prm800k").mkdir(parents=True)
    (tmp_path / "data/prm800k/phase2_train.jsonl").touch()
    assert missing not in cli("validate", "table2").stdout


def test_a_mistake_at_any_scale_is_one_line(cli: Cli, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "extends: quickstart\nname: r\nscales: {paper: {settings: {sft: {epoch: 1}}}}"
    )
    done = cli("validate", recipe)
    assert_one_line(done, "r.yaml:3: unknown key 'epoch'; did you mean 'epochs'?")
    assert done.stdout == ""
    assert_one_line(cli("validate", "quikstart"), "no such recipe", "quickstart")


def test_recipes_are_listed(cli: Cli) -> None:
    shown = cli("recipes").stdout
    for name in packaged():
        assert f" {name} " in shown
    assert "tiny, own, small, paper" in shown


@pytest.mark.parametrize("name", packaged())
def test_a_copy_works(cli: Cli, tmp_path: Path, name: str) -> None:
    done = cli("recipes", "copy", name, "mine.yaml")
    assert done.returncode == 0, done.stderr
    assert cli("validate", "mine.yaml").stdout == cli("validate", name).stdout
    assert "\nname: mine\n" in (tmp_path / "mine.yaml").read_text()


def test_a_copy_overwrites_nothing(cli: Cli, tmp_path: Path) -> None:
    assert cli("recipes", "copy", "table2").returncode == 0
    original = packaged()["table2"].read_text()
    copy = tmp_path / "table2.yaml"
    assert copy.read_text() == original
    copy.write_text("mine")
    assert_one_line(cli("recipes", "copy", "table2"), "table2.yaml: is there already", "--force")
    assert copy.read_text() == "mine"
    assert cli("recipes", "copy", "table2", "--force").returncode == 0
    assert copy.read_text() == original
    (tmp_path / "d").mkdir()
    assert_one_line(cli("recipes", "copy", "table2", "d", "--force"), "name another file")
    assert_one_line(cli("recipes", "copy", "tabel2"), "no recipe 'tabel2'", "'table2'")
