"""The commands of docs/coming-from-trl.md run as they stand there."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import torch
from transformers import AutoModelForTokenClassification

from e2h_cli.data.rm_labels import read_rows
from tests import builders
from tests.conftest import Cli
from tests.docs.conftest import ROOT, code_blocks

PAGE = ROOT / "docs" / "coming-from-trl.md"
COMPLETIONS = [f"We add.\n\nSo 1 + 2 = {n}.\n\n# Answer\n\n{n}" for n in (3, 4)]


def make_inputs(folder: Path) -> None:
    """A base, a PRM as TRL saves it, the rows of the page, and completions."""
    tokens = builders.tokenizer("byte-bpe")
    builders.llama(folder / "your" / "base", tokens)
    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_pretrained(folder / "your/base", num_labels=2)
    model.save_pretrained(folder / "your" / "trl-prm")
    tokens.save_pretrained(folder / "your" / "trl-prm")
    (folder / "rows.jsonl").write_text(code_blocks(PAGE, "json")[0])
    row = {"problem": "What is 1 + 2?", "answer": "3", "completions": COMPLETIONS}
    (folder / "completions.jsonl").write_text(json.dumps(row) + "\n")


def test_the_commands_of_the_page_train_and_score(cli: Cli, tmp_path: Path) -> None:
    make_inputs(tmp_path)
    scoring, training, rl = code_blocks(PAGE, "bash")
    outputs = []
    for line in (scoring + training).splitlines():
        done = cli(*shlex.split(line)[1:])
        assert done.returncode == 0, line + done.stderr
        outputs.append(done.stdout)
    assert outputs[0].count("=0.") == 2  # two steps, the last one with the answer
    assert "(token-classification)" in outputs[0]
    assert all("best-of-n" in outputs[i] for i in (0, 2))
    labels = [row["labels"] for row in read_rows(tmp_path / "rows.jsonl")]
    assert labels == [[True, True, True], [True, False]]
    assert all(line.startswith("e2h rl --reward-model ") for line in rl.splitlines())
