"""Recipes: checked with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline import recipe

GOOD = """\
name: x
stages:
  split:
    run: split
    settings: {max_level: 3}
  sft:
    run: sft
    inputs: {problems: split, model: base/model}
scales:
  tiny:
    settings:
      sft: {epochs: 1}
  paper:
    substitutes: {sft: some/model}
"""


def load(tmp_path: Path, text: str, scale: recipe.Scale = "tiny") -> recipe.Recipe:
    file = tmp_path / "r.yaml"
    file.write_text(text)
    return recipe.load(file, scale)


def test_scales_change_settings_and_stand_in_for_stages(tmp_path: Path) -> None:
    tiny = load(tmp_path, GOOD)
    assert list(tiny.stages) == ["split", "sft"]
    assert tiny.stages["sft"].settings.epochs == 1  # type: ignore[attr-defined]
    assert tiny.stages["sft"].inputs == {"problems": ("split",), "model": ("base/model",)}
    assert list(load(tmp_path, GOOD, "paper").stages) == ["split"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "max_level: 3",
            "max_levl: 3",
            "r.yaml:5: unknown key 'max_levl'; did you mean 'max_level'?",
        ),
        (
            "max_level: 3",
            "max_level: three",
            "r.yaml:5: max_level: Input should be a valid integer",
        ),
        (
            "max_level: 3",
            "max_level: 0",
            "r.yaml:5: max_level: Input should be greater than or equal",
        ),
        ("max_level: 3", "max_level: true", "r.yaml:5: max_level: true and false are no values"),
        ("run: sft", "run: stf", "r.yaml:7: no command 'stf'; did you mean 'sft'?"),
        (
            "problems: split",
            "problem: split",
            "r.yaml:8: sft has no input 'problem'; did you mean 'problems'?",
        ),
        (
            "      sft: {epochs",
            "      sfft: {epochs",
            "r.yaml:12: no stage 'sfft'; did you mean 'sft'?",
        ),
        ("epochs: 1", "epoch: 1", "r.yaml:12: unknown key 'epoch'; did you mean 'epochs'?"),
        ("name: x", "nam: x", "r.yaml"),
        ("name: x", "name: x\nname: y", "r.yaml:2: key 'name' stands twice"),
        ("name: x", "name: [", "r.yaml:"),
        ("name: x", "name: ../x", "r.yaml:1: name:"),
        ("model: base/model", "model: split", "r.yaml:8: model cannot be the split stage 'split'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError) as error:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert message in str(error.value)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


def test_every_recipe_of_the_project_is_valid_at_every_scale() -> None:
    files = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
    assert files
    for file in files:
        for scale in ("tiny", "paper"):
            assert recipe.load(file, scale).stages


def test_recipes_are_found_by_name_anywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert recipe.find("quickstart") == recipe.find("recipes/quickstart.yaml")
    with pytest.raises(InputError, match=r"one of: .*quickstart"):
        recipe.find("quikstart")


def test_a_scale_changes_what_is_read(tmp_path: Path) -> None:
    text = GOOD.replace(
        "    settings:\n      sft: {epochs",
        "    inputs: {sft: {model: b/c}}\n    settings:\n      sft: {epochs",
    )
    assert load(tmp_path, text).stages["sft"].inputs["model"] == ("b/c",)
    with pytest.raises(InputError, match=r"r.yaml:11: sft has no input 'modl'"):
        load(tmp_path, text.replace("{model: b/c}", "{modl: b/c}"))


def test_overrides_are_all_that_a_command_line_changes(tmp_path: Path) -> None:
    text = GOOD.replace("run: sft\n", "run: sample\n").replace("{epochs: 1}", "{n: 8}")
    stage = load(tmp_path, text).stages["sft"]
    assert stage.overrides == ()
    greedy = stage.with_changes({"preset": "greedy"}, {}, "x")
    assert set(greedy.overrides) == {"n", "temperature", "top_k"}
    assert stage.with_changes({"n": "8"}, {}, "x").overrides == ()
    assert stage.with_changes({}, {"model": ("c/d",)}, "x").overrides == ("model",)


def test_a_command_stands_for_the_stage_of_its_name(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD)
    assert loaded.of_command("sft").name == "sft"
    with pytest.raises(InputError, match="no sample stages"):
        loaded.of_command("sample")
    with pytest.raises(InputError, match="no sft stage 'x'"):
        loaded.of_command("sft", "x")
