"""``e2h eval --benchmark``: reward models on rows of ProcessBench and PRMBench."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from e2h_cli.data.problem import read_problems
from e2h_cli.evaluation.benchmark_metrics import BenchmarkMetric
from e2h_cli.evaluation.rm_metrics import first_error_f1
from e2h_cli.inference.scoring import score_texts
from e2h_cli.reports.benchmark_tables import comparison_table, published_numbers
from tests import builders
from tests.conftest import MINI, Cli, assert_one_line, copy_stages
from tests.data.test_step_benchmarks import PRM, PROCESS, written

EVAL = ("eval", "--recipe", MINI, "--run-dir", "run")


def process_rows(run: Path) -> list[dict]:
    """Solutions of the test problems; every third has its first error at its last step."""
    rows = []
    for i, problem in enumerate(read_problems(run / "split/test.jsonl")):
        steps = (problem.solution or "").split("\n\n")
        about = {"id": f"{('gsm8k', 'math')[i % 2]}-{i}", "problem": problem.problem}
        rows.append({**PROCESS, **about, "steps": steps, "label": -1 if i % 3 else len(steps) - 1})
    return rows


def test_processbench_with_a_reward_model_of_ours(cli: Cli, mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "supervise", "train-rm")
    rows = process_rows(run)
    written(tmp_path / "rows.jsonl", *rows)
    command = (*EVAL, "--benchmark", "processbench", "rows.jsonl", "--reward-model", "train-rm")
    done = cli(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No published numbers beside other sets than theirs: gsm8k (400)" in done.stdout
    stage = run / "processbench-train-rm"
    predictions = [json.loads(line) for line in (stage / "predictions.jsonl").open()]
    assert [len(p["scores"]) for p in predictions] == [len(row["steps"]) for row in rows]
    # A score is that of the step in a solution that goes on.
    texts = ["\n\n".join([*row["steps"], "# Answer\n\n0"]) for row in rows]
    direct = score_texts(str(run / "train-rm"), [row["problem"] for row in rows], texts)
    for p, scores in zip(predictions, direct, strict=True):
        assert p["scores"] == pytest.approx(scores.steps, abs=1e-5)

    found = json.loads((stage / "processbench.json").read_text())
    metrics = {(m["group"], m["metric"]): m["value"] for m in found["metrics"]}
    math = [p for p in predictions if p["group"] == "math"]
    called, marked = (
        np.array([min(p[key], default=-1) for p in math]) for key in ("called_wrong", "wrong")
    )
    assert metrics["math", "F1"] == pytest.approx(100 * first_error_f1(called, marked).f1, abs=0.01)
    assert (found["threshold"], found["threshold_from"]) == (0.5, None)
    assert "| mean | F1 |" in (stage / "processbench.md").read_text()
    assert (stage / "processbench.csv").read_text().startswith("group,metric,value,low,high,")
    assert not (run / "results.json").exists()

    done = cli(*command, "--threshold-from", "math", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((stage / "processbench.json").read_text())
    assert found["threshold_from"] == "math"
    assert f"threshold {found['threshold']:.4g}" in done.stdout
    assert "to score" not in done.stdout
    assert "has the highest F1 on math" in (stage / "processbench.md").read_text()
    best = {(m["group"], m["metric"]): m["value"] for m in found["metrics"]}
    assert best["math", "F1"] >= metrics["math", "F1"]
    done = cli(*command, "--threshold-from", "omnimath", "--force")
    assert_one_line(done, "--threshold-from omnimath: no such split", "gsm8k or math")


def test_prmbench_with_a_token_classifier(cli: Cli, tmp_path: Path) -> None:
    """Its last step is scored where others score the outcome."""
    tokens = builders.reward_tokenizer()
    model = builders.reward_model(
        tmp_path / "rm", AutoModelForTokenClassification, tokens, num_labels=2
    )
    every = [
        {**PRM, "classification": name, "idx": name, "error_steps": wrong}
        for name, wrong in (("circular", [2]), ("redundency", [3]), ("multi_solutions", []))
    ]
    written(tmp_path / "rows.jsonl", *every)
    done = cli("eval", "--benchmark", "prmbench", "rows.jsonl", "--reward-model", model)
    assert done.returncode == 0, done.stdout + done.stderr
    stage = tmp_path / "runs/own/prmbench-model"
    found = json.loads((stage / "prmbench.json").read_text())["metrics"]
    groups = [m["group"] for m in found if m["metric"] == "PRMScore"]
    assert groups == ["redundancy", "circular", "multi_solutions", "overall", "simplicity"]
    (line, *_) = (stage / "predictions.jsonl").open()
    first, (direct,) = json.loads(line), score_texts(model, ["1 + 1 + 1?"], ["\n\n".join(
        PRM["modified_process"]
    )])  # fmt: skip
    assert first["wrong"] == [1]
    assert first["scores"] == pytest.approx([*direct.steps, direct.outcome], abs=1e-5)


def test_what_is_refused(cli: Cli, tmp_path: Path) -> None:
    tokens = builders.reward_tokenizer()
    orm = builders.reward_model(
        tmp_path / "orm", AutoModelForSequenceClassification, tokens, num_labels=1
    )
    written(tmp_path / "rows.jsonl", PROCESS, {**PROCESS, "label": "1"})
    command = ("eval", "--benchmark", "processbench", "rows.jsonl")
    assert_one_line(
        cli(*command, "--reward-model", orm), "scores whole solutions only", "give a PRM or an OPRM"
    )
    assert_one_line(cli(*command), "needs the reward model, for --benchmark; give --reward-model")
    assert_one_line(cli("eval", "--reward-model", orm), "--reward-model is no input of this")
    assert_one_line(
        cli(*command, "--reward-model", orm, "--probe"), "not together with --benchmark"
    )
    mistaken = ("eval", "--benchmark", "prmbench", "rows.jsonl", "--reward-model", orm)
    assert_one_line(cli(*mistaken, "--threshold-from", "math"), "only --benchmark processbench")


def test_published_numbers_stand_beside_equal_sets() -> None:
    sizes = {"gsm8k": 400, "math": 1000, "olympiadbench": 1000, "omnimath": 1000}
    numbers: dict[str, dict[str, float]] = {}
    for row in published_numbers("processbench"):
        numbers.setdefault(row["model"], {})[row["group"]] = row["value"]
    assert len(numbers) == 10
    for of in numbers.values():
        f1 = [of[split] for split in sizes]
        if "mean" in of:
            assert np.mean(f1) == pytest.approx(of["mean"], abs=0.1)
        else:
            assert np.average(f1, weights=[*sizes.values()]) == pytest.approx(
                of["weighted"], abs=0.01
            )
    ours = [BenchmarkMetric(g, "F1", 12.34, None, None, n) for g, n in sizes.items()]
    ours.append(BenchmarkMetric("mean", "F1", 12.34, None, None, 3400))
    table, note = comparison_table("processbench", ours, "mine")
    assert table.rows[0] == ("mine", *["12.3"] * 5)
    assert ("Math-Shepherd-PRM-7B", "47.9", "29.5", "24.8", "23.8", "31.5") in table.rows
    assert note == ""
    table, note = comparison_table("processbench", [ours[0], ours[-1]], "mine")
    assert ("Math-Shepherd-PRM-7B", "47.9", "31.5") in table.rows

    dimensions = {"simplicity": 2, "soundness": 4, "sensitivity": 3}
    prm: dict[str, list[float]] = {}
    for row in published_numbers("prmbench"):
        prm.setdefault(row["model"], []).append(row["value"])
    for overall, *values in prm.values():
        assert 40 < overall < 70
        for count in dimensions.values():
            part, mean, values = values[:count], values[count], values[count + 1 :]
            assert np.mean(part) == pytest.approx(mean, abs=0.11)
