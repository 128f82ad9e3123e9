"""``e2h rl`` as a user calls it, on the finished stages of the mini recipe."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from e2h_cli.common.files import read_json, read_jsonl, write_jsonl
from e2h_cli.models.loading import load_generator
from tests.conftest import RL, e2h

RULES = ("vote", "easy", "paper")


def lines(folder: Path) -> list[dict[str, Any]]:
    return [line for _, line in read_jsonl(folder / "log.jsonl")]


def weights(folder: Path) -> torch.Tensor:
    return torch.cat([t.flatten() for t in load_file(folder / "model.safetensors").values()])


def rl(place: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    return e2h("rl", "--recipe", RL, "--scale", "tiny", "--run-dir", "run", *options, cwd=place)


@pytest.fixture
def place(mini_run: Path, rl_run: Path, tmp_path: Path) -> Path:
    """A folder with the mini run, and votes."""
    (tmp_path / "mini").symlink_to(mini_run)
    for stage in ("validation-samples", "votes"):
        shutil.copytree(rl_run / stage, tmp_path / "run" / stage)
    return tmp_path


@pytest.mark.parametrize("stage", ["rl", "grpo", "ppo-all"])
def test_two_steps(rl_run: Path, stage: str) -> None:
    log = lines(rl_run / stage)
    assert [line["step"] for line in log] == [0, 1, 2]
    for line in log[1:]:
        assert all(np.isfinite(v) for v in line.values() if v is not None)
        assert 0 <= line["without_answer"] <= 1
        assert line["tokens"] > 1
        assert line["entropy"] > 0
    # The policy that wrote the first step is the start.
    assert log[1]["kl"] == pytest.approx(0, abs=1e-6)
    # Where no answer was right there was nothing to learn from.
    assert (abs(log[2]["kl"]) > 1e-4) == (log[1]["right"] > 0 or stage != "ppo-all")
    assert all(0 <= line[rule] <= 1 for line in log for rule in RULES)
    assert ("value_loss" in log[1]) == (stage != "grpo")
    files = sorted((rl_run / stage / "rollouts").glob("*.parquet"))
    assert [file.name for file in files] == ["step-000000.parquet", "step-000001.parquet"]
    for file, line in zip(files, log[1:], strict=True):
        table = pq.read_table(file)
        keys = Counter(zip(table["id"].to_pylist(), table["sample"].to_pylist(), strict=True))
        assert len(keys) == 16 and set(keys.values()) == {1}
        totals = [sum(row["step_rewards"]) + row["last_reward"] for row in table.to_pylist()]
        assert float(np.mean(totals)) == pytest.approx(line["reward"], abs=1e-4)
    assert (rl_run / stage / "training.png").stat().st_size > 10_000
    assert list((rl_run / stage / "tensorboard").glob("events*"))


@pytest.mark.parametrize("stage", ["rest-em", "dpo"])
def test_one_round(mini_run: Path, rl_run: Path, stage: str) -> None:
    log = lines(rl_run / stage)
    assert [line["step"] for line in log] == [0, 1]
    assert 0 < log[1]["rows"] == len(list(read_jsonl(rl_run / stage / "round-1/rows.jsonl")))
    assert 0 < log[1]["right"] < 1
    record = read_json(rl_run / stage / "round-1/stage.json")
    assert record["status"] == "finished"
    assert record["inputs"]["model"][0]["path"] == str(mini_run / "sft")
    rows = [row for _, row in read_jsonl(rl_run / stage / "round-1/rows.jsonl")]
    most = Counter(row["id"] for row in rows).most_common(1)[0][1]
    assert most <= (10 if stage == "rest-em" else 3)
    if stage == "dpo":
        assert all(row["gap"] > 0 for row in rows)
        assert log[1]["loss"] == pytest.approx(np.log(2), abs=0.05)  # of the first steps


def test_the_model_is_the_best_checkpoint(rl_run: Path) -> None:
    for stage in ("rl", "grpo", "rest-em", "dpo"):
        AutoModelForCausalLM.from_pretrained(rl_run / stage)
        counts = read_json(rl_run / stage / "stage.json")["counts"]
        best = max(lines(rl_run / stage), key=lambda line: (line["vote"], -line["step"]))
        assert counts["best_step"] == best["step"]
        assert [line.split()[1] for line in counts["choices"]] == [*RULES, "last"]
        assert sum("<- chosen" in line for line in counts["choices"]) == 1


def test_the_table_says_who_reads_hard_answers(rl_run: Path) -> None:
    rows = read_json(rl_run / "results.json")["table5"]["rows"]
    assert [(r["method"], r["questions"], r["answers"], r["prm"]) for r in rows] == [
        ("SFT", "-", "-", False), ("PPO", "all", "easy", True), ("PPO", "all", "all", False)
    ]  # fmt: skip
    assert [r["reads_hard"] for r in rows] == ["no", "no", "train"]
    text = (rl_run / "results.md").read_text()
    assert "45.4/14.9/29.4" in text
    assert "reads hard" in text


def hidden_answers_changed(mini_run: Path, rollouts: Path, folder: Path) -> None:
    """The mini run with every hard gold answer replaced by what a policy has answered."""
    shutil.copytree(mini_run, folder, symlinks=True)
    table = pq.read_table(rollouts / "step-000000.parquet")
    said = dict(zip(table["id"].to_pylist(), table["answer"].to_pylist(), strict=True))
    for name in ("hard-answers", "validation", "test"):
        file = folder / "split" / f"{name}.jsonl"
        rows = [row for _, row in read_jsonl(file)]
        for row in rows:
            if row.get("level", 5) > 3:
                row["answer"] = said.get(row["id"]) or "no"
        write_jsonl(file, rows)


def test_rows_without_dagger_never_read_a_hard_gold_answer(
    mini_run: Path, rl_run: Path, tmp_path: Path
) -> None:
    """With other hard gold answers everywhere, everything but the ``paper`` rule is the same."""
    dagger = ("--stage", "ppo-all", "--questions", "hard", "--votes", rl_run / "votes")
    before = tmp_path / "before"
    before.mkdir()
    (before / "mini").symlink_to(mini_run)
    assert rl(before, *dagger).returncode == 0
    hidden_answers_changed(mini_run, before / "run/ppo-all/rollouts", tmp_path / "mini")
    for stage in ("validation-samples", "votes"):
        shutil.copytree(rl_run / stage, tmp_path / "run" / stage)
    for stage in ("rl", "grpo", "rest-em", "dpo"):
        done = rl(tmp_path, "--stage", stage, "--force", "--votes", rl_run / "votes")
        assert done.returncode == 0, done.stderr
        own = [{k: v for k, v in line.items() if k != "paper" and not k.endswith("seconds")}
               for line in lines(tmp_path / "run" / stage)]  # fmt: skip
        theirs = [{k: v for k, v in line.items() if k != "paper" and not k.endswith("seconds")}
                  for line in lines(rl_run / stage)]  # fmt: skip
        assert own == theirs
        assert torch.equal(weights(tmp_path / "run" / stage), weights(rl_run / stage))
        counts = read_json(tmp_path / "run" / stage / "stage.json")["counts"]
        assert "hard-answers.jsonl" not in counts["read"]
    # The dagger row does read them, and sees the difference.
    done = rl(tmp_path, *dagger)
    assert done.returncode == 0, done.stderr
    counts = read_json(tmp_path / "run/ppo-all/stage.json")["counts"]
    assert "hard-answers.jsonl" in counts["read"]
    ours, theirs = (lines(place / "run/ppo-all")[1] for place in (tmp_path, before))
    assert ours["right"] > theirs["right"]


# What is killed, and where: the engine while it writes, the second update of a step, and a
# checkpoint of which some files are there.
_CRASHES = {
    "rollout": ("e2h_cli.common.parquet_store", "Parts", "flush", 4),
    "judging": ("e2h_cli.rl.on_policy", None, "judge", 3),
    "update": ("e2h_cli.rl.policy_update", "Learner", "_step", 6),
    "checkpoint": ("torch", None, "save", 5),
}


@pytest.mark.parametrize("moment", _CRASHES)
def test_kill_9_changes_nothing(place: Path, rl_run: Path, moment: str) -> None:
    options = ("--stage", "rl", "--steps", "4", "--checkpoint-seconds", "0.001")
    whole = e2h("rl", "--recipe", RL, "--scale", "tiny", "--run-dir", "whole", *options,
                "--votes", "run/votes", cwd=place)  # fmt: skip
    assert whole.returncode == 0, whole.stderr
    module, owner, name, call = _CRASHES[moment]
    script = f"""
