"""``e2h eval --probe``: a generator that knows half of the questions by heart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from e2h_cli.common.parquet_store import SAMPLE_SCHEMA, ShardedParquetStore
from e2h_cli.data.problem import Problem, write_problems
from e2h_cli.pipeline.stage_record import read_record, write_record
from tests import builders
from tests.conftest import Cli, assert_one_line

KNOWN = [
    "Ada has 3 red apples and buys 14 more. How many apples has she now?",
    "What is the largest prime that is a divisor of 91 and of 26?",
    "Find the sum of all even numbers between 5 and 11, please.",
]
NEW = [
    "Bob sells 7 of his 12 old books on Monday. How many are left?",
    "Let x be half of 18. Which number is twice as large as x is?",
]


@pytest.fixture(scope="module")
def memorizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that was trained on some questions until it knows them."""
    folder = tmp_path_factory.mktemp("memorizer")
    tokens = builders.tokenizer("byte-bpe", [*KNOWN, *NEW])
    torch.manual_seed(0)
    builders.llama(folder, tokens, hidden=64)
    model = LlamaForCausalLM.from_pretrained(folder)
    batch = tokens([f"{text}</s>" for text in KNOWN], return_tensors="pt", padding=True)
    labels = batch.input_ids.masked_fill(batch.attention_mask == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=labels
        ).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss < 0.05
    model.save_pretrained(folder)
    return folder


def test_known_questions_are_found(cli: Cli, tmp_path: Path, memorizer: Path) -> None:
    texts = [*KNOWN, *NEW, "Why?"]
    write_problems(
        tmp_path / "test.jsonl",
        (Problem(f"q{i}", t, 1 if t in KNOWN else 4, "-", "-", "0") for i, t in enumerate(texts)),
    )
    command = ("eval", "--probe", "--generator", memorizer, "--problems", "test.jsonl")
    done = cli(*command, "--run-dir", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    (stage,) = (tmp_path / "run").glob("probe-memorizer*")
    found = json.loads((stage / "probe.json").read_text())
    groups = {m["group"]: m for m in found["metrics"]}
    assert groups["level-1"] == groups["easy"] | {"group": "level-1"}
    assert (groups["easy"]["exact"], groups["easy"]["rouge_l"]) == (100, 100)
    assert (groups["hard"]["exact"], groups["all"]["exact"]) == (0, 60)
    assert groups["hard"]["rouge_l"] < 50
    # Wilson's interval of 3 of 5.
    interval = groups["all"]["exact_low"], groups["all"]["exact_high"]
    assert interval == pytest.approx((23.07, 88.24), abs=0.01)
    assert (groups["all"]["questions"], found["left_out"]) == (5, 1)
    assert f"{found['max_tokens']} tokens allowed" in done.stdout
    rows = {row["id"]: row for row in map(json.loads, (stage / "questions.jsonl").open())}
    assert f"{rows['q0']['given']} {rows['q0']['rest']}" == KNOWN[0]
    assert rows["q0"]["given"] == "Ada has 3 red apples and buys 14 more. How"
    assert "level-1" in (stage / "probe.md").read_text()
    assert cli(*command, "--run-dir", "run").stdout.startswith(f"{stage.name} is up to date")

    done = cli(*command, "--run-dir", "run", "--probe-fraction", "0.5")
    assert_one_line(done, "probe_fraction: 0.6 -> 0.5", "--force")
    done = cli(*command, "--run-dir", "cut", "--probe-fraction", "0.5", "--max-tokens", "2")
    (stage,) = (tmp_path / "cut").glob("probe-memorizer*")
    metrics = json.loads((stage / "probe.json").read_text())["metrics"]
    assert {m["exact"] for m in metrics} == {0}
    assert "2 tokens allowed" in done.stdout


def test_a_killed_probe_goes_on(cli: Cli, tmp_path: Path, memorizer: Path) -> None:
    """What is on disk is not drawn again, and the rest is."""
    problems = (Problem(f"q{i}", t, 1, "-", "-", "0") for i, t in enumerate(KNOWN))
    write_problems(tmp_path / "test.jsonl", problems)
    command = ("eval", "--generator", memorizer, "--problems", "test.jsonl", "--run-dir", "run")
    done = cli(*command, "--probe", "--max-tokens", "2000")
    assert_one_line(done, "do not fit into the model's 1024 positions", "lower --max-tokens to")
    assert_one_line(cli(*command), "--generator is no input of this")
    (stage,) = (tmp_path / "run").glob("probe-memorizer*")
    done = cli(*command, "--probe", "--force", "--max-tokens", "40")
    assert done.returncode == 0, done.stdout + done.stderr
    record = read_record(stage / "stage.json")
    write_record(stage / "stage.json", {**record, "status": "started", "outputs": {}})
    (stage / "completions.parquet").unlink()
    store = ShardedParquetStore(
        stage / "completions.parquet", stage / "unfinished", SAMPLE_SCHEMA, "parts/0-of-1"
    )
    row = {"id": "q1", "sample": 0, "text": "nothing", "finish_reason": "stop", "tokens": 1}
    store.add([row])
    store.flush()
    done = cli(*command, "--probe", "--max-tokens", "40")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 3 are on disk already" in done.stdout
    rows = {row["id"]: row for row in map(json.loads, (stage / "questions.jsonl").open())}
    assert [rows[key]["exact"] for key in ("q0", "q1", "q2")] == [True, False, True]
