"""The examples of docs/python.md run as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForTokenClassification

from e2h_cli.data import template
from tests import builders
from tests.docs.conftest import CODE, ROOT, code_blocks

PAGE = ROOT / "docs" / "python.md"


def example(word: str) -> str:
    """The one example that holds a word."""
    (found,) = [code for code in code_blocks(PAGE, "python") if word in code]
    return found


def run(code: str) -> None:
    exec(compile(code, str(PAGE), "exec"), {"__name__": "__main__"})


def test_the_page_has_four_examples() -> None:
    assert len(code_blocks(PAGE, "python")) == 4


@pytest.mark.parametrize(("number", "word"), list(enumerate(["weighted_vote", "paper_table"])))
def test_examples_print_what_stands_below_them(
    number: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(example(word))
    assert capsys.readouterr().out == code_blocks(PAGE, "text")[number]


def test_score_solutions_with_any_reward_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tokens = builders.tokenizer("byte-bpe")
    builders.llama(tmp_path / "base", tokens)
    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_pretrained(tmp_path / "base", num_labels=2)
    model.save_pretrained("your/prm")
    tokens.save_pretrained("your/prm")
    questions = ["What is 1 + 2?", "What is 2 + 2?"]
    solutions = [["We add.", "So 1 + 2 = 3."], ["2 + 2 = 4."]]
    rows = [
        {"problem": question, "solution": template.completion(steps, steps[-1][-2])}
        for question, steps in zip(questions, solutions, strict=True)
    ]
    Path("solutions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(example("score_texts"))
    lines = capsys.readouterr().out.splitlines()
    assert sorted(line.split("?")[0] + "?" for line in lines) == questions
    # The answer is part of the last step in this family, and that is the outcome.
    counts = {line.split("?")[0] + "?": len(re.findall(r"0\.\d+", line)) for line in lines}
    assert counts == {questions[0]: 2, questions[1]: 1}


def test_read_a_run_into_pandas(
    mini_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "experiment-tiny").symlink_to(mini_run)
    monkeypatch.chdir(tmp_path)
    run(example("read_parquet"))
    out = capsys.readouterr().out
    for word in ("level", "outcome_score", "majority", "weighted-voting"):
        assert word in out


def test_every_python_block_of_the_pages_is_an_example_here() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    having = [
        p for p in pages if any(m["language"] == "python" for m in CODE.finditer(p.read_text()))
    ]
    assert having == [PAGE]
