"""Recipe files: what extends what, repetition, and mistakes with the file in which they stand."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import get_args

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline.recipe import Recipe, at_scale, load
from e2h_cli.pipeline.recipe_file import (
    RecipeEntry,
    Scale,
    ScaleEntry,
    StageEntry,
    packaged,
    read,
)
from tests.conftest import TESTS
from tests.mistakes import edited_recipe

BASE = """\
name: base
about: of the base
seed: 3
show: [split]
defaults:
  sample: {n: 2, max_tokens: 8}
stages:
  split: {run: split, settings: {max_level: 2}}
  sft: {run: sft, inputs: {problems: split, model: a/b}, tags: {size: 7b}}
  sample: {run: sample, inputs: {problems: split, model: sft}, settings: {stop: [x, y]}}
scales:
  tiny:
    settings: {sft: &few {epochs: 1}, sample: &texts {engine_arg: {a: 1}}}
  paper:
    substitutes: {sft: c/d}
"""
MIDDLE = """\
extends: base.yaml
name: middle
stages:
  sample: {settings: {stop: [z]}}
"""
TOP = """\
extends: middle.yaml
name: top
defaults:
  sample: {max_tokens: 16}
stages:
  sft: {inputs: {rows: rows.jsonl}, tags: {generator: SFT}}
  greedy: {run: sample, inputs: {problems: split, model: sft}, settings: {n: 1}}
scales:
  tiny:
    settings: {sft: {batch_size: 4}, sample: {engine_arg: {b: 2}}}
  paper:
    substitutes: {sft: sft}
"""
FILES = {"base.yaml": BASE, "middle.yaml": MIDDLE, "top.yaml": TOP}


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        load(path, "tiny")
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_recipe_is_put_on_top_of_those_that_it_extends(chain: Path) -> None:
    top = load(chain / "top.yaml", "tiny")
    assert (top.name, top.about, top.experiment, top.seed) == ("top", "", "base", 3)
    # The base shows one stage; a recipe shows what it says itself.
    assert [stage.name for stage in top.order] == ["split", "sft", "sample", "greedy"]
    sft, sample, greedy = (top.stages[name] for name in ("sft", "sample", "greedy"))
    assert sft.inputs == {"problems": ("split",), "model": ("a/b",), "rows": ("rows.jsonl",)}
    assert sft.tags == {"size": "7b", "generator": "SFT"}
    assert sft.settings.model_dump(include={"epochs", "batch_size"}) == {
        "epochs": 1, "batch_size": 4
    }  # fmt: skip
    # Values of settings replace others, they are not merged.
    values = sample.settings.model_dump(include={"n", "max_tokens", "stop", "engine_arg"})
    assert values == {"n": 2, "max_tokens": 16, "stop": ["z"], "engine_arg": {"b": 2}}
    assert greedy.settings.model_dump()["max_tokens"] == 16


def test_a_stage_that_stands_for_itself_is_run(chain: Path) -> None:
    assert "sft" not in load(chain / "middle.yaml", "paper").stages
    assert "sft" in load(chain / "top.yaml", "paper").stages


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("base.yaml", "max_level: 2", "max_levl: 2", "base.yaml:8: unknown key 'max_levl'; did"),
        ("base.yaml", "{epochs: 1}", "{epochs: 0}", "base.yaml:13: epochs: Input should be"),
        ("middle.yaml", "{stop: [z]}", "{stop: 1}", "middle.yaml:4: stop: not a list"),
        ("middle.yaml", "  sample: {s", "  sampel: {s",
         "middle.yaml:4: stages.sampel has no key 'run'; did you mean 'sample'?"),
        ("top.yaml", "{batch_size: 4}", "{batch_size: 0}", "top.yaml:10: batch_size: Input"),
        ("top.yaml", "name: top", "nam: top", "top.yaml: name: Field required"),
        ("top.yaml", "extends: middle", "extend: middle",
         "top.yaml:1: unknown key 'extend'; did you mean 'extends'?"),
        ("top.yaml", "extends: middle.yaml", "extends: middel.yaml",
         "top.yaml:1: extends: no file middel.yaml; give a path from the folder"),
        ("top.yaml", "extends: middle.yaml", "extends: quikstart",
         "top.yaml:1: extends: no recipe 'quikstart' comes with e2h; did you mean 'quickstart'?"),
        ("top.yaml", "extends: middle.yaml", "extends: [middle.yaml]", "top.yaml:1: extends: Inp"),
        ("top.yaml", "extends: middle.yaml", "extends: top.yaml",
         "top.yaml:1: recipes extend each other in a circle: top.yaml -> top.yaml"),
        ("base.yaml", "name: base", "name: base\nextends: ./top.yaml",
         "base.yaml:2: recipes extend each other in a circle: top.yaml -> middle.yaml -> base.yaml"
         " -> top.yaml"),
        ("top.yaml", "run: sample", "run: sampel", "top.yaml:7: no command 'sampel'"),
        ("top.yaml", "rows: rows.jsonl", "model: sample",
         "top.yaml:6: model cannot be the sample stage 'sample'"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_the_file_where_it_stands(
    chain: Path, file: str, old: str, new: str, message: str
) -> None:
    text = FILES[file]
    assert text.count(old) == 1
    (chain / file).write_text(text.replace(old, new))
    assert message in refused(chain / "top.yaml")


def test_a_chain_of_many_recipes_is_refused(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"r{i}.yaml").write_text(f"name: r{i}\nextends: r{i + 1}.yaml\n")
    assert "too many recipes: r0.yaml -> r1.yaml" in refused(tmp_path / "r0.yaml")


REPEATED = """\
name: x
stages:
  split: {run: split}
  sft-{level}-{size}:
    repeat: {level: [easy, all], size: [7, 34]}
    run: sft
    about: on {level} problems
    inputs: {problems: split, model: "org/{size}b", rows: ["rows-{level}.jsonl"]}
    settings: {max_steps: "{size}"}
    tags: {generator: "SFT {level}"}
  greedy-{model}:
    repeat: {model: [sft-easy-7, sft-all-7]}
    run: sample
    inputs: {problems: split, model: "{model}"}
    settings: {preset: greedy, stop: ["\\\\boxed{x}", "{model}"]}
