"""What ``e2h rl`` writes, by every algorithm, on the finished stages of the mini recipe."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from e2h_cli.common.files import read_json, read_jsonl, write_jsonl
from e2h_cli.reports.tidy_metrics import read_metrics
from tests.conftest import RL, copy_stages, e2h
from tests.rl.conftest import RULES, log_lines, rl, weights, without_seconds

# A preset holds the sizes of the paper, too.
_SMALL = ("--rollout-batch-size", "16", "--batch-size", "8", "--max-tokens", "96", "--precision",
          "fp32", "--grader", "exact")  # fmt: skip


@pytest.mark.parametrize("stage", ["rl", "grpo", "ppo-all"])
def test_two_steps(rl_run: Path, stage: str) -> None:
    log = log_lines(rl_run / stage)
    assert [line["step"] for line in log] == [0, 1, 2]
    for line in log[1:]:
        assert all(np.isfinite(v) for v in line.values() if v is not None)
        assert 0 <= line["without_answer"] <= 1
        assert line["tokens"] > 1
        assert line["entropy"] > 0
    # The policy that sampled the first step is the initial one.
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
def test_one_iteration(mini_run: Path, rl_run: Path, stage: str) -> None:
    log = log_lines(rl_run / stage)
    assert [line["step"] for line in log] == [0, 1]
    assert 0 < log[1]["rows"] == len(list(read_jsonl(rl_run / stage / "iteration-1/rows.jsonl")))
    assert 0 < log[1]["right"] < 1
    record = read_json(rl_run / stage / "iteration-1/record.json")
    assert record["status"] == "finished"
    assert record["model"] == str(mini_run / "sft")
    assert record["counts"]["rows"] == log[1]["rows"]
    rows = [row for _, row in read_jsonl(rl_run / stage / "iteration-1/rows.jsonl")]
    most = Counter(row["id"] for row in rows).most_common(1)[0][1]
    assert most <= (10 if stage == "rest-em" else 3)
    if stage == "dpo":
        assert all(row["gap"] > 0 for row in rows)
        # It starts at log 2, where policy and reference are the same, and falls.
        assert 0 < log[1]["loss"] < np.log(2)


def test_the_model_of_an_iteration_is_sampled_from(place: Path, rl_run: Path) -> None:
    copy_stages(rl_run, place / "run", "dpo")
    common = ("sample", "--recipe", RL, "--scale", "tiny", "--run-dir", "run", "--stage")
    model = ("greedy-rl", "--model", "dpo/iteration-1", "--part", "validation")
    done = e2h(*common, *model, cwd=place)
    assert done.returncode == 0, done.stderr
    texts = [
        dict(zip(*(pq.read_table(file)[name].to_pylist() for name in ("id", "text")), strict=True))
        for file in (place / "run/greedy-rl/samples.parquet",
                     rl_run / "dpo/iteration-1/validation.parquet",
                     rl_run / "dpo/iteration-0/validation.parquet")
    ]  # fmt: skip
    assert texts[0] == texts[1] != texts[2]


def test_the_model_is_the_best_checkpoint(rl_run: Path) -> None:
    for stage in ("rl", "grpo", "rest-em", "dpo"):
        AutoModelForCausalLM.from_pretrained(rl_run / stage)
        counts = read_json(rl_run / stage / "stage.json")["counts"]
        best = max(log_lines(rl_run / stage), key=lambda line: (line["vote"], -line["step"]))
        assert counts["best_step"] == best["step"]
        assert [line.split()[1] for line in counts["choices"]] == [*RULES, "last"]
        assert sum("<- chosen" in line for line in counts["choices"]) == 1


def test_the_table_says_who_reads_hard_answers(rl_run: Path) -> None:
    rows = [row for row in read_metrics(rl_run / "table").rows if row["group"] == "hard"]
    assert [(r["generator"], r["questions"], r["answers"], r["prm"]) for r in rows] == [
        ("SFT", "", "", ""), ("PPO", "all", "easy", "yes"), ("PPO", "all", "all", "no")
    ]  # fmt: skip
    assert [r["reads_hard"] for r in rows] == ["no", "no", "train"]
    lines = (rl_run / "report/rl-mini.md").read_text().splitlines()
    shown = {line.split(" | ")[0]: line.split(" | ")[-2:] for line in lines if line[:2] == "| "}
    assert shown["| method"] == ["paper", "reads_hard |"]
    assert shown["| SFT"] == ["28.2/12.2/19.8", "no |"]
    assert shown["| PPO"] == ["45.4/14.9/29.4", "no |"]
    assert shown["| PPO †"] == ["42.0/10.7/25.6", "train |"]


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


@pytest.mark.slow
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
    copy_stages(rl_run, tmp_path / "run", "validation-samples", "votes")
    for stage in ("rl", "grpo", "rest-em", "dpo"):
        done = rl(tmp_path, "--stage", stage, "--force", "--votes", rl_run / "votes")
        assert done.returncode == 0, done.stderr
        own, theirs = (
            [{**without_seconds(line), "paper": None} for line in log_lines(folder / stage)]
            for folder in (tmp_path / "run", rl_run)
        )
        assert own == theirs
        assert torch.equal(weights(tmp_path / "run" / stage), weights(rl_run / stage))
        counts = read_json(tmp_path / "run" / stage / "stage.json")["counts"]
        assert "hard-answers.jsonl" not in counts["read"]
    # The dagger row does read them, and sees the difference.
    done = rl(tmp_path, *dagger)
    assert done.returncode == 0, done.stderr
    counts = read_json(tmp_path / "run/ppo-all/stage.json")["counts"]
    assert "hard-answers.jsonl" in counts["read"]
    ours, theirs = (log_lines(place / "run/ppo-all")[1] for place in (tmp_path, before))
    assert ours["right"] > theirs["right"]


def test_lora_is_merged(place: Path, mini_run: Path) -> None:
    done = rl(
        place, "--stage", "rl", "--lora-rank", "4", "--checkpoint-rule", "easy", "--steps", "1"
    )
    assert done.returncode == 0, done.stderr
    names = load_file(place / "run/rl/model.safetensors").keys()
    assert names == load_file(mini_run / "sft/model.safetensors").keys()
    assert log_lines(place / "run/rl")[1]["kl"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        ("--preset", "paper", *_SMALL),
        ("--preset", "paper-mended", *_SMALL),
        ("--shaping", "differences", "--kl-estimator", "k2", "--update-epochs", "2"),
        ("--stage", "grpo", "--step-advantages", "--kl-coef", "0.1"),
        (
            "--whiten-rewards",
            "scale",
            "--kl-estimator",
            "k3",
            "--gradient-checkpointing",
            "--freeze",
        ),
    ],
)
def test_other_settings_of_the_update(place: Path, options: tuple[str, ...]) -> None:
    stage = () if "--stage" in options else ("--stage", "rl")
    done = rl(place, *stage, *options, "--steps", "1")
    assert done.returncode == 0, done.stderr
    line = log_lines(place / "run" / (stage or ("", "grpo"))[1])[1]
    assert all(np.isfinite(v) for v in line.values() if v is not None)
    if "--preset" in options:
        # At most half a point off, a quarter for steps, a quarter or a whole for the answer, and a
        # whole point off for its form.
        assert -1.25 < line["reward"] <= 1.25
        assert -0.5 <= line["process_reward"] <= 0


def test_inputs_that_are_not_needed_can_be_taken_away(mini_run: Path, tmp_path: Path) -> None:
    (tmp_path / "mini").symlink_to(mini_run)
    done = rl(tmp_path, "--stage", "rl", "--votes", "none", "--reward-model", "none", "--shaping",
              "none", "--checkpoint-rule", "easy", "--steps", "1", "--no-make-inputs")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert log_lines(tmp_path / "run/rl")[0]["vote"] is None


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
