"""``e2h run published``: samples of a data set and their scores, voted on without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from tests.conftest import Cli, assert_one_line
from tests.hub_cache import cache_data_set

NAME = "HuggingFaceH4/Llama-3.2-1B-Instruct-best-of-N-completions"
CONFIG = (
    "HuggingFaceH4_MATH-500--T-0.8--top_p-1.0--n-256--max_tokens-2048--bsz-8--seed-0"
    "--agg_strategy-last"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder))
    return folder


def rows() -> list[dict[str, Any]]:
    """A hard problem on which the most frequent answer is wrong and has low scores."""
    return [
        {
            "problem": "What is 1 + 1?",
            "solution": "It is $\\boxed{2}$.",
            "answer": "2",
            "subject": "Algebra",
            "level": 5,
            "unique_id": "test/algebra/1.json",
            "completions": [f"## Step 1: We add.\n\nIt is $\\boxed{{{a}}}$." for a in "2333"],
            "scores": [[0.9, 0.99], [0.9, 0.1], [0.8, 0.1], [0.9, 0.2]],
            "pred": "\\boxed{3}",
            "completion_tokens": [12, 12, 12, 12],
        }
    ]


def hard(run: Path) -> dict[tuple[str, str], float]:
    """Accuracy with 4 samples by method and aggregation."""
    found = json.loads((run / "results.json").read_text())["metrics"]
    return {
        (m["method"], m["aggregate"]): m["accuracy"]
        for m in found
        if (m["group"], m["n"]) == ("hard", 4)
    }


def test_the_recipe_votes_with_the_published_scores(cli: Cli, tmp_path: Path, cache: Path) -> None:
    cache_data_set(cache, NAME, CONFIG, {"train": rows()})
    cache_data_set(cache, NAME, "n-1024--seed-0", {"train": rows()})
    done = cli("run", "published", "--run-dir", "by-name")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("published at own scale")
    (tmp_path / "samples.jsonl").write_text(json.dumps(rows()[0]))
    file = ("--import", "search-and-learn", "samples.jsonl")
    done = cli("rerank", "--recipe", "published", *file, "--run-dir", "by-file")
    assert done.returncode == 0, done.stdout + done.stderr
    found = hard(tmp_path / "by-name" / "rerank")
    assert found == hard(tmp_path / "by-file" / "rerank")
    assert found["majority", ""] == 0
    for aggregate in ("last", "prod", "min"):
        assert found["weighted-voting", aggregate] == found["best-of-n", aggregate] == 100


def test_gold_answers_may_come_from_a_data_set(cli: Cli, tmp_path: Path, cache: Path) -> None:
    [row] = rows()
    problem = {key: row[key] for key in ("problem", "solution", "answer", "subject", "level")}
    cache_data_set(cache, "HuggingFaceH4/MATH-500", "default", {"test": [problem | {"level": 1}]})
    (tmp_path / "samples.jsonl").write_text(json.dumps(row))
    done = cli(
        "rerank", "--import", "search-and-learn", "samples.jsonl", "--run-dir", "run",
        "--problems", "HuggingFaceH4/MATH-500",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert hard(tmp_path / "run" / "rerank") == {}  # the level is that of the data set


@pytest.mark.usefixtures("cache")
def test_without_network_nothing_but_one_line(cli: Cli) -> None:
    validated, planned = cli("validate", "published"), cli("plan", "published")
    assert (validated.returncode, planned.returncode) == (0, 0)
    done = cli("run", "published", "--run-dir", "run")
    assert_one_line(done, f"{NAME}:{CONFIG}", "hf download", f"--include '*{CONFIG}*'")
    for command in (
        ("split", "--source", "math", "--scale", "own", "--run-dir", "s"),
        ("rerank", "--import", "search-and-learn", "owner/name", "--run-dir", "r"),
    ):
        assert_one_line(cli(*command), "cannot load this data set", "--repo-type dataset")
