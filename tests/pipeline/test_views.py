"""Views of one experiment work in one run folder: nothing is made twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from e2h_cli.pipeline.lineage import lineage_of
from tests.conftest import MINI, TESTS, Cli, assert_one_line, copy_stages, e2h

VIEW = TESTS / "recipes" / "view.yaml"
TRUNK = ["split", "pretrain", "sft"]


@pytest.fixture(scope="module")
def view_run(mini_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run folder of mini.yaml in which the view has run, and what that printed."""
    folder = tmp_path_factory.mktemp("view")
    (folder / "runs").mkdir()
    shutil.copytree(mini_run, folder / "runs/mini-tiny")
    done = e2h("run", VIEW, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "runs/mini-tiny", done.stdout


def test_a_view_uses_what_another_has_made(view_run: tuple[Path, str]) -> None:
    run, printed = view_run
    lines = printed.splitlines()
    up_to_date = [line.split()[0] for line in lines if " is up to date" in line]
    made = [line.split()[0] for line in lines if " done in " in line]
    assert up_to_date == [*TRUNK, "greedy"]
    assert made == ["sft-slow", "greedy-slow", "short", "sft-fast", "greedy-fast", "table"]
    assert {folder.name for folder in run.parent.iterdir()} == {"mini-tiny"}


def test_results_are_those_of_the_last_view(view_run: tuple[Path, str], mini_run: Path) -> None:
    run, _ = view_run
    last, own = run / "results.json", run / "table/results.json"
    assert last.read_bytes() == own.read_bytes()
    assert (run / "eval/results.json").read_bytes() == (mini_run / "results.json").read_bytes()


def test_the_root_runs_on_after_a_view(view_run: tuple[Path, str], tmp_path: Path) -> None:
    run = shutil.copytree(view_run[0], tmp_path / "run")
    done = e2h("run", MINI, "--run-dir", run, cwd=tmp_path)
    assert done.stdout.count("is up to date") == 10
    assert " done in " not in done.stdout


def test_until_ends_within_the_view(cli: Cli, mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", *TRUNK, "greedy")
    done = cli("run", VIEW, "--run-dir", run, "--until", "short")
    assert done.returncode == 0, done.stderr
    assert not (run / "sft-fast").exists()
    # A stage of the experiment that the view does not need is no end of it.
    done = cli("run", VIEW, "--run-dir", run, "--until", "train-rm")
    assert "no stage 'train-rm'" in done.stderr
    assert "stages: split, pretrain, sft, greedy, sft-slow" in done.stderr


def test_a_seed_of_a_view_has_a_folder_beside_that_of_the_experiment(
    cli: Cli, tmp_path: Path
) -> None:
    shutil.copy2(MINI, tmp_path)
    (tmp_path / "v.yaml").write_text("extends: mini.yaml\nname: v\nseed: 2\nshow: [split]\n")
    assert cli("run", "v.yaml").returncode == 0
    assert cli("run", "v.yaml", "--seed", "0").returncode == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["mini-tiny", "mini-tiny-seed2"]
    record = json.loads((tmp_path / "runs/mini-tiny-seed2/run.json").read_text())
    assert record == {"experiment": "mini", "scale": "tiny", "seed": 2}


def test_a_message_names_the_recipe_of_its_command(cli: Cli) -> None:
    options = ("--scale", "tiny", "--no-make-inputs")
    for recipe, told in (("table2", " --recipe table2"), ("experiment", "")):
        done = cli("sample", "--recipe", recipe, "--stage", "greedy-rl", *options)
        assert_one_line(done, "runs/experiment-tiny/split", "make it with: e2h split")
        assert done.stderr.rstrip().endswith(f"e2h split{told}")


def test_other_tags_change_the_record_alone(view_run: tuple[Path, str], tmp_path: Path) -> None:
    run = shutil.copytree(view_run[0], tmp_path / "run")
    assert lineage_of(run / "greedy-slow").tags == {"generator": "SFT slow"}
    assert lineage_of(run / "greedy").tags == {}
    weights = run / "sft-slow/model.safetensors"
    before = weights.stat().st_mtime_ns
    shutil.copy2(MINI, tmp_path)
    (tmp_path / "view.yaml").write_text(VIEW.read_text().replace('"SFT {rate}"', '"{rate}"'))
    done = e2h("run", "view.yaml", "--run-dir", run, cwd=tmp_path)
    assert done.stdout.count("is up to date") == 10, done.stdout + done.stderr
    assert lineage_of(run / "greedy-slow").tags == {"generator": "slow"}
    assert weights.stat().st_mtime_ns == before


def test_a_view_does_not_delete_what_another_has_made(
    cli: Cli, mini_run: Path, tmp_path: Path
) -> None:
    """A change of a shared stage would otherwise train it anew for every view in turn."""
    run = copy_stages(mini_run, tmp_path / "run", *TRUNK)
    shutil.copy2(MINI, tmp_path)
    (tmp_path / "v.yaml").write_text(
        "extends: mini.yaml\nname: v\nshow: [sft]\nscales: {tiny: {settings: {sft: {epochs: 2}}}}"
    )
    done = cli("run", "v.yaml", "--run-dir", run)
    assert_one_line(done, "sft was made for recipe mini, and v changes it (epochs: 1.0 -> 2.0)")
    assert cli("run", "v.yaml", "--run-dir", run, "--force").returncode == 0
    # What the same recipe made is made anew when the recipe changes.
    text = (tmp_path / "v.yaml").read_text()
    (tmp_path / "v.yaml").write_text(text.replace("epochs: 2", "epochs: 1"))
    assert "sft is made anew: epochs: 2.0 -> 1.0" in cli("run", "v.yaml", "--run-dir", run).stdout


SMALL = """
scales:
  tiny:
    settings:
      split: {train_counts: [20, 20, 20, 10, 10], test_counts: [2, 2, 2, 3, 3], validation_size: 10}
      pretrain: {hidden_size: 32, num_layers: 2, num_heads: 4, documents: 1000, epochs: 1}
      rm-samples: {n: 4}
      train-rm: {max_steps: 20}
      sample: {n: 8}
      rerank: {draws: 50}
      validation-samples-human: {n: 4}
      votes-human: {draws: 20}
      rl: &one {steps: 1, rollout_batch_size: 16, batch_size: 8, eval_steps: 1}
      ppo-easy-human: *one
"""
HACKING = "      rl-hacking: *one\n"
SHORT = """\
    inputs:
      table2: {samples: [greedy-easy-human-small, greedy-rl, greedy-ppo-easy-human]}
"""


@pytest.mark.slow
def test_the_views_of_e2h_share_one_trunk(cli: Cli, tmp_path: Path) -> None:
    def run(view: str, shown: str, *options: str, more: str = "") -> tuple[list[str], list[str]]:
        head = f"extends: {view}\nname: {view}-small\nshow: [{shown}]\n"
        (tmp_path / "v.yaml").write_text(head + SMALL + more)
        done = cli("run", "v.yaml", "--scale", "tiny", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line.split() for line in done.stdout.splitlines()]
        current = [words[0] for words in lines if words[1:5] == ["is", "up", "to", "date"]]
        return current, [words[0] for words in lines if words[1:3] == ["done", "in"]]

    trunk = ["split", "pretrain", "sft", "rm-samples", "supervise", "train-rm"]
    current, made = run("quickstart", "eval")
    assert current == []
    assert made == [*trunk, "sample", "greedy", "rerank", "eval"]
    current, made = run("table2", "table2", more=SHORT)
    assert current == [*trunk, "greedy"]
    assert made == [
        "validation-samples-human", "votes-human", "rl", "ppo-easy-human", "greedy-rl",
        "greedy-ppo-easy-human", "table2",
    ]  # fmt: skip
    current, made = run("reward-hacking", "hacking", "--seed", "3", more=HACKING)
    assert current == [*trunk, "greedy", "validation-samples-human", "votes-human"]
    assert made == ["rl-hacking", "greedy-rl-hacking", "hacking"]
    assert [folder.name for folder in (tmp_path / "runs").iterdir()] == ["experiment-tiny"]
