"""A whole recipe: what it leaves, what it may read, and what a kill costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from e2h_cli.data.problem import read_problems
from tests.conftest import MINI, TESTS, Cli, copy_stages, e2h

ROOT = TESTS.parent
STAGES = list(yaml.safe_load(MINI.read_text())["stages"])


def record(run: Path, stage: str) -> dict:
    return json.loads((run / stage / "stage.json").read_text())


def test_every_stage_leaves_a_whole_record(mini_run: Path) -> None:
    for stage in STAGES:
        found = record(mini_run, stage)
        assert found["status"] == "finished"
        for key in (
            "settings",
            "inputs",
            "outputs",
            "fingerprint",
            "versions",
            "host",
            "seconds",
            "counts",
        ):
            assert key in found, (stage, key)
        assert not (mini_run / stage / "unfinished").exists()


def test_the_reward_model_has_seen_no_hard_problem(mini_run: Path) -> None:
    """From the recorded fingerprints alone: which file each stage read, and what stands in it."""
    split = record(mini_run, "split")
    easy = split["outputs"]["easy.jsonl"]
    samples, labels = record(mini_run, "rm-samples"), record(mini_run, "supervise")
    # Its samples were drawn of the easy file, its labels come from the easy file, and nothing else.
    assert samples["counts"]["read"] == {"easy.jsonl": easy}
    assert labels["counts"]["read"] == {"easy.jsonl": easy}
    inputs = {role: [i["fingerprint"] for i in many] for role, many in labels["inputs"].items()}
    assert inputs["samples"] == [samples["fingerprint"]]
    assert inputs["problems"] == [split["fingerprint"]]
    reward = record(mini_run, "train-rm")
    assert [i["fingerprint"] for i in reward["inputs"]["rows"]] == [labels["fingerprint"]]
    assert set(reward["inputs"]) == {"model", "rows"}
    assert [i["fingerprint"] for i in samples["inputs"]["problems"]] == [split["fingerprint"]]
    # And the rows themselves.
    levels = {p.id: p.level for p in read_problems(mini_run / "split/easy.jsonl")}
    assert set(levels.values()) <= {1, 2, 3}
    rows = [json.loads(line) for line in (mini_run / "supervise/prm.jsonl").open()]
    assert rows
    assert {row["id"] for row in rows} <= set(levels)
    assert labels["outputs"]["prm.jsonl"]
    questions = {
        p.problem
        for part in ("hard", "validation", "test")
        for p in read_problems(mini_run / f"split/{part}.jsonl")
    }
    assert not any(q in row["prompt"] for row in rows for q in questions)


def test_the_generator_was_tuned_on_easy_problems_only(mini_run: Path) -> None:
    split, sft = record(mini_run, "split"), record(mini_run, "sft")
    assert sft["counts"]["read"] == {"easy.jsonl": split["outputs"]["easy.jsonl"]}


def test_results_are_complete_and_consistent(mini_run: Path) -> None:
    results = json.loads((mini_run / "results.json").read_text())
    metrics = results["metrics"]
    expected = {
        "group", "generator", "reward_model", "method", "aggregate", "n", "accuracy", "low", "high",
        "problems", "grader", "metric",
    }  # fmt: skip
    assert set(metrics[0]) == expected
    assert results["scale"] == "tiny"
    assert "tiny scale" in results["finding"]
    at = {(f["group"], f["method"], f["n"]): f for f in metrics}
    for method in ("majority", "weighted-voting", "best-of-n", "pass"):
        for k in (1, 2, 4, 8):
            both = (at["easy", method, k], at["hard", method, k])
            mixed = sum(f["accuracy"] * f["problems"] for f in both) / sum(
                f["problems"] for f in both
            )
            assert at["all", method, k]["accuracy"] == pytest.approx(mixed, abs=0.02)
            assert (
                at["all", method, k]["low"]
                <= at["all", method, k]["accuracy"]
                <= at["all", method, k]["high"]
            )
            # Votes are drawn at random, and may stray over the exact pass@k.
            room = 1e-6 if method in ("best-of-n", "pass") else 5
            assert at["all", method, k]["accuracy"] <= at["all", "pass", k]["accuracy"] + room
    # One sample is one sample, whatever is voted: exact for best-of-n and pass, drawn for votes.
    assert at["all", "best-of-n", 1]["accuracy"] == at["all", "pass", 1]["accuracy"]
    assert at["all", "greedy", 1]["problems"] == 12
    assert {"level-1", "level-5"} <= {f["group"] for f in metrics}
    assert {c["a"] for c in results["comparisons"]} == {"weighted-voting (prod)", "best-of-n (min)"}
    text = (mini_run / "results.md").read_text()
    assert "| weighted (prod) |" in text
    assert text.endswith(f"\n{results['finding']}\n")
    assert r"\end{table}" in (mini_run / "results.tex").read_text()
    header, *lines = (mini_run / "results.csv").read_text().splitlines()
    assert header.startswith("group,generator")
    assert len(lines) == len(metrics)


def test_the_plot_is_there_in_both_formats(mini_run: Path) -> None:
    assert (mini_run / "accuracy-against-n.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (mini_run / "accuracy-against-n.svg").read_text()


def test_scores_are_probabilities_one_per_step(mini_run: Path) -> None:
    samples = pq.read_table(mini_run / "sample/samples.parquet").to_pylist()
    scores = pq.read_table(mini_run / "rerank/scores/scores.parquet").to_pylist()
    assert [(r["id"], r["sample"]) for r in samples] == [(r["id"], r["sample"]) for r in scores]
    for score in scores:
        assert all(0 <= p <= 1 for p in [*score["step_scores"], score["outcome_score"]])
    twins: dict[tuple[str, str], dict] = {}
    for sample, score in zip(samples, scores, strict=True):
        first = twins.setdefault((sample["id"], sample["text"] + sample["finish_reason"]), score)
        assert first["step_scores"] == score["step_scores"]


def test_a_second_run_does_nothing(mini_run: Path) -> None:
    before = {f: f.stat().st_mtime_ns for f in mini_run.rglob("*.*") if f.name != ".lock"}
    done = e2h("run", MINI, "--scale", "tiny", "--run-dir", mini_run, cwd=mini_run.parent)
    assert done.returncode == 0
    assert done.stdout.count("is up to date") == len(STAGES)
    assert before == {f: f.stat().st_mtime_ns for f in mini_run.rglob("*.*") if f.name != ".lock"}


def test_show_tokens_prints_what_is_read(mini_run: Path) -> None:
    """Also where the stage is up to date: it changes nothing."""
    common = ("--recipe", MINI, "--run-dir", mini_run, "--show-tokens")
    shown = e2h("train-rm", *common, cwd=mini_run.parent)
    assert shown.returncode == 0, shown.stderr
    assert "\\n\\n:1" in shown.stdout or "\\n\\n:0" in shown.stdout
    shown = e2h("rerank", *common, cwd=mini_run.parent)
    assert shown.returncode == 0, shown.stderr
    assert "]=0." in shown.stdout
    assert "is up to date" in shown.stdout


def test_seeds_change_the_problems_and_have_folders_of_their_own(cli: Cli, tmp_path: Path) -> None:
    assert cli("split", "--recipe", MINI, "--seed", "1").returncode == 0
    assert cli("split", "--recipe", MINI).returncode == 0
    one, two = (tmp_path / f"runs/mini-tiny{s}/split/test.jsonl" for s in ("-seed1", ""))
    assert one.read_text() != two.read_text()


def contents(run: Path) -> dict[str, object]:
    """Everything that the recipe made, but for times: samples, scores, accuracies, results."""
    tables = {
        str(file.relative_to(run)): pq.read_table(file).to_pylist()
        for file in sorted(run.rglob("*.parquet"))
    }
    results = json.loads((run / "results.json").read_text())
    weights = {
        str(file.relative_to(run)): file.read_bytes() for file in run.glob("*/model.safetensors")
    }
    return {**tables, **weights, "results.json": results}


@pytest.mark.slow
@pytest.mark.parametrize("write", [2, 3])
@pytest.mark.parametrize("stage", STAGES)
def test_kill_9_in_each_stage_changes_nothing(
    stage: str, write: int, mini_run: Path, tmp_path: Path
) -> None:
    """Kill a run at the 2nd or 3rd file that a stage writes (the 1st is stage.json), and go on."""
    earlier = STAGES[: STAGES.index(stage)]
    run = copy_stages(mini_run, tmp_path / "run", *earlier)
    arguments = ("run", str(MINI), "--scale", "tiny", "--run-dir", "run")
    died = subprocess.run(
        [sys.executable, "-m", "tests.killed", stage, str(write), *arguments],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert record(run, stage)["status"] == "started"
    done = e2h(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(run) == contents(mini_run)
