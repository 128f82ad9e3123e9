"""Settings and inputs of ``e2h rl`` that do not go together, and the options of each algorithm."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline import recipe as recipes
from e2h_cli.settings.rl import GRPOSettings
from tests.conftest import Cli, e2h
from tests.rl.conftest import rl

# algorithm -> options of other algorithms, and which these are.
_FOREIGN = [
    ("ppo", "step_advantages", "true", "grpo"),
    ("ppo", "iterations", "2", "rest-em and dpo"),
    ("ppo", "beta", "0.1", "dpo"),
    ("grpo", "value_clip_range", "0.2", "ppo"),
    ("grpo", "kl_estimator", "k2", "ppo"),
    ("grpo", "max_correct_per_problem", "4", "rest-em"),
    ("rest-em", "shaping", "none", "ppo and grpo"),
    ("rest-em", "min_score_gap", "1", "dpo"),
    ("dpo", "clip_range", "0.1", "ppo and grpo"),
    ("dpo", "max_correct_per_problem", "4", "rest-em"),
]


@pytest.mark.parametrize(("algo", "name", "value", "others"), _FOREIGN)
def test_options_of_another_algorithm_are_refused(
    cli: Cli, algo: str, name: str, value: str, others: str
) -> None:
    flag = "--" + name.replace("_", "-")
    option = (flag,) if value == "true" else (flag, value)
    done = cli("rl", "--scale", "tiny", "--algo", algo, *option)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{flag} is a setting of {others}, not of {algo}" in done.stderr


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("algo", "name", "value", "others"), _FOREIGN)
def test_settings_of_another_algorithm_are_refused_in_a_recipe(
    tmp_path: Path, algo: str, name: str, value: str, others: str, scaled: bool
) -> None:
    setting = f"{name}: {value}"
    file = tmp_path / "foreign.yaml"
    file.write_text(
        "name: foreign\nstages:\n  train:\n    run: rl\n    settings:\n"
        f"      algo: {algo}\n      {'seed: 1' if scaled else setting}\n"
        "scales:\n  tiny:\n    settings:\n      train:\n"
        f"        {setting if scaled else 'max_tokens: 96'}\n"
    )
    line = 12 if scaled else 7
    message = f"{file}:{line}: {name} is a setting of {others}, not of {algo}"
    with pytest.raises(InputError, match=re.escape(message)):
        recipes.load(file, "tiny")


def test_another_algorithm_brings_its_defaults(tmp_path: Path) -> None:
    """Settings whose default it shares are kept; others take its default, or are dropped."""
    file = tmp_path / "ppo.yaml"
    file.write_text(
        "name: ppo\nstages:\n  rl: {run: rl, settings: {temperature: 0.5, num_generations: 2, "
        "gamma: 0.9, learning_rate: 0.001, shaping: none, steps: 3, top_k: 5}}\n"
        "scales: {tiny: {}}\n"
    )
    stage = recipes.load(file, "tiny").stages["rl"]
    changed = stage.with_changes({"algo": "grpo"}, {}, "e2h rl").settings
    assert isinstance(changed, GRPOSettings)
    default = GRPOSettings()
    assert (changed.temperature, changed.num_generations) == (1.0, 16)
    assert (changed.temperature, changed.num_generations) == (
        default.temperature, default.num_generations
    )  # fmt: skip
    assert (changed.learning_rate, changed.shaping, changed.steps) == (0.001, "none", 3)
    assert changed.top_k == 5  # off in both
    # What the command line says counts more.
    changes = {"algo": "grpo", "num_generations": "4"}
    changed = stage.with_changes(changes, {}, "e2h rl").settings
    assert isinstance(changed, GRPOSettings) and changed.num_generations == 4


def test_naming_the_algorithm_of_a_stage_changes_nothing(place: Path, rl_run: Path) -> None:
    shutil.copytree(rl_run / "rl", place / "run/rl")
    done = rl(place, "--stage", "rl", "--algo", "ppo", "--questions", "all", "--answers", "easy")
    assert done.returncode == 0, done.stderr
    assert "rl is up to date" in done.stdout
    # Another one brings its own defaults.
    done = rl(place, "--stage", "rl", "--algo", "dpo")
    assert "num_generations: 1 -> 8" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--temperature", "0"), "--temperature 0: there is nothing to learn"),
        (
            ("--rollout-batch-size", "15", "--num-generations", "2"),
            "--rollout-batch-size 15 is no multiple of --num-generations 2",
        ),
        (("--rollout-batch-size", "4096"), "a step asks 4,096 questions, and there are"),
        (
            ("--stage", "ppo-all", "--shaping", "minimum"),
            "needs a reward model; give --reward-model",
        ),
        (("--stage", "rest-em", "--questions", "hard"), "no answer may be looked at"),
        (
            ("--stage", "dpo", "--min-score-gap-without-answer", "2", "--min-score-gap", "3"),
            "finds nothing to learn from",
        ),
        (("--max-tokens", "5000"), "do not fit into the model"),
        (("--problems", "mini/split/easy.jsonl"), "not a split, and hard answers must stay hidden"),
        (("--votes", "mini/split"), "no predictions.jsonl here; make it with: e2h rerank"),
    ],
)
def test_bad_input_is_one_line(place: Path, options: tuple[str, ...], message: str) -> None:
    stage = () if "--stage" in options else ("--stage", "rl")
    done = rl(place, *stage, *options)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_a_vote_rule_without_votes(mini_run: Path, tmp_path: Path) -> None:
    (tmp_path / "mini").symlink_to(mini_run)
    recipe = tmp_path / "alone.yaml"
    recipe.write_text(
        "name: alone\nstages:\n  rl: {run: rl, inputs: {problems: mini/split, model: mini/sft, "
        "reward_model: mini/train-rm}}\nscales: {tiny: {settings: {rl: {max_tokens: 96}}}}\n"
    )
    done = e2h("rl", "--recipe", recipe, "--scale", "tiny", cwd=tmp_path)
    assert done.returncode == 2
    assert "--checkpoint-rule vote needs the votes" in done.stderr


def test_the_command_works_in_the_run_folder_of_the_others(cli: Cli) -> None:
    done = cli("rl", "--scale", "tiny", "--no-make-inputs")
    assert done.returncode == 2
    assert "rl needs problems, which is not made yet" in done.stderr
    assert "runs/experiment-tiny" in done.stderr
    assert done.stderr.rstrip().endswith("make it with: e2h split")


def test_options_are_grouped_by_algorithm(cli: Cli) -> None:
    shown = cli("rl", "--help").stdout
    for group in ("ppo and grpo", "ppo", "grpo", "rest-em and dpo", "rest-em", "dpo"):
        assert f"Settings of {group} ─" in shown