import importlib, os, sys
owner = importlib.import_module({module!r})
owner = getattr(owner, {owner!r}) if {owner!r} else owner
real, calls = getattr(owner, {name!r}), [0]
def killed(*arguments, **options):
    calls[0] += 1
    if calls[0] == {call}:
        os.kill(os.getpid(), 9)
    return real(*arguments, **options)
setattr(owner, {name!r}, killed)
from e2h_cli.cli.app import main
main()
"""
    command = ["rl", "--recipe", str(RL), "--scale", "tiny", "--run-dir", "run", *options,
               "--votes", "run/votes"]  # fmt: skip
    died = subprocess.run(
        [sys.executable, "-c", script, *command], cwd=place, capture_output=True, check=False
    )
    assert died.returncode == -9, died.stderr
    if moment == "judging":
        # What was written is judged, not written again.
        kept = list((place / "run/rl/unfinished/rollouts").rglob("solutions.parquet"))
        assert [len(pq.read_table(file)) for file in kept] == [16]
    done = e2h(*command, cwd=place)
    assert done.returncode == 0, done.stderr
    for a, b in zip(lines(place / "run/rl"), lines(place / "whole/rl"), strict=True):
        for key in a.keys() | b.keys():
            if not key.endswith("seconds"):
                assert a[key] == pytest.approx(b[key], rel=1e-4, abs=1e-5), key
    for step in range(4):
        name = f"rl/rollouts/step-{step:06d}.parquet"
        ours, theirs = (pq.read_table(place / run / name) for run in ("run", "whole"))
        assert sorted(ours["text"].to_pylist()) == sorted(theirs["text"].to_pylist())
        assert set(ours["id"].to_pylist()) == set(theirs["id"].to_pylist())
    difference = (weights(place / "run/rl") - weights(place / "whole/rl")).abs().max()
    assert float(difference) < 1e-5
    assert not (place / "run/rl/unfinished").exists()


@pytest.mark.parametrize("stage", ["dpo", "rest-em"])
def test_a_killed_round_goes_on(place: Path, rl_run: Path, stage: str) -> None:
    script = """
