"""Recipes: checked with file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline import recipe
from e2h_cli.pipeline.recipe_file import Scale, find

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


def load(tmp_path: Path, text: str, scale: Scale = "tiny") -> recipe.Recipe:
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


def test_recipes_are_found_by_name_anywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("quickstart") == find("recipes/quickstart.yaml")
    with pytest.raises(InputError, match=r"one of: .*quickstart"):
        find("quikstart")


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


DEFAULTS = """\
name: x
defaults:
  rl: {max_tokens: 1, steps: 2, iterations: 3, kl_coef: 0.1}
stages:
  rl: {run: rl, inputs: {model: a/b}, settings: {max_tokens: 3}}
  dpo: {run: rl, inputs: {model: a/b}, settings: {algo: dpo}}
  paper: {run: rl, inputs: {model: a/b}, settings: {preset: paper}}
scales:
  tiny:
    defaults: {rl: {max_tokens: 2, kl_coef: 0.2}}
    settings: {rl: {kl_coef: 0.4}}
"""


def test_defaults_of_a_command_come_before_what_a_stage_says(tmp_path: Path) -> None:
    stages = load(tmp_path, DEFAULTS).stages
    rl, dpo, paper = (stages[name].settings.model_dump() for name in stages)
    # Default, default of the scale, stage, stage in the scale: the later wins.
    assert (rl["steps"], rl["max_tokens"], rl["kl_coef"]) == (2, 3, 0.4)
    assert (dpo["max_tokens"], dpo["iterations"]) == (2, 3)
    # What is written out wins over a preset, also as a default.
    assert (paper["steps"], paper["kl_coef"], paper["top_k"]) == (2, 0.2, 50)
    # Other algorithms' defaults are left out.
    assert "steps" not in dpo
    assert "iterations" not in rl


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("iterations: 3", "iteration: 3",
         "r.yaml:3: unknown key 'iteration'; did you mean 'iterations'?"),
        ("iterations: 3", "iterations: 0", "r.yaml:3: iterations: Input should be greater"),
        ("  rl: {max_tokens: 1", "  lr: {max_tokens: 1",
         "r.yaml:3: no command 'lr'; known: split, "),
        ("{rl: {max_tokens: 2", "{rl: {steps: [], max_tokens: 2", "r.yaml:10: steps: Input should"),
        ("{rl: {kl_coef: 0.4}}", "{dpo: {kl_coef: 0.4}}",
         "r.yaml:11: kl_coef is a setting of ppo and grpo, not of dpo"),
        ("name: x", "name: x\nshow: [dop]", "r.yaml:2: no stage 'dop'; did you mean 'dpo'?"),
        ("model: a/b}, settings: {max", "model: dop}, settings: {max",
         "r.yaml:5: model: no stage 'dop'; did you mean 'dpo'?"),
        ("settings: {max_tokens: 3}", "tags: {size: 7}", "r.yaml:5: stages.rl.tags.size: Input"),
    ],
)  # fmt: skip
def test_mistakes_in_defaults_views_and_tags(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert DEFAULTS.count(old) == 1
    with pytest.raises(InputError) as error:
        load(tmp_path, DEFAULTS.replace(old, new))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


ORDER = """\
name: x
show: [late, first]
stages:
  first: {run: split}
  other: {run: split}
  model: {run: sft, inputs: {problems: first, model: a/b, rows: rows}}
  rows: {run: supervise, inputs: {problems: first, samples: samples}}
  samples: {run: sample, inputs: {problems: first, model: a/b}}
  late: {run: sample, inputs: {problems: first, model: model}}
scales: {tiny: {}, paper: {substitutes: {late: nothing}}}
"""


def test_a_view_runs_what_it_shows_and_what_that_needs(tmp_path: Path) -> None:
    """A stage comes after those that it reads, wherever it stands."""
    names = [stage.name for stage in load(tmp_path, ORDER).order]
    assert names == ["first", "samples", "rows", "model", "late"]
    everything = load(tmp_path, ORDER.replace("show: [late, first]\n", ""))
    assert [stage.name for stage in everything.order][:3] == ["first", "other", "samples"]
    # What another model stands for is not shown.
    assert [stage.name for stage in load(tmp_path, ORDER, "paper").order] == ["first"]


def test_several_shown_stages_come_one_after_the_other(tmp_path: Path) -> None:
    loaded = load(tmp_path, ORDER.replace("[late, first]", "[rows, other, late]"))
    names = [stage.name for stage in loaded.order]
    assert names == ["first", "samples", "rows", "other", "model", "late"]


def test_a_thousand_stages_in_a_row_are_ordered_and_more_refused(tmp_path: Path) -> None:
    def row(count: int) -> str:
        stages = (f"  s{i}: {{run: sft, inputs: {{model: s{i + 1}}}}}\n" for i in range(count - 1))
        last = f"  s{count - 1}: {{run: sft, inputs: {{model: a/b}}}}\n"
        return f"name: x\nstages:\n{''.join(stages)}{last}scales: {{tiny: {{}}}}\n"

    names = [stage.name for stage in load(tmp_path, row(1000)).order]
    assert names == [f"s{i}" for i in reversed(range(1000))]
    with pytest.raises(InputError, match="has 1001 stages"):
        load(tmp_path, row(1001))
