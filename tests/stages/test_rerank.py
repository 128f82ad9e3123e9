"""``e2h rerank`` and ``e2h eval`` beyond their defaults."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import MINI, Cli, assert_one_line


@pytest.fixture
def run_folder(mini_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished mini run."""
    shutil.copytree(mini_run, tmp_path / "run")
    return tmp_path / "run"


def figures(folder: Path) -> list[dict]:
    return json.loads((folder / "results.json").read_text())["figures"]


def test_every_aggregation_and_chosen_sizes(cli: Cli, run_folder: Path) -> None:
    common = ("--recipe", MINI, "--run-dir", "run", "--force")
    done = cli(
        "rerank", "--method", "weighted-voting", "--aggregate", "all", "--ks", "1,3,8", *common
    )
    assert done.returncode == 0, done.stderr
    found = figures(run_folder / "rerank")
    weighted = {f["aggregate"] for f in found if f["method"] == "weighted-voting"}
    assert weighted == {"min", "max", "prod", "mean", "last", "mean_logit", "mean_odd"}
    assert {f["k"] for f in found} == {1, 3, 8}
    done = cli("rerank", "--aggregate", "min,last", *common)
    assert done.returncode == 0, done.stderr
    both = {(f["method"], f["aggregate"]) for f in figures(run_folder / "rerank")}
    assert {("best-of-n", "last"), ("weighted-voting", "min")} <= both
    assert_one_line(
        cli("rerank", "--ks", "1,9", *common), "--ks 9", "8 samples", "e2h sample --n 9"
    )
    assert_one_line(cli("rerank", "--aggregate", "median", *common), "--aggregate", "median")


def test_reward_diagnostics(cli: Cli, run_folder: Path) -> None:
    done = cli("eval", "--reward-metrics", "--recipe", MINI, "--run-dir", "run", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "roc auc" in done.stdout
    rows = json.loads((run_folder / "results.json").read_text())["diagnostics"]
    found = {(row["group"], row["item"], row["score"], row["metric"]) for row in rows}
    assert ("all", "step", "step", "accuracy") in found
    assert ("hard", "outcome", "prod", "calibration error") in found
    assert {row["stage"] for row in rows} == {"rerank"}
    assert all(-1 <= row["value"] <= 1 for row in rows)
    # Nothing to draw where all is wrong, as with the model of the mini recipe.
    assert ("Plot: " in done.stdout and "reward-of" in done.stdout) == (
        run_folder / "eval/reward-of-rerank.png"
    ).is_file()


def foreign(tmp_path: Path) -> Path:
    """Two problems of search-and-learn with four completions each."""
    rows = []
    for name, gold, answers, scores in (
        ("one", "2", ["2", "3", "3", "3"], [0.99, 0.1, 0.1, 0.1]),
        ("two", "5", ["5", "5", "7", "7"], [0.2, 0.3, 0.9, 0.8]),
    ):
        rows.append(
            {
                "problem": f"problem {name}",
                "answer": gold,
                "level": 5 if name == "one" else 1,
                "completions": [f"so \\boxed{{{a}}}" for a in answers],
                "scores": [[0.9, s] for s in scores],
                "pred": "\\boxed{2}",
            }
        )
    file = tmp_path / "foreign.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_foreign_file_needs_nothing_else(cli: Cli, tmp_path: Path) -> None:
    done = cli("rerank", "--import", "search-and-learn", foreign(tmp_path), "--run-dir", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    at = {
        (f["group"], f["method"], f["k"]): f["accuracy"] for f in figures(tmp_path / "run/rerank")
    }
    # Majority is wrong on "one" and, with a tie that goes to the first drawn, even on "two".
    assert at["hard", "majority", 4] == 0
    assert at["hard", "weighted-voting", 4] == 100
    assert at["easy", "best-of-n", 4] == 0
    assert at["all", "pass", 4] == 100
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["rerank"]
    done = cli(
        "eval", "--reward-metrics", "--votes", "run/rerank", "--run-dir", "run", "--no-make-inputs"
    )
    assert done.returncode == 2  # the recipe's eval wants the split and the greedy samples


def test_logits_ask_for_a_transform(cli: Cli, tmp_path: Path) -> None:
    rows = [
        {"idx": 0, "sample_idx": i, "prompt": "# Question\n\n1+1?\n\n# Solution\n\n",
         "output": f"so\n\n# Answer\n\n{a}", "reward": [3.0, z]}
        for i, (a, z) in enumerate([("2", 4.0), ("3", -4.0), ("3", -5.0)])
    ]  # fmt: skip
    (tmp_path / "official.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    problem = {"id": "p", "problem": "1+1?", "level": 4, "answer": "2"}
    (tmp_path / "problems.jsonl").write_text(json.dumps(problem))
    common = (
        "rerank", "--import", "official", "official.jsonl", "--problems", "problems.jsonl",
        "--run-dir", "run",
    )  # fmt: skip
    assert_one_line(cli(*common), "weighted voting", "logit", "--transform sigmoid")
    done = cli(*common, "--method", "best-of-n")
    assert done.returncode == 0, done.stderr
    done = cli(*common, "--transform", "sigmoid", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    at = {
        (f["group"], f["method"], f["k"]): f["accuracy"] for f in figures(tmp_path / "run/rerank")
    }
    assert at["hard", "majority", 3] == 0
    assert at["hard", "weighted-voting", 3] == 100


def test_imported_scores_never_stand_in_for_our_own(
    cli: Cli, run_folder: Path, tmp_path: Path
) -> None:
    """Own scores, then an import over them, then own scores again under the old conditions."""
    common = ("--recipe", MINI, "--run-dir", "run", "--force")
    before = figures(run_folder / "rerank")
    done = cli("rerank", "--import", "search-and-learn", foreign(tmp_path), *common)
    assert done.returncode == 0, done.stderr
    assert figures(run_folder / "rerank") != before
    done = cli("rerank", *common)
    assert done.returncode == 0, done.stderr
    assert "to score" in done.stdout
    assert figures(run_folder / "rerank") == before


def test_a_foreign_file_that_is_none(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"problem": "p"}\n')
    for kind in ("qwen", "search-and-learn", "rlhflow", "official"):
        done = cli("rerank", "--import", kind, "x.jsonl", "--run-dir", f"run-{kind}")
        assert_one_line(done, "x.jsonl")
    done = cli("rerank", "--import", "other", "x.jsonl")
    assert_one_line(done, "import", "qwen")