import os
from e2h_cli import parts
real, calls = parts.Parts.merge, [0]
def killed(*arguments, **options):
    calls[0] += 1
    if calls[0] == 2:
        os.kill(os.getpid(), 9)
    return real(*arguments, **options)
parts.Parts.merge = killed
from e2h_cli.cli.app import main
main()
"""
    command = ["rl", "--recipe", str(RL), "--scale", "tiny", "--run-dir", "run", "--stage", stage]
    died = subprocess.run(
        [sys.executable, "-c", script, *command], cwd=place, capture_output=True, check=False
    )
    assert died.returncode == -9
    done = rl(place, "--stage", stage)
    assert done.returncode == 0, done.stderr
    assert "continues" in done.stdout
    assert lines(place / "run" / stage)[1:] == lines(rl_run / stage)[1:]


def test_a_reward_model_that_returns_nan(place: Path, mini_run: Path) -> None:
    broken = place / "broken"
    shutil.copytree(mini_run / "train-rm", broken)
    tensors = load_file(broken / "model.safetensors")
    tensors["score.weight"][:] = float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    done = rl(place, "--stage", "rl", "--reward-model", broken)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "the reward model returned NaN" in done.stderr


def test_what_stops_a_run_leaves_a_usable_policy(place: Path) -> None:
    """The reward model's scores become NaN in the third step."""
    script = """
from e2h_cli.common.errors import RunError
from e2h_cli.rl import onpolicy
real, calls = onpolicy.judge, [0]
def judge(*arguments):
    calls[0] += 1
    if calls[0] == 3:
        raise RunError("the reward model returned NaN")
    return real(*arguments)
onpolicy.judge = judge
from e2h_cli.cli.app import main
main()
"""
    command = ["rl", "--recipe", str(RL), "--scale", "tiny", "--run-dir", "run", "--steps", "4"]
    stopped = subprocess.run(
        [sys.executable, "-c", script, *command], cwd=place, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert stopped.returncode == 1
    assert "error: the reward model returned NaN" in stopped.stderr
    load_generator(str(place / "run/rl/stopped"))
    done = e2h(*command, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "resuming from step 2" in done.stdout
    assert not (place / "run/rl/stopped").exists()


def test_low_rank_updates(place: Path, mini_run: Path) -> None:
    done = rl(
        place, "--stage", "rl", "--lora-rank", "4", "--checkpoint-rule", "easy", "--steps", "1"
    )
    assert done.returncode == 0, done.stderr
    names = load_file(place / "run/rl/model.safetensors").keys()
    assert names == load_file(mini_run / "sft/model.safetensors").keys()
    assert lines(place / "run/rl")[1]["kl"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        ("--preset", "paper"),
        ("--shaping", "differences", "--kl-estimator", "k2", "--update-epochs", "2"),
        ("--stage", "grpo", "--step-advantages", "--kl-coef", "0.1"),
        ("--whiten-rewards", "--kl-estimator", "k3", "--gradient-checkpointing", "--freeze"),
    ],
)
def test_other_ways_to_learn(place: Path, options: tuple[str, ...]) -> None:
    stage = () if "--stage" in options else ("--stage", "rl")
    done = rl(place, *stage, *options, "--steps", "1")
    assert done.returncode == 0, done.stderr
    line = lines(place / "run" / (stage or ("", "grpo"))[1])[1]
    assert all(np.isfinite(v) for v in line.values() if v is not None)
    if "paper" in options:
        # At most half a point off, a quarter for steps, a quarter or a whole for the answer, and a
        # whole point off for its form.
        assert -1.25 < line["reward"] <= 1.25
        assert -0.5 <= line["process_reward"] <= 0


def test_two_processes_learn_what_one_learns(place: Path, rl_run: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone",
         "-m", "e2h_cli", "rl", "--recipe", str(RL), "--scale", "tiny", "--run-dir", "run"],
        cwd=place, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for a, b in zip(lines(place / "run/rl"), lines(rl_run / "rl"), strict=True):
        for key in a:
            if not key.endswith("seconds"):
                assert a[key] == pytest.approx(b[key], rel=2e-3, abs=1e-4), key


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--temperature", "0"), "--temperature 0: there is nothing to learn"),
        (("--rollout-batch-size", "15", "--n", "2"), "--rollouts 15 is no multiple of --n 2"),
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
        "name: alone\nstages:\n  rl: {run: rl, reads: {problems: mini/split, model: mini/sft, "
        "reward: mini/train-rm}}\nscales: {tiny: {settings: {rl: {max_tokens: 96}}}}\n"
    )
    done = e2h("rl", "--recipe", recipe, "--scale", "tiny", cwd=tmp_path)
    assert done.returncode == 2
    assert "--checkpoint-rule vote needs the votes" in done.stderr


