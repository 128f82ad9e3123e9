"""Problems and models that the user names take the defaults of the commands."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from e2h_cli.data.problem import read_problems, write_problems
from e2h_cli.data.template import prompt
from tests import builders
from tests.conftest import MINI, Cli, Done, assert_one_line


def settings(run: Path, stage: str) -> dict:
    return json.loads((run / stage / "stage.json").read_text())["settings"]


def qwen_file(path: Path, problems: int = 20, samples: int = 4) -> Path:
    """Answers that the same value has in other spellings, in Qwen's format."""
    rng = random.Random(0)
    spellings = ["\\frac{1}{2}", "0.5", "\\dfrac12", "1/2", "2"]
    with path.open("w") as file:
        for i in range(problems):
            answers = [rng.choice(spellings) for _ in range(samples)]
            row = {
                "idx": i, "question": f"Question {i}?", "gt": "\\frac{1}{2}", "level": 1 + i % 5,
                "code": [f"So it is $\\boxed{{{answer}}}$." for answer in answers],
                "pred": answers, "pred_score": [rng.random() for _ in answers],
            }  # fmt: skip
            file.write(json.dumps(row) + "\n")
    return path


def test_an_imported_file_is_graded_as_mathematics(cli: Cli, tmp_path: Path) -> None:
    file = qwen_file(tmp_path / "scored.jsonl")
    done = cli("rerank", "--import", "qwen", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tiny" not in done.stdout.lower()
    assert "own data" in done.stdout
    by_default = json.loads((tmp_path / "runs/own/rerank/results.json").read_text())
    done = cli("rerank", "--import", "qwen", file, "--grader", "e2h", "--run-dir", "named")
    assert done.returncode == 0
    named = json.loads((tmp_path / "named/rerank/results.json").read_text())
    assert by_default["metrics"] == named["metrics"]
    done = cli("rerank", "--import", "qwen", file, "--grader", "exact", "--run-dir", "exact")
    exact = json.loads((tmp_path / "exact/rerank/results.json").read_text())
    assert by_default["metrics"] != exact["metrics"]


def test_an_import_into_a_tiny_run_is_not_of_tiny_scale(
    cli: Cli, mini_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "runs/mini-tiny").mkdir(parents=True)
    (tmp_path / "runs/mini-tiny/run.json").write_text((mini_run / "run.json").read_text())
    done = cli("rerank", "--recipe", MINI, "--import", "qwen", qwen_file(tmp_path / "s.jsonl"))
    assert "own data" in done.stdout
    assert settings(tmp_path / "runs/own", "rerank")["grader"] != "exact"


@pytest.fixture
def own(math_data: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A folder of problems, and a small model."""
    rng = random.Random(0)
    train = rng.sample(read_problems(math_data / "train.jsonl"), 40)
    write_problems(tmp_path / "data/train.jsonl", train)
    test = rng.sample(read_problems(math_data / "test.jsonl"), 6)
    write_problems(tmp_path / "data/test.jsonl", test)
    texts = [prompt(p.problem) + (p.solution or "") for p in train]
    return tmp_path / "data", builders.llama(
        tmp_path / "model", builders.tokenizer("byte-bpe", texts, vocabulary=600)
    )


def test_later_commands_go_on_with_the_data_of_the_first(
    cli: Cli, own: tuple[Path, Path], tmp_path: Path
) -> None:
    data, model = own
    run = tmp_path / "runs/own"

    def ok(*arguments: str | Path) -> Done:
        done = cli(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "tiny" not in done.stdout.replace(str(tmp_path), "").lower()
        return done

    ok("split", "--source", "math", "--data", data, "--validation-size", "5")
    assert_one_line(cli("sft"), "sft needs model", "--model")
    ok("sft", "--model", model, "--max-steps", "2")
    ok("sample", "--n", "2", "--max-tokens", "24")
    done = ok("rerank", "--method", "majority", "--reward-model", "none")
    assert "own data" in done.stdout
    sft = settings(run, "sft")
    assert (sft["learning_rate"], sft["batch_size"], sft["max_length"]) == (2e-5, 128, 768)
    sampled = settings(run, "sample")
    assert (sampled["temperature"], sampled["top_k"]) == (0.7, 20)
    assert settings(run, "rerank")["grader"] == "e2h"
    record = json.loads((run / "run.json").read_text())
    assert record == {"experiment": "experiment", "scale": "own", "seed": 3}
    assert_one_line(
        cli("sample", "--run-dir", run, "--scale", "tiny"), "this run is of scale own, not tiny"
    )


def test_the_folder_that_was_used_last_is_gone_on_with(cli: Cli, tmp_path: Path) -> None:
    assert cli("split", "--recipe", MINI).returncode == 0
    assert json.loads((tmp_path / "runs/mini-tiny/run.json").read_text())["scale"] == "tiny"
    done = cli("split", "--recipe", MINI)
    assert "up to date" in done.stdout
