"""A published chat model through every command: what a broken path would break.

Nothing here is about how good the model is; one solved problem of level 1 shows that prompt,
sampling, answer and grading fit together.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.conftest import Done, e2h
from tests.real.conftest import SOLVED

Run = tuple[Path, Done]


def rows(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return found


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("stage", ["sft", "train-rm"])
def test_losses_are_finite_and_fall(real_run: Run, stage: str) -> None:
    losses = [line["loss"] for line in lines(real_run[0] / stage / "log.jsonl") if "loss" in line]
    assert all(map(math.isfinite, losses))
    assert sum(losses[-2:]) < sum(losses[:2]), losses


@pytest.mark.parametrize("stage", ["chat", "chat-vllm"])
def test_boxed_answers_are_read_on_both_engines(real_run: Run, stage: str) -> None:
    samples = rows(real_run[0] / stage / "samples.parquet")
    assert len(samples) == 4 * 8
    boxed = [row for row in samples if r"\boxed" in row["text"]]
    assert boxed
    assert any(row["answer"] for row in boxed)
    # The end of the turn ends a solution and is no part of it.
    assert not any("<|im_" in row["text"] for row in samples)
    assert Counter(row["finish_reason"] for row in samples)["stop"] > 0


def test_a_problem_of_level_1_is_solved(real_run: Run) -> None:
    run, _ = real_run
    problems = {p["id"]: p for p in lines(run / "split/test.jsonl")}
    right = [
        row
        for stage in ("chat", "chat-vllm")
        for row in rows(run / stage / "samples.parquet")
        if problems[row["id"]]["problem"] in SOLVED
        and row["answer"] == problems[row["id"]]["answer"]
    ]
    assert right
    row = right[0]
    print(problems[row["id"]]["problem"], row["text"], f"gold answer: {row['answer']}", sep="\n\n")


def test_both_engines_give_the_same_scores(real_run: Run) -> None:
    run, _ = real_run
    ours, theirs = (
        {(row["id"], row["sample"]): row for row in rows(run / stage / "scores/scores.parquet")}
        for stage in ("rerank", "rerank-vllm")
    )
    assert ours.keys() == theirs.keys()
    assert len(ours) == 4 * 8
    largest = max(abs(ours[k]["outcome_score"] - theirs[k]["outcome_score"]) for k in ours)
    print(f"largest difference of a score between the engines: {largest:.2g}")
    assert largest < 1e-3
    assert len({round(row["outcome_score"], 4) for row in ours.values()}) > 1


def test_the_outcome_is_read_at_the_end_of_the_text(real_run: Run) -> None:
    run, _ = real_run
    done = e2h(
        "rerank", "--samples", run / "chat", "--problems", run / "split", "--reward-model",
        run / "train-rm", "--run-dir", "shown", "--show-tokens", cwd=run.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    assert "<|im_end|>" in done.stdout


def test_a_step_of_ppo_has_finite_losses_and_a_gradient(real_run: Run) -> None:
    run, _ = real_run
    [step] = [line for line in lines(run / "rl/log.jsonl") if line["step"] == 1]
    assert all(math.isfinite(v) for v in step.values() if isinstance(v, float)), step
    assert step["grad_norm"] > 0
    assert step["solution_steps"] > 0
    # The weights of the best checkpoint.
    assert (run / "rl/model.safetensors").is_file()


def test_results_are_by_level(real_run: Run) -> None:
    run, done = real_run
    results = json.loads((run / "results.json").read_text())
    assert {row["group"] for row in results["metrics"]} >= {"easy", "hard", "all", "level-1"}
    assert "own data" in done.stdout


def test_the_probe(real_run: Run, smollm2: Path) -> None:
    run, _ = real_run
    done = e2h(
        "eval", "--probe", "--generator", smollm2, "--problems", run / "split", "--run-dir",
        "probe", cwd=run.parent,
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "ROUGE-L" in done.stdout
