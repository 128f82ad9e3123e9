"""Problems that programs solve, through every stage, on programs that the test writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2h_cli.common.parquet_store import SAMPLE_SCHEMA
from e2h_cli.data.problem import Problem, read_problems
from e2h_cli.data.program_tests import ProgramTests
from e2h_cli.inference.sampling import read_style
from e2h_cli.models.loading import load_tokenizer
from e2h_cli.pipeline.lineage import lineage_of
from e2h_cli.pipeline.run_folder import StageFolder
from e2h_cli.stages.page_samples import SamplePages, sample_sources
from e2h_cli.training.token_rows import sft_row
from tests.conftest import TESTS, Cli, assert_one_line, e2h

RECIPE = TESTS / "recipes/programs.yaml"
COMMON = ("--recipe", RECIPE, "--scale", "tiny", "--run-dir", "run")


@pytest.fixture(scope="module")
def base_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The split, a base model and a generator that learned nothing. Tests must not change it."""
    folder = tmp_path_factory.mktemp("programs")
    done = e2h("run", RECIPE, "--scale", "tiny", "--run-dir", "run", "--until", "sft-easy-small",
               cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


@pytest.fixture
def run(base_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(base_run, tmp_path / "run")


def candidates(problem: Problem) -> list[str]:
    """Right; right with another text; wrong everywhere; wrong on one input; no program."""
    right = problem.solution or ""
    (first,) = json.loads(ProgramTests.parse(problem.answer or "").inputs[0])
    sometimes = right.replace("def f(x):", f"def f(x):\n    if x == {first}: return 0", 1)
    return [right, f"{right}\n", "def f(x):\n    return 'wrong'", sometimes, "def f(x"]


def write_samples(file: Path, problems: list[Problem]) -> Path:
    rows = [
        {"id": p.id, "sample": i, "text": text, "answer": text, "finish_reason": "stop",
         "tokens": 10, "logprob": None}
        for p in problems
        for i, text in enumerate(candidates(p))
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA), file)
    return file


def jsonl(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.open()]


def test_hard_tests_are_hidden_and_public_inputs_are_not(run: Path) -> None:
    hard, easy = (read_problems(run / f"split/{part}.jsonl") for part in ("hard", "easy"))
    assert {p.level for p in easy} == {1}
    assert {p.level for p in hard} == {2, 3}
    assert all(p.answer and p.solution and p.public_tests for p in easy)
    assert all(p.answer is None and p.solution is None and p.is_program for p in hard)
    assert "outputs" not in {key for row in jsonl(run / "split/hard.jsonl") for key in row}
    assert {p.source for p in read_problems(run / "split/test.jsonl")} == {"programs"}


def test_programs_are_labelled_by_their_tests(cli: Cli, run: Path, tmp_path: Path) -> None:
    easy = read_problems(run / "split/easy.jsonl")
    file = write_samples(tmp_path / "samples.parquet", easy)
    done = cli("supervise", *COMMON, "--stage", "outcomes-small", "--samples", file)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = run / "outcomes-small"
    rows = jsonl(folder / "orm.jsonl")
    assert not (folder / "prm.jsonl").exists()
    assert len(rows) == 5 * len(easy)
    by_text = {(row["id"], row["completions"][0]): row for row in rows}
    for problem in easy:
        labels = [by_text[problem.id, text]["labels"] for text in candidates(problem)]
        assert labels == [[True], [True], [False], [False], [False]]
    # Kept as they are: white space is part of a program.
    tuned = jsonl(folder / "sft.jsonl")
    assert {row["completion"] for row in tuned} <= {p for e in easy for p in candidates(e)[:2]}
    assert lineage_of(folder).answers_seen == {1}

    train = ("train-rm", *COMMON, "--stage", "rm-orm-small")
    shown = cli(*train, "--show-tokens")
    # Every token of the program and the end of text carry the label; the question carries none.
    first = shown.stdout.splitlines()[0]
    assert "</s>:1" in first or "</s>:0" in first
    assert ":1" not in first.partition("# Solution")[0].partition(": ")[2]
    done = cli(*train)
    assert done.returncode == 0, done.stdout + done.stderr


def test_votes_and_both_accuracies(cli: Cli, run: Path, tmp_path: Path) -> None:
    problems = read_problems(run / "split/test.jsonl")
    file = write_samples(tmp_path / "samples.parquet", problems)
    done = cli("rerank", *COMMON, "--stage", "rerank-small", "--samples", file, "--method",
               "majority", "--reward-model", "none", "--draws", "4000")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((run / "rerank-small/results.json").read_text())
    value = {(m["metric"], m["method"], m["group"], m["n"]): m for m in results["metrics"]}
    strict = value["accuracy", "majority", "all", 5]
    # The two right programs are one class, the others are alone.
    assert strict["accuracy"] == 100
    assert value["accuracy", "majority", "all", 1]["accuracy"] == pytest.approx(40, abs=3)
    share = value["average accuracy", "majority", "all", 1]["accuracy"]
    assert share == pytest.approx(100 * (1 + 1 + 0 + 7 / 8 + 0) / 5, abs=3)
    assert "tolerant" in strict["grader"]
    predictions = jsonl(run / "rerank-small/predictions.jsonl")
    assert {row["answer"] for row in predictions} <= {
        c for p in problems for c in candidates(p)[:2]
    }
    done = cli("eval", "--run-dir", "run", "--problems", "run/split", "--votes", "run/rerank-small",
               "--samples", file)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Average accuracy (tests passed) in percent" in done.stdout
    tidy = (run / "eval/metrics.csv").read_text()
    assert "average accuracy" in tidy
    # The page judges programs by their tests, too.
    page = SamplePages(64)
    chunks = dict(page.chunks(sample_sources([StageFolder(run / "rerank-small")])))
    assert page.notes == []
    assert [problem["right"] for problem in chunks["samples-0"]] == [2] * len(problems)


def test_samples_say_that_they_are_programs(cli: Cli, run: Path) -> None:
    done = cli("sample", *COMMON, "--stage", "sample-small", "--n", "2", "--max-tokens", "60")
    assert done.returncode == 0, done.stdout + done.stderr
    table = pq.read_table(run / "sample-small/samples.parquet")
    assert read_style(run / "sample-small").metadata == {"prompt": "program"}
    for row in table.to_pylist():
        finished = row["finish_reason"] == "stop" and row["text"].strip()
        assert row["answer"] == (row["text"] if finished else None)


def test_what_is_not_for_programs_is_refused(cli: Cli, run: Path) -> None:
    sample = ("sample", *COMMON, "--stage", "sample-small")
    assert_one_line(cli(*sample, "--shots", "2"), "--shots", "programs")
    assert_one_line(cli(*sample, "--prompt", "minerva"), "minerva", "programs")
    rl = ("rl", "--run-dir", "run", "--problems", "run/split", "--model", "run/sft-easy-small")
    done = cli(*rl, "--algo", "grpo", "--shaping", "none", "--checkpoint-rule", "easy",
               "--reward-model", "none", "--votes", "none")  # fmt: skip
    assert_one_line(done, "rewards", "programs")


def test_generators_are_trained_to_end_their_programs(run: Path) -> None:
    tokenizer = load_tokenizer(str(run / "pretrain-small"))
    rows = jsonl(run / "sft-easy-small/rows.jsonl")
    assert all(row["verbatim"] for row in rows)
    trained = sft_row(tokenizer, rows[0]["prompt"], rows[0]["completion"], finished=True)
    assert trained.input_ids[-1] == tokenizer.eos_token_id
    counts = json.loads((run / "sft-easy-small/stage.json").read_text())["counts"]
    whole = sum(len(tokenizer(row["completion"]).input_ids) + 1 for row in rows)
    assert counts["trained_tokens"] == whole
