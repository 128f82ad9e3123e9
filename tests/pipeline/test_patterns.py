"""Patterns of stages, such as ``sft-*-large``, in scales and in inputs; tags of a scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline.recipe import Recipe
from e2h_cli.pipeline.recipe import load as load_recipe
from e2h_cli.pipeline.recipe_file import Scale

BASE = """\
name: base
stages:
  split: {run: split}
  sft-{levels}-{size}:
    repeat: {levels: [easy, all], size: [small, large]}
    run: sft
    inputs: {problems: split, model: a/b}
    tags: {levels: "{levels}", size: "{size}"}
  greedy-{model}:
    repeat: {model: [sft-easy-small, sft-easy-large, sft-all-small]}
    run: sample
    inputs: {problems: split, model: "{model}"}
scales:
  tiny:
    settings:
      sft-easy-large: {epochs: 5}
      sft-*: {epochs: 1, batch_size: 8}
      sft-*-large: {epochs: 2}
      sft-all-*: {batch_size: 16}
  paper:
    substitutes:
      sft-all-*: c/d
      sft-all-large: sft-easy-large
      greedy-*-large: greedy-sft-easy-small
    tags:
      sft-*: {size: 7b}
      sft-easy-large: {size: 34b, generator: SFT}
"""
VIEW = """\
extends: base.yaml
name: view
stages:
  sft-hard-large: {run: sft, inputs: {problems: split, model: a/b}}
  table:
    run: eval
    inputs: {problems: split, samples: ["greedy-*-large", "greedy-*"]}
"""


def load(folder: Path, scale: Scale = "tiny", view: str = VIEW, base: str = BASE) -> Recipe:
    (folder / "base.yaml").write_text(base)
    (folder / "view.yaml").write_text(view)
    return load_recipe(folder / "view.yaml", scale)


def settings(recipe: Recipe, stage: str) -> dict[str, Any]:
    return recipe.stages[stage].settings.model_dump(include={"epochs", "batch_size"})


def test_a_stage_wins_over_a_pattern_and_a_later_one_over_an_earlier(tmp_path: Path) -> None:
    recipe = load(tmp_path)
    assert settings(recipe, "sft-easy-small") == {"epochs": 1, "batch_size": 8}
    assert settings(recipe, "sft-easy-large") == {"epochs": 5, "batch_size": 8}
    assert settings(recipe, "sft-all-small") == {"epochs": 1, "batch_size": 16}
    assert settings(recipe, "sft-all-large") == {"epochs": 2, "batch_size": 16}
    # A stage of a view is one of those of the recipe that it extends.
    assert settings(recipe, "sft-hard-large") == {"epochs": 2, "batch_size": 8}


def test_what_stands_for_a_pattern(tmp_path: Path) -> None:
    recipe = load(tmp_path, "paper")
    assert [name for name in recipe.stages if "-all-" in name] == ["greedy-sft-all-small"]
    assert recipe.stages["greedy-sft-all-small"].inputs["model"] == ("c/d",)
    # Each once, in the order of the input's patterns and of the recipe.
    assert load(tmp_path).stages["table"].inputs["samples"] == (
        "greedy-sft-easy-large", "greedy-sft-easy-small", "greedy-sft-all-small"
    )  # fmt: skip
    assert recipe.stages["table"].inputs["samples"] == (
        "greedy-sft-easy-small", "greedy-sft-all-small"
    )  # fmt: skip


def test_tags_of_a_scale_are_put_on_those_of_the_stage(tmp_path: Path) -> None:
    tiny, paper = load(tmp_path), load(tmp_path, "paper")
    assert tiny.stages["sft-easy-large"].tags == {"levels": "easy", "size": "large"}
    assert paper.stages["sft-easy-large"].tags == {
        "levels": "easy", "size": "34b", "generator": "SFT"
    }  # fmt: skip
    assert paper.stages["sft-easy-small"].tags == {"levels": "easy", "size": "7b"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sft-*-large: {e", "sft-*-lage: {e", "base.yaml:18: no stage 'sft-*-lage'"),
        ("sft-*: {epochs: 1", "sft-*: {epoch: 1", "base.yaml:17: unknown key 'epoch'; did you me"),
        ("sft-*-large: {epochs: 2}", "sft-*-large: {epochs: 0}", "base.yaml:18: epochs: Input"),
        ('"greedy-*-large", "', '"greedy-*-lage", "',
         "view.yaml:7: no stage matches 'greedy-*-lage'; stages of sample have other names"),
        # Only stages of the right command match.
        ('"greedy-*-large", "', '"sft-*", "', "view.yaml:7: no stage matches 'sft-*'"),
    ],
)  # fmt: skip
def test_mistakes_in_patterns(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert (BASE + VIEW).count(old) == 1
    with pytest.raises(InputError) as error:
        load(tmp_path, view=VIEW.replace(old, new), base=BASE.replace(old, new))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
