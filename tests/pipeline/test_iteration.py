"""One iteration of ReST-EM or DPO as the input of a stage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from e2h_cli.cli.run_selection import open_run
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_json
from e2h_cli.pipeline import recipe
from e2h_cli.pipeline.lineage import input_record, lineage_of
from e2h_cli.pipeline.plan import Assumptions, plan_of
from e2h_cli.pipeline.recipe_file import Scale
from e2h_cli.pipeline.run_folder import ResolvedInput, RunFolder, StageFolder
from tests.conftest import MINI, Cli, assert_one_line, copy_stages

RECIPE = f"""\
extends: {MINI}
name: iterations
show: [later]
stages:
  later:
    run: sample
    inputs: {{problems: split, model: dpo/iteration-3}}
    settings: {{preset: greedy, max_tokens: 16}}
  dpo:
    run: rl
    inputs: {{problems: split, model: sft, reward_model: train-rm}}
    settings: {{algo: dpo}}
  ppo: {{run: rl, inputs: {{problems: split, model: sft, reward_model: train-rm}}}}
scales:
  tiny: {{settings: {{dpo: {{iterations: 3}}}}}}
  paper: {{substitutes: {{dpo: rest-em}}}}
"""


def load(folder: Path, text: str = RECIPE, scale: Scale = "tiny") -> recipe.Recipe:
    (folder / "r.yaml").write_text(text)
    return recipe.load(folder / "r.yaml", scale)


def test_reading_an_iteration_is_reading_its_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load(tmp_path)
    names = [stage.name for stage in loaded.order]
    assert names[-2:] == ["dpo", "later"] and "train-rm" in names and "ppo" not in names
    plans = {p.name: p for p in plan_of(loaded, RunFolder(tmp_path / "run"), Assumptions())}
    assert plans["later"].parameters == plans["sft"].parameters > 0
    # The models of three iterations, and the best of them.
    assert plans["dpo"].disk == 4 * plans["sft"].disk
    other = RECIPE.replace("  ppo:", "  rest-em: {run: rl, settings: {algo: rest-em}}\n  ppo:")
    inputs = load(tmp_path, other.replace("iteration-3", "iteration-2"), "paper")
    assert inputs.stages["later"].inputs["model"] == ("rest-em/iteration-2",)
    monkeypatch.chdir(tmp_path)
    chosen, _ = open_run("r.yaml", None, None, None, inputs={"model": "dpo/iteration-2"})
    assert chosen.scale != "own"
    removed = RECIPE.replace("{dpo: rest-em}", '{dpo: ""}')
    assert load(tmp_path, removed, "paper").stages["later"].inputs["model"] == ()
    with pytest.raises(InputError, match="in a circle: dpo -> dpo"):
        load(tmp_path, RECIPE.replace("model: sft", "model: dpo/iteration-1", 1))
    with pytest.raises(InputError, match="dpo cannot read itself"):
        loaded.stages["dpo"].with_changes({}, {"model": ("dpo/iteration-1",)}, "")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            "dpo/iteration-4",
            "dpo/iteration-4: no iteration of dpo; take iteration-1 to iteration-3",
        ),
        ("dpo/iteration-0", "no iteration of dpo"),
        ("dpo/iteration-01", "no iteration of dpo"),
        ("dpo/iteraton-2", "dpo/iteraton-2: no iteration of dpo"),
        ("dop/iteration-2", "no stage 'dop'; did you mean 'dpo'?"),
        ("ppo/iteration-1", "ppo has no iterations; stages of algo rest-em and dpo have"),
        ("sft/iteration-1", "sft has no iterations"),
        ("sample/iteration-1", "model cannot be the sample stage 'sample/iteration-1'"),
    ],
)
def test_an_iteration_that_will_not_be_is_refused(
    tmp_path: Path, cli: Cli, given: str, message: str
) -> None:
    with pytest.raises(InputError, match=r"r\.yaml:7: ") as error:
        load(tmp_path, RECIPE.replace("dpo/iteration-3", given))
    assert message in str(error.value)
    if not message.startswith("model cannot"):
        load(tmp_path)
        done = cli("sample", "--recipe", "r.yaml", "--scale", "tiny", "--model", given)
        assert_one_line(done, message)
    assert not (tmp_path / "runs").exists()


def trained(run: Path, *, iterations: int) -> StageFolder:
    """A DPO stage that was to do 3 iterations; the model is in the last folder alone."""
    stage = StageFolder(run / "dpo")
    sft = ResolvedInput("sft", StageFolder(run / "sft").fingerprint)
    stage.start("rl", {"algo": "dpo", "iterations": 3}, {"model": [sft]}, (), {"generator": "DPO"})
    shutil.copytree(
        run / "sft",
        stage.path / f"iteration-{iterations}",
        ignore=shutil.ignore_patterns("stage.json", ".lock"),
    )
    (stage.path / f"iteration-{iterations + 1}").mkdir()  # samples, nothing to learn from
    stage.finish({"iterations": iterations, "seen": {"questions": [1, 5], "answers": [1, 2]}}, 0)
    return stage


def test_a_stage_reads_the_model_of_an_iteration(mini_run: Path, tmp_path: Path, cli: Cli) -> None:
    load(tmp_path)
    run = copy_stages(mini_run, tmp_path / "run", "split", "sft")
    stage = trained(run, iterations=2)
    command = ("sample", "--recipe", "r.yaml", "--stage", "later", "--run-dir", "run")
    done = cli(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    # Training ended before the third iteration.
    line = "dpo/iteration-3: training ended after iteration 2, which is used\n"
    assert done.stdout.startswith(line)
    recorded = read_json(run / "later/stage.json")["inputs"]["model"]
    assert recorded == [
        {"path": "dpo/iteration-2", "fingerprint": f"{stage.fingerprint}/iteration-2"}
    ]
    assert "is up to date" in cli(*command).stdout
    outside = ("--model", "run/dpo/iteration-2", "--problems", "run/split")
    done = cli("sample", *outside, "--preset", "greedy", "--max-tokens", "16")
    assert done.returncode == 0, done.stdout + done.stderr
    # What is known of an iteration is what is known of its stage, wherever it lies.
    for path in (run / "later", tmp_path / "runs/own/sample"):
        assert lineage_of(path).tags["generator"] == "DPO"
        assert lineage_of(path).seen["questions"] >= {1, 5}
        assert input_record(path, "model")["settings"]["algo"] == "dpo"
    # Other iterations are other inputs, and so is the same one of a stage that was made anew.
    changed = cli(*command, "--model", "dpo/iteration-1")
    assert_one_line(changed, "model: dpo/iteration-2 -> dpo/iteration-1")
    (stage.path / "log.jsonl").write_text("anew")
    stage.finish(stage.record["counts"], 0)
    assert_one_line(cli(*command), "model: dpo/iteration-2 has changed")
    assert "questions" not in lineage_of(run / "later").seen


def test_a_stage_with_fewer_iterations_than_the_recipe(
    mini_run: Path, tmp_path: Path, cli: Cli
) -> None:
    load(tmp_path, RECIPE.replace("iterations: 3", "iterations: 5").replace("n-3", "n-4"))
    run = copy_stages(mini_run, tmp_path / "run", "split", "sft")
    trained(run, iterations=3)
    done = cli("sample", "--recipe", "r.yaml", "--stage", "later", "--run-dir", "run")
    assert_one_line(done, "run/dpo: dpo was made without iteration 4")