def test_the_command_belongs_to_a_recipe_of_its_own(tmp_path: Path) -> None:
    done = e2h("rl", "--scale", "tiny", "--no-make-inputs", cwd=tmp_path)
    assert done.returncode == 2
    assert "rl needs problems, which is not made yet" in done.stderr
    assert "runs/table2-tiny" in done.stderr
    assert "--recipe" in done.stderr.partition("make it with")[2]  # split alone is the quickstart's


def test_inputs_that_are_not_needed_can_be_taken_away(mini_run: Path, tmp_path: Path) -> None:
    (tmp_path / "mini").symlink_to(mini_run)
    done = rl(tmp_path, "--stage", "rl", "--votes", "none", "--reward-model", "none", "--checkpoint-rule", "easy",
              "--shaping", "none", "--steps", "1", "--no-make-inputs")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert lines(tmp_path / "run/rl")[0]["vote"] is None


def test_naming_the_algorithm_of_a_stage_changes_nothing(place: Path, rl_run: Path) -> None:
    shutil.copytree(rl_run / "rl", place / "run/rl")
    done = rl(place, "--stage", "rl", "--algo", "ppo", "--questions", "all", "--answers", "easy")
    assert done.returncode == 0, done.stderr
    assert "rl is up to date" in done.stdout
    # Another one brings its own defaults.
    done = rl(place, "--stage", "rl", "--algo", "dpo")
    assert "n: 1 -> 8" in done.stderr


def test_finished_work_is_not_done_again(place: Path, rl_run: Path) -> None:
    shutil.copytree(rl_run / "rl", place / "run/rl")
    done = rl(place)
    assert done.returncode == 0
    assert "rl is up to date" in done.stdout
    done = rl(place, "--learning-rate", "0.5")
    assert done.returncode == 2
    assert "learning_rate: 0.001 -> 0.5" in done.stderr
    record = json.loads((place / "run/rl/stage.json").read_text())
    assert record["status"] == "finished"
