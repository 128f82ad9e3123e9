"""``e2h eval`` beyond its defaults: metrics of reward models, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem, write_problems
from e2h_cli.evaluation.measurements import Measurement
from e2h_cli.pipeline.stage_record import read_record, write_record
from e2h_cli.reports.result_files import write_accuracy
from e2h_cli.reports.tidy_metrics import ProblemAccuracy, read_metrics
from tests.conftest import MINI, Cli, assert_one_line, copy_stages


def test_metrics_of_reward_models(cli: Cli, mini_run: Path, tmp_path: Path) -> None:
    stages = (path.name for path in mini_run.iterdir() if (path / "stage.json").is_file())
    run = copy_stages(mini_run, tmp_path / "run", *stages)
    done = cli("eval", "--reward-metrics", "--recipe", MINI, "--run-dir", "run", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "roc auc" in done.stdout
    rows = json.loads((run / "results.json").read_text())["diagnostics"]
    tidy = read_metrics(run / "eval")
    (one,) = (
        r for r in rows if (r["group"], r["item"], r["metric"]) == ("all", "step", "accuracy")
    )
    held = tidy.cell({"metric": "step accuracy"})
    assert held is not None and held["value"] == pytest.approx(100 * one["value"])
    assert (held["stage"], held["n"], held["method"]) == ("rerank", None, "")
    outcome = tidy.series({"metric": "outcome calibration error", "aggregate": "prod"})
    assert [0 <= row["value"] <= 1 for row in outcome] == [True]
    # Outcomes are by the score of the last token, unless another aggregation is named.
    assert tidy.series({"metric": "outcome accuracy"})[0]["aggregate"] == "last"
    found = {(row["group"], row["item"], row["score"], row["metric"]) for row in rows}
    assert ("all", "step", "step", "accuracy") in found
    assert ("hard", "outcome", "prod", "calibration error") in found
    assert {row["stage"] for row in rows} == {"rerank"}
    assert all(-1 <= row["value"] <= 1 for row in rows)
    # Nothing to plot where all outcomes are wrong, as with the model of the mini recipe.
    assert ("Plot: " in done.stdout and "reward-of" in done.stdout) == (
        run / "eval/reward-of-rerank.png"
    ).is_file()


def test_missing_inputs_are_named(cli: Cli) -> None:
    done = cli("eval", "--reward-metrics", "--run-dir", "run", "--no-make-inputs")
    assert_one_line(done, "eval needs problems, which is not made yet")


def test_tidy_rows_are_the_results_with_facets_and_accuracy_on_every_problem(
    mini_run: Path,
) -> None:
    found, problems = read_metrics(mini_run / "eval"), ProblemAccuracy(mini_run / "eval", 3)
    results = json.loads((mini_run / "results.json").read_text())["metrics"]
    assert len(found.rows) == len(results) > 100
    for row, metric in zip(found.rows, results, strict=True):
        for key in ("group", "method", "aggregate", "n", "low", "high", "problems", "grader"):
            assert row[key] == metric[key]
        assert row["value"] == metric["accuracy"]
        about = {key: row[key] for key in ("seed", "scale", "stage", "metric", "reads_hard")}
        assert about == {
            "seed": 0, "scale": "tiny", "metric": "accuracy", "reads_hard": "no",
            "stage": "greedy" if metric["method"] == "greedy" else "rerank",
        }  # fmt: skip
        accuracy = list(problems.of(row).values())
        assert len(accuracy) == row["problems"]
        assert 100 * np.mean(accuracy) == pytest.approx(row["value"], abs=0.0051)


def test_facets_are_by_the_tags_of_the_recipe(rl_run: Path) -> None:
    found = read_metrics(rl_run / "table")
    wanted = {"method": "greedy", "generator": "PPO", "questions": "all"}
    easy, every = (found.cell({**wanted, "answers": answers}) for answers in ("easy", "all"))
    assert easy is not None and every is not None
    assert (easy["stage"], easy["prm"], easy["reads_hard"]) == ("greedy-rl", "yes", "no")
    assert (every["stage"], every["prm"], every["reads_hard"]) == ("greedy-ppo-all", "no", "train")
    with pytest.raises(InputError, match="greedy-rl and greedy-ppo-all, which differ in answers"):
        found.cell(wanted)


def test_samples_vote_by_majority_without_a_reward_model(
    cli: Cli, mini_run: Path, tmp_path: Path
) -> None:
    """As in Table 1: the same numbers as those of the rerank stage over the same samples."""
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "sft", "sample")
    inputs = ("--samples", "sample", "--votes", "none", "--draws", "50", "--no-tables")
    done = cli("eval", *inputs, "--recipe", MINI, "--run-dir", run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (run / "eval/results.json").exists()
    ours, theirs = read_metrics(run / "eval"), read_metrics(mini_run / "eval")
    for group in ("easy", "hard", "all"):
        wanted = {"method": "majority", "group": group}
        of_samples, of_votes = ours.series(wanted), theirs.series(wanted)
        assert [row["n"] for row in of_samples] == [1, 2, 4, 8]
        assert of_samples[-1]["value"] == of_votes[-1]["value"]
        single = ours.cell({"method": "single sample", "group": group})
        # Over all samples, and over random subsets of one.
        assert single is not None
        assert single["value"] == pytest.approx(of_samples[0]["value"], abs=6)


def test_the_sentence_says_what_the_lineage_proves(
    cli: Cli, mini_run: Path, tmp_path: Path
) -> None:
    """Scores of a file, and those of a reward model that saw labels of all levels."""
    text = json.loads((mini_run / "results.json").read_text())["finding"]
    assert "a reward model that saw labels of levels 1-3 only" in text
    assert "The pre-training corpus holds solutions of levels 1-5." in text
    stages = (path.parent.name for path in mini_run.glob("*/stage.json"))
    run = copy_stages(mini_run, tmp_path / "run", *stages)
    common = ("--recipe", MINI, "--run-dir", "run", "--force")

    def sentence(*options: str | Path) -> str:
        assert cli("eval", *common, *options).returncode == 0
        return json.loads((run / "results.json").read_text())["finding"]

    record = read_record(run / "supervise/stage.json")
    record["counts"]["seen"]["labels"] = [1, 5]
    write_record(run / "supervise/stage.json", record)
    text = sentence("--confidence", "0.9")
    assert "a reward model that saw labels of levels 1, 2, 3, 5 solves" in text
    assert "beyond" not in text
    shutil.copytree(run / "train-rm", tmp_path / "theirs")
    (tmp_path / "theirs/stage.json").unlink()
    assert cli("rerank", "--reward-model", tmp_path / "theirs", *common).returncode == 0
    text = sentence()
    assert "weighted by scores of unknown training (theirs)" in text
    assert "beyond" not in text


@pytest.mark.parametrize(
    ("scale", "easy", "shown"), [("own", 238, True), ("own", 237, False), ("tiny", 238, False)]
)
def test_the_paper_is_drawn_beside_results_on_math500_only(
    cli: Cli, tmp_path: Path, scale: str, easy: int, shown: bool
) -> None:
    problems = [Problem(str(i), f"Question {i}", 1 if i < easy else 5, "Algebra", "1")
                for i in range(easy + 262)]  # fmt: skip
    write_problems(tmp_path / "problems.jsonl", problems)
    votes = Measurement("sft", "", "majority", "", 4, np.arange(len(problems)) % 2)
    (tmp_path / "voted").mkdir()
    write_accuracy(tmp_path / "voted", [p.id for p in problems], [votes])
    inputs = ("--problems", "problems.jsonl", "--votes", "voted", "--samples", "none")
    done = cli("eval", *inputs, "--run-dir", "run", "--scale", scale)
    assert done.returncode == 0, done.stdout + done.stderr
    svg = (tmp_path / "run/accuracy-against-n.svg").read_text()
    assert ("Paper, Figure 4" in svg) == shown


def test_votes_on_other_problems_are_refused(cli: Cli, mini_run: Path, tmp_path: Path) -> None:
    problems = [Problem("other", "Question", 1, "Algebra", "1")]
    write_problems(tmp_path / "problems.jsonl", problems)
    inputs = ("--problems", "problems.jsonl", "--samples", "none", "--votes", mini_run / "rerank")
    done = cli("eval", *inputs, "--run-dir", "run", "--scale", "tiny")
    assert_one_line(done, "is none of the problems", "--problems")