scales: {tiny: {settings: {sft-all-7: {epochs: 1}}}}
"""


def repeated(folder: Path, text: str = REPEATED) -> Recipe:
    (folder / "r.yaml").write_text(text)
    return load(folder / "r.yaml", "tiny")


def test_a_stage_is_repeated_for_every_combination_of_its_lists(tmp_path: Path) -> None:
    stages = repeated(tmp_path).stages
    assert list(stages) == [
        "split", "sft-easy-7", "sft-easy-34", "sft-all-7", "sft-all-34",
        "greedy-sft-easy-7", "greedy-sft-all-7",
    ]  # fmt: skip
    one = stages["sft-easy-34"]
    assert one.inputs["model"] == ("org/34b",)
    assert one.inputs["rows"] == ("rows-easy.jsonl",)
    assert one.settings.model_dump()["max_steps"] == 34
    assert one.tags == {"generator": "SFT easy"}
    assert stages["sft-all-7"].settings.model_dump()["epochs"] == 1
    greedy = stages["greedy-sft-all-7"]
    assert greedy.inputs["model"] == ("sft-all-7",)
    # Other braces in settings are texts.
    assert greedy.settings.model_dump()["stop"] == ["\\boxed{x}", "sft-all-7"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("greedy-{model}:", "greedy-{modle}:",
         "r.yaml:11: no 'modle' in repeat; did you mean 'model'?"),
        ("greedy-{model}:", "greedy:", "r.yaml:11: stage 'greedy' stands twice; put {model} into"),
        ("greedy-{model}:", "Greedy-{model}:", "r.yaml:11: stages.Greedy-sft-easy-7: no name"),
        ('model: "{model}"', 'model: "{modle}"', "r.yaml:11: no 'modle' in repeat"),
        ("[sft-easy-7, sft-all-7]", "[sft-easy-7, sft-esay-7]",
         "r.yaml:14: model: no stage 'sft-esay-7'; did you mean 'sft-easy-7'?"),
        ("[sft-easy-7, sft-all-7]", "[]", "r.yaml:12: stages.greedy-{model}.repeat.model: List"),
        ("[sft-easy-7, sft-all-7]", "sft-easy-7",
         "r.yaml:12: stages.greedy-{model}.repeat.model: Input should be a valid list"),
        ('max_steps: "{size}"', 'max_steps: "{level}"', "r.yaml:9: max_steps: Input should be a"),
        ("split: {run: split}", "sft-all-7: {run: split}", "r.yaml:4: stage 'sft-all-7' stands tw"),
        ("size: [7, 34]", f"size: {list(range(20_000))}", "r.yaml:4: more than 100,000 values"),
    ],
)  # fmt: skip
def test_mistakes_in_a_repeated_stage(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert REPEATED.count(old) == 1
    with pytest.raises(InputError) as error:
        repeated(tmp_path, REPEATED.replace(old, new))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_random_mistakes_in_a_view_are_one_line(tmp_path: Path) -> None:
    recipes = TESTS / "recipes"
    (tmp_path / "mini.yaml").write_text((recipes / "mini.yaml").read_text())
    view, refusals = tmp_path / "view.yaml", 0
    for seed in range(100):
        text, what = edited_recipe((recipes / "view.yaml").read_text(), random.Random(seed))
        view.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            load(view, "tiny")
        except InputError as error:
            refusals += 1
            assert "\n" not in str(error), what
            assert str(error).startswith((str(view), str(tmp_path / "mini.yaml"))), (what, error)
    assert refusals > 30


def test_every_recipe_of_the_project_but_one_extends_one_of_two_experiments() -> None:
    tables = {f"table{i}" for i in (1, 2, 4, 5, 7, 8, 9, 10)}
    figures = {f"fig{i}" for i in range(4, 25)}
    own = {"experiment", "quickstart", "reward-hacking"}
    programs = {"programs", "table3", "table6"}
    assert {"published", *programs, *own, *tables, *figures} == {*packaged()}
    assert {read(packaged()[name]).experiment for name in programs} == {"programs"}
    for name in own | tables | figures:
        file = read(packaged()[name])
        assert file.experiment == "experiment"
        for scale in get_args(Scale):
            assert at_scale(file, scale).order  # type: ignore[arg-type]


def test_the_examples_of_the_documentation_show_every_key(tmp_path: Path) -> None:
    page = (TESTS.parent / "docs/recipes.md").read_text()
    experiment, view = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    for text, scales in ((experiment, ("tiny", "paper", "own")), (view, ("tiny", "paper"))):
        (tmp_path / "r.yaml").write_text(text)
        for scale in scales:
            assert load(tmp_path / "r.yaml", scale).order  # type: ignore[arg-type]
    keys = {key for entry in (RecipeEntry, StageEntry, ScaleEntry) for key in entry.model_fields}
    assert {key for key in keys if f"{key}:" not in experiment + view} == set()
