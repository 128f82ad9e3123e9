"""``e2h rerank`` beyond its defaults: aggregations, imported samples, tokens."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import MINI, Cli, assert_one_line, copy_stages


@pytest.fixture
def run_folder(mini_run: Path, tmp_path: Path) -> Path:
    """The mini run as far as rerank."""
    stages = ("split", "pretrain", "sft", "sample", "train-rm", "rerank")
    return copy_stages(mini_run, tmp_path / "run", *stages)


def metrics(folder: Path) -> list[dict]:
    return json.loads((folder / "results.json").read_text())["metrics"]


def accuracy(folder: Path) -> dict[tuple[str, str, int], float]:
    """Accuracy by group, method and N."""
    return {(m["group"], m["method"], m["n"]): m["accuracy"] for m in metrics(folder)}


def test_every_aggregation_and_chosen_sizes(cli: Cli, run_folder: Path) -> None:
    common = ("--recipe", MINI, "--run-dir", "run", "--force")
    done = cli(
        "rerank", "--method", "weighted-voting", "--aggregate", "all", "--ks", "1,3,8", *common
    )
    assert done.returncode == 0, done.stderr
    found = metrics(run_folder / "rerank")
    weighted = {m["aggregate"] for m in found if m["method"] == "weighted-voting"}
    assert weighted == {"min", "max", "prod", "mean", "last", "mean_logit", "mean_odd"}
    assert {m["n"] for m in found} == {1, 3, 8}
    done = cli("rerank", "--aggregate", "min,last", *common)
    assert done.returncode == 0, done.stderr
    both = {(m["method"], m["aggregate"]) for m in metrics(run_folder / "rerank")}
    assert {("best-of-n", "last"), ("weighted-voting", "min")} <= both
    assert_one_line(
        cli("rerank", "--ks", "1,9", *common), "--ks 9", "8 samples", "e2h sample --n 9"
    )
    assert_one_line(cli("rerank", "--aggregate", "median", *common), "--aggregate", "median")


def test_samples_in_any_order_get_their_own_scores(cli: Cli, run_folder: Path) -> None:
    """A good file dealt into four parts: the rows of a problem are neither together nor sorted."""
    samples = pq.read_table(run_folder / "sample/samples.parquet")
    parts = run_folder.parent / "parts"
    parts.mkdir()
    for i in range(4):
        dealt = samples.take(list(range(i, samples.num_rows, 4)))
        pq.write_table(dealt, parts / f"{i}.parquet")
    common = ("--recipe", MINI, "--run-dir", "run", "--force")
    before = accuracy(run_folder / "rerank"), (run_folder / "rerank/predictions.jsonl").read_text()
    done = cli("rerank", "--samples", "parts", *common)
    assert done.returncode == 0, done.stderr
    rows = (run_folder / "rerank/predictions.jsonl").read_text()
    assert sorted(rows.splitlines()) == sorted(before[1].splitlines())
    exact = [key for key in before[0] if key[1] in ("best-of-n", "pass")]
    after = accuracy(run_folder / "rerank")
    assert [after[key] for key in exact] == pytest.approx([before[0][key] for key in exact])

    pq.write_table(pa.concat_tables([samples, samples.slice(0, 1)]), parts / "0.parquet")
    done = cli("rerank", "--samples", "parts/0.parquet", *common)
    assert_one_line(done, "sample 0 of ", "stands twice")

    uneven = samples.slice(0, samples.num_rows - 3)
    pq.write_table(uneven, parts / "0.parquet")
    done = cli("rerank", "--samples", "parts/0.parquet", *common)
    assert done.returncode == 0, done.stderr
    assert "problems have 5 to 8 samples: N is 5, the others are left out" in done.stdout


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
    at = accuracy(tmp_path / "run/rerank")
    # Majority is wrong on "one" and, with a tie that goes to the first drawn, even on "two".
    assert at["hard", "majority", 4] == 0
    assert at["hard", "weighted-voting", 4] == 100
    assert at["easy", "best-of-n", 4] == 0
    assert at["all", "pass", 4] == 100
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["rerank", "run.json"]


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
    refused = cli(*common, "--method", "weighted-voting")
    assert_one_line(refused, "weighted voting", "logit", "--transform sigmoid")
    done = cli(*common)
    assert done.returncode == 0, done.stderr
    assert "weighted voting is left out" in done.stdout
    assert {m["method"] for m in metrics(tmp_path / "run/rerank")} == {
        "majority", "best-of-n", "pass"
    }  # fmt: skip
    done = cli(*common, "--transform", "sigmoid", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    at = accuracy(tmp_path / "run/rerank")
    assert at["hard", "majority", 3] == 0
    assert at["hard", "weighted-voting", 3] == 100


def test_imported_scores_never_stand_in_for_our_own(
    cli: Cli, run_folder: Path, tmp_path: Path
) -> None:
    """Own scores, then an import over them, then own scores again under the old conditions."""
    common = ("--recipe", MINI, "--run-dir", "run", "--force")
    before = metrics(run_folder / "rerank")
    done = cli("rerank", "--import", "search-and-learn", foreign(tmp_path), *common)
    assert done.returncode == 0, done.stderr
    assert metrics(run_folder / "rerank") != before
    done = cli("rerank", *common)
    assert done.returncode == 0, done.stderr
    assert "to score" in done.stdout
    assert metrics(run_folder / "rerank") == before


def test_a_foreign_file_that_is_none(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"problem": "p"}\n')
    for kind in ("qwen", "search-and-learn", "rlhflow", "official"):
        done = cli("rerank", "--import", kind, "x.jsonl", "--run-dir", f"run-{kind}")
        assert_one_line(done, "x.jsonl")
    done = cli("rerank", "--import", "other", "x.jsonl")
    assert_one_line(done, "import", "qwen")


def test_tokens_are_shown_and_nothing_is_written(cli: Cli, run_folder: Path) -> None:
    def written() -> dict[Path, int]:
        files = [f for f in run_folder.rglob("*") if f.is_file() and not f.name.startswith(".lock")]
        return {file: file.stat().st_mtime_ns for file in files}

    before = written()
    done = cli("rerank", "--show-tokens", "--recipe", MINI, "--run-dir", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rerank is up to date" in done.stdout
    assert re.search(r"chains/test/\d+ \(e2h\): .*\[\d+\]=0\.\d{3}", done.stdout)
    assert written() == before


def test_tokens_of_imported_samples_are_shown_with_counts_once(
    cli: Cli, run_folder: Path, tmp_path: Path
) -> None:
    done = cli(
        "rerank", "--import", "search-and-learn", foreign(tmp_path), "--reward-model",
        run_folder / "train-rm", "--show-tokens", "--run-dir", "imported",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "search-and-learn/1 (e2h): " in done.stdout
    assert done.stdout.count("2 problems, 8 samples") == 1
