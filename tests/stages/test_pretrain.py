"""``e2h pretrain`` with several documents in a row."""

from __future__ import annotations

import json
import random
from pathlib import Path

from e2h_cli.models import tiny
from e2h_cli.stages.pretrain import in_packs
from e2h_cli.training.token_rows import sft_row
from tests.conftest import MINI, copy_stages, e2h


def test_packs_have_all_rows_in_order_and_every_size() -> None:
    rows = [sft_row(tiny.tokenizer(), "a", "b")] * 200
    packs = list(in_packs(rows, 5, random.Random(0)))
    assert sum(map(len, packs)) == 200
    assert {len(pack) for pack in packs} == {1, 2, 3, 4, 5}


def test_packed_pre_training_runs(mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split")
    common = ("--recipe", MINI, "--run-dir", run, "--documents-per-row", "5", "--documents", "60")
    done = e2h("pretrain", *common, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((run / "pretrain/stage.json").read_text())["counts"]["rows"] < 40
    assert json.loads((run / "pretrain/config.json").read_text())["max_position_embeddings"] == 640
