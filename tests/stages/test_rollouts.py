"""``e2h supervise --source rollouts``: from samples to labels, and on to a reward model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from e2h_cli.data.rm_labels import until_first_mistake
from e2h_cli.pipeline.lineage import input_path, lineage_of
from tests.conftest import MINI, TESTS, Done, assert_one_line, copy_stages, e2h

ROLLOUTS = ("--source", "rollouts", "--temperature", "1", "--top-k", "0", "--max-tokens", "48",
            "--rollouts-per-step", "3", "--max-solutions", "2")  # fmt: skip


@pytest.fixture
def run(mini_run: Path, tmp_path: Path) -> Path:
    """A run folder with samples and nothing labelled."""
    return copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "sft", "rm-samples")


def arguments(run: Path, *options: str, model: str = "sft") -> list[str]:
    given = ["supervise", "--recipe", str(MINI), "--run-dir", str(run), "--model", model]
    return [*given, *ROLLOUTS, *options]


def supervise(run: Path, *options: str) -> Done:
    done = e2h(*arguments(run, *options), cwd=run.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def counts(run: Path) -> dict:
    return json.loads((run / "supervise/stage.json").read_text())["counts"]


def rows(run: Path, kind: str = "prm") -> list[dict]:
    return [json.loads(line) for line in (run / f"supervise/{kind}.jsonl").open()]


def completions(run: Path) -> dict[tuple[str, int], str]:
    table = pq.read_table(run / "supervise/completions/completions.parquet")
    columns = (table[name].to_pylist() for name in ("id", "sample", "text"))
    return {(key, sample): text for key, sample, text in zip(*columns, strict=True)}


def test_hard_and_soft_rows_of_the_same_completions(run: Path) -> None:
    done = supervise(run)
    found = counts(run)
    about = found["rollouts"]
    hard = rows(run)
    labels = [row["labels"][:-1] for row in hard]
    assert {type(label) for row in hard for label in row["labels"]} == {bool}
    assert about["solutions"] == found["samples labelled"] == len(hard)
    assert about["steps"] == sum(map(len, labels))
    # One set of completions per problem and beginning.
    begun = {
        (row["id"], *row["completions"][: end + 1])
        for row in hard
        for end in range(len(row["completions"]) - 1)
    }
    assert about["distinct_prefixes"] == len(begun) <= about["steps"]
    assert about["completions"] == 3 * len(begun) == len(completions(run))
    assert 0 < about["right_steps"] < about["steps"]
    agreed = about["oracle"]["hard"]
    assert agreed["steps"] == about["steps"]
    assert (
        f"agree with the oracle on {agreed['accuracy']:.1%} of {agreed['steps']:,}" in done.stdout
    )
    assert found["seen"] == {kind: [1, 2, 3] for kind in ("questions", "labels", "answers")}
    assert lineage_of(run / "supervise").levels("labels") == {1, 2, 3}
    assert lineage_of(run / "supervise").unknown == frozenset()
    assert input_path(run / "supervise", "model") == run / "sft"
    # Rollouts are no data from elsewhere: the settings are those of the run's scale.
    settings = json.loads((run / "supervise/stage.json").read_text())["settings"]
    assert settings["grader"] == "exact"

    held = completions(run)
    supervise(run, "--estimation", "soft", "--force")
    soft = rows(run)
    assert completions(run) == held
    # Not one of them was drawn again.
    assert "tokens_per_engine_second" not in counts(run)["rollouts"]
    for row, other in zip(soft, hard, strict=True):
        assert [share > 0 for share in row["labels"][:-1]] == other["labels"][:-1]
        assert all(share * 3 in (0, 1, 2, 3) for share in row["labels"][:-1])
        assert row["labels"][-1] is other["labels"][-1]
    assert any(0 < share < 1 for row in soft for share in row["labels"])
    # One more per beginning is drawn, and the others are kept.
    supervise(run, "--rollouts-per-step", "4", "--force")
    assert completions(run).items() > held.items()
    assert json.loads((run / "supervise/engines.jsonl").read_text())["samples"] == len(begun)
    # Completions that would be others are drawn anew.
    supervise(run, "--temperature", "0.5", "--force")
    assert completions(run) != held


def test_an_early_stop_saves_completions_and_changes_no_label(run: Path, tmp_path: Path) -> None:
    fresh = copy_stages(run, tmp_path / "fresh", "split", "pretrain", "sft", "rm-samples")
    supervise(run)
    every, held = rows(run), completions(run)
    supervise(run, "--until-first-mistake", "--force")
    # The labels need less than what is on disk, and nothing of it is lost.
    assert completions(run) == held
    assert "tokens_per_engine_second" not in counts(run)["rollouts"]
    supervise(fresh, "--until-first-mistake")
    assert len(completions(fresh)) == counts(fresh)["rollouts"]["completions"] < len(held)
    assert counts(run)["rollouts"]["completions"] == len(completions(fresh))
    assert rows(run) == rows(fresh)
    for row, whole in zip(rows(run), every, strict=True):
        *labels, right = whole["labels"]
        assert row["labels"] == [*until_first_mistake(labels), right]


@pytest.mark.slow
@pytest.mark.parametrize("estimation", ["hard", "soft"])
def test_a_reward_model_is_trained_on_the_rows(estimation: str, run: Path) -> None:
    supervise(run, "--estimation", estimation)
    for kind in ("prm", "oprm"):
        common = ("--recipe", MINI, "--run-dir", run, "--model", "sft", "--force")
        done = e2h("train-rm", *common, "--kind", kind, cwd=run.parent)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("write", [4, 6])
def test_kill_9_costs_no_completion_on_disk(write: int, run: Path, tmp_path: Path) -> None:
    whole = copy_stages(run, tmp_path / "whole", "split", "pretrain", "sft", "rm-samples")
    supervise(whole)
    often = ("--flush-seconds", "0.001", "--generation-batch-size", "32")
    died = subprocess.run(
        [sys.executable, "-m", "tests.killed", "supervise", str(write), *arguments(run, *often)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(TESTS.parent)}, capture_output=True,
        check=False,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    parts = list((run / "supervise/unfinished").rglob("part-*.parquet"))
    assert parts
    done = supervise(run, *often)
    assert "completions are on disk already" in done.stdout
    assert completions(run).keys() == completions(whole).keys()
    assert rows(run) == rows(whole)
    assert not (run / "supervise/unfinished").exists()


def test_mistakes_are_one_line(run: Path, tmp_path: Path) -> None:
    def refused(*options: str | Path, source: str = "rollouts") -> Done:
        common = ("supervise", "--recipe", MINI, "--run-dir", run, "--source", source, "--force")
        return e2h(*common, *options, cwd=tmp_path)

    assert_one_line(refused(), "supervise needs model; give --model")
    assert_one_line(refused("--model", "nowhere"), "no stage of this recipe, no file or folder")
    assert_one_line(refused("--model", "sft", "--samples", "none"), "supervise needs samples")
    assert_one_line(refused("--model", "sft", source="samples"), "only rollouts need a model")
    assert_one_line(refused("--model", "sft", "--grader", "x"), "grader", "math-verify")
    assert_one_line(refused("--model", "sft", "--max-tokens", "5000"), "lower --max-tokens to")
    table = pq.read_table(run / "rm-samples/samples.parquet")
    cut = table.set_column(4, "finish_reason", [["length"] * table.num_rows])
    pq.write_table(cut, tmp_path / "cut.parquet")
    done = refused("--model", "sft", "--samples", tmp_path / "cut.parquet")
    assert_one_line(done, "not one training row", "216 samples cut at the token limit")
    problems = [json.loads(line) for line in (run / "split/easy.jsonl").open()]
    unanswered = [{k: v for k, v in p.items() if k not in ("answer", "solution")} for p in problems]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, unanswered)))
    done = refused("--model", "sft", "--problems", tmp_path / "own.jsonl")
    assert_one_line(done, "not one training row", "216 samples of problems without a gold answer")
