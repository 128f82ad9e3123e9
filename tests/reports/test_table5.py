"""Our rows beside the paper's Table 5."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from e2h_cli.common.errors import InputError
from e2h_cli.evaluation.measurements import Measurement
from e2h_cli.reports import table5
from e2h_cli.reports.results import MAIN_GROUPS


def rows_of_ours() -> tuple[list[table5.Line], list[dict[str, Any]]]:
    easy, hard = np.ones(100), np.zeros(100)
    hard[:50] = 1
    better = hard.copy()
    better[50:70] = 1
    lines = [table5.Line("SFT", "-", "-", False, "no", None),
               table5.Line("PPO", "all", "easy", True, "no", 5),
               table5.Line("PPO", "easy", "easy", False, "no", 5),
               table5.Line("GRPO", "all", "easy", True, "choice", 9),
               table5.Line("DPO", "all", "easy", True, "train", 9)]  # fmt: skip
    accuracies = [hard, better, hard, better, better]
    values = [np.concatenate([easy, a]) for a in accuracies]
    measurements = [Measurement("g", "", "greedy", "", 1, v) for v in values]
    mask = np.arange(200) < 100
    groups = {"easy": mask, "hard": ~mask, "all": np.ones(200, dtype=bool)}
    return lines, table5.add_numbers(lines, measurements, groups, confidence=0.95)


def test_rows_with_intervals_and_tests() -> None:
    lines, orderings = rows_of_ours()
    sft, ppo, *_ = lines
    assert sft.accuracy["hard"][0] == pytest.approx(50)
    assert sft.accuracy["hard"][1] < 45 < 55 < sft.accuracy["hard"][2]
    assert sft.against_sft == {}
    assert ppo.against_sft["hard"][0] == pytest.approx(20)
    assert ppo.against_sft["hard"][1] < 0.01
    # Four tests against SFT, three of them with the same p-value.
    assert ppo.against_sft["hard"][2] == pytest.approx(4 * ppo.against_sft["hard"][1])
    assert ppo.against_sft["easy"] == (0.0, 1.0, 1.0)
    found = {(o["better"], o["worse"]): o for o in orderings}
    best = "PPO, all questions, easy answers, PRM"
    assert found[best, "SFT"]["verdict"] == "holds"
    assert found[best, "SFT"]["paper"] == pytest.approx(14.9 - 12.2)
    assert [o["family"] for o in orderings] == [2, 2]
    assert orderings[0]["p_holm"] == pytest.approx(2 * orderings[0]["p"])


def test_the_table_as_text() -> None:
    lines, orderings = rows_of_ours()
    tables, _ = table5.as_tables(lines, orderings, "tiny scale")
    header, rows = table5.table_rows(lines)
    assert rows[1][:4] == ("PPO", "all", "easy", "yes")
    assert rows[1][header.index("paper")] == "45.4/14.9/29.4"
    assert rows[1][header.index("hard - SFT (p)")].startswith("+20.0 (<= 0.0001")
    assert rows[3][header.index("paper")] == "-"  # the paper has no GRPO
    assert rows[3][header.index("reads hard")] == "choice"
    assert "tiny scale" in tables[0].title
    shown = io.StringIO()
    wide = Console(file=shown, width=200, soft_wrap=True)
    for table in tables:
        wide.print(table)
    assert "…" not in shown.getvalue()
    assert "| PPO | all | easy | yes |" in tables[0].markdown


def record(command: str, **settings: str) -> dict[str, Any]:
    return {"command": command, "settings": settings, "counts": {"best_step": 5}}


def test_the_row_of_a_generator_is_told_by_its_record() -> None:
    samples = Path("greedy")
    sft = table5.line_of(record("sft"), samples, "train")
    assert sft == table5.Line("SFT", "-", "-", False, "train", None)
    common = {"questions": "all", "shaping": "paper", "checkpoint_rule": "vote"}
    easy = table5.line_of(record("rl", algo="ppo", answers="easy", **common), samples, "no")
    assert easy == table5.Line("PPO", "all", "easy", True, "no", 5)
    hard = table5.line_of(record("rl", algo="rest-em", answers="all", **common), samples, "train")
    assert hard == table5.Line("ReST-EM", "all", "all", False, "train", 5)
    with pytest.raises(InputError, match="no row for a generator made by e2h pretrain"):
        table5.line_of(record("pretrain"), samples, "no")


def test_a_row_that_is_there_twice_and_a_missing_group() -> None:
    sft = table5.Line("SFT", "-", "-", False, "no", None)
    measurements = [Measurement("g", "", "greedy", "", 1, np.ones(2))] * 2
    groups = {name: np.ones(2, dtype=bool) for name in MAIN_GROUPS}
    with pytest.raises(InputError, match="two of the samples are of: SFT"):
        table5.add_numbers([sft, sft], measurements, groups, confidence=0.95)
    del groups["hard"]
    with pytest.raises(InputError, match="answer no hard problem"):
        table5.add_numbers([sft], measurements[:1], groups, confidence=0.95)
