"""The whole chain on real MATH text, with a small random Llama and a tokenizer made on the spot.

Accuracy is about zero; what is tested is that every stage handles the text.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pyarrow.parquet as pq

from e2h_cli.data.problem import read_problems, write_problems
from e2h_cli.data.template import prompt
from tests import builders
from tests.conftest import Cli


def test_the_whole_chain_on_math(cli: Cli, math_data: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    data = tmp_path / "data"
    train = rng.sample(read_problems(math_data / "train.jsonl"), 60)
    test = rng.sample(read_problems(math_data / "test.jsonl"), 10)
    write_problems(data / "train.jsonl", train)
    write_problems(data / "test.jsonl", test)
    texts = [prompt(p.problem) + (p.solution or "") + "\n\n# Answer\n\n" for p in train]
    tokens = builders.tokenizer("byte-bpe", texts, vocabulary=600)
    model = builders.llama(tmp_path / "model", tokens)
    # Step labels as a human would give them, in TRL's fields.
    with (tmp_path / "rows.jsonl").open("w") as file:
        for p in train[:30]:
            steps = (p.solution or "").split(". ")
            row = {
                "prompt": p.problem,
                "completions": steps,
                "labels": [rng.random() < 0.8 for _ in steps],
            }
            file.write(json.dumps(row) + "\n")

    def run(*arguments: str | Path) -> str:
        done = cli(*arguments, "--run-dir", "run", "--scale", "tiny")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("split", "--source", "math", "--data", "data", "--validation-size", "10")
    small = ("--max-steps", "3", "--batch-size", "4", "--max-length", "1024")
    shown = run("sft", "--model", model, *small)
    assert "over 1024 tokens" in shown
    run("sample", "--stage", "sample", "--max-tokens", "64", "--n", "4")
    run("sample", "--stage", "greedy", "--max-tokens", "64", "--n", "1")
    shown = run("train-rm", "--model", model, "--rows", "rows.jsonl", *small)
    assert "30 solutions" in shown
    run("rerank")
    shown = run("eval")
    assert "At tiny scale" in shown
    samples = pq.read_table(tmp_path / "run/sample/samples.parquet")
    assert samples.num_rows == 40
    scores = pq.read_table(tmp_path / "run/rerank/scores/scores.parquet")
    assert scores.num_rows == 40
    assert (tmp_path / "run/results.json").is_file()


def test_an_outcome_reward_model_from_own_samples(
    cli: Cli, math_data: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    train = read_problems(math_data / "train.jsonl")
    train = [p for p in train if p.level < 4 and p.answer in ("2", "3")][:12]
    write_problems(data / "train.jsonl", train)
    write_problems(data / "test.jsonl", read_problems(math_data / "test.jsonl")[:2])
    tokens = builders.tokenizer("byte-bpe", [p.problem for p in train])
    model = builders.llama(tmp_path / "model", tokens)
    common = ("--run-dir", "run", "--scale", "tiny")
    done = cli("split", "--source", "math", "--data", "data", "--validation-size", "0", *common)
    assert done.returncode == 0, done.stderr
    # The random model never writes an answer: it is counted, and supervise says so.
    sample = ("sample", "--stage", "rm-samples", "--model", model, "--max-tokens", "16", "--n", "2")
    done = cli(*sample, *common)
    assert done.returncode == 0, done.stderr
    samples = 2 * len(train)
    assert f"{samples} without an answer" in done.stdout
    done = cli("supervise", *common)
    assert done.returncode == 2
    assert f"not one training row came of it ({samples} samples, " in done.stderr
    assert re.search(r"\d+ samples cut at the token limit, .* 0 samples labelled", done.stderr)
