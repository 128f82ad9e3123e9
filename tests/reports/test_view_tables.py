"""The tables of a view as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2h_cli.reports.spec import Claim
from e2h_cli.reports.view import Cell, Checked
from e2h_cli.reports.view_tables import (
    as_csv,
    claims_as_json,
    claims_table,
    curve_tables,
    long_rows,
    shown,
    view_tables,
)
from tests.reports.tidy_rows import row, run, spec


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell((), None, None, None, 12.0), "-"),
        (Cell((58.24,), 51.6, 64.4, 1, None), "58.2 (52-64)"),
        (Cell((58.24,), None, None, 1, None), "58.2"),
        (Cell((0.0,), 0.0, 9.2, 64, None), "0.0 (0-9)"),
        (Cell((60.0, 70.0, 65.0), 52.6, 77.4, 64, None), "65.0 ± 5.0"),
        (Cell((0.787,), 0.741, 0.833, None, 0.79), "0.79 (0.74-0.83)"),
        (Cell((0.7, 0.8), 0.1, 1.4, None, None), "0.75 ± 0.07"),
        (Cell((71.25,), 64.4, 78.1, None, None), "71.2 (64-78)"),
    ],
)
def test_a_cell_as_text(cell: Cell, text: str) -> None:
    assert shown(cell) == text


SFT = {"generator": "SFT", "trained_on": "easy", "size": "small", "supervision": "human"}
PPO = SFT | {"generator": "PPO", "stage": "ppo"}
VIEW = spec(
    paper="table1",
    where={"group": "all", "size": "small"},
    tables={"supervision": ["human", "automatic"]},
    rows={"setting": [{"name": "Easy SFT", "generator": "SFT", "trained_on": "easy"},
                      {"name": "PPO", "generator": "PPO"}, {"name": "DPO", "generator": "DPO"}]},
    columns={"decoding": [{"name": "greedy", "method": "greedy"},
                          {"name": "Maj@16", "method": "majority", "n": 16},
                          {"name": "Maj@256", "method": "majority", "n": 256}]},
    show=["reads_hard"],
)  # fmt: skip
MAJORITY = {"method": "majority", "group": "all", "stage": "m"}
ROWS = [
    row(20.0, **SFT, group="all", reads_hard="no"),
    row(30.0, **SFT, **MAJORITY, n=16), row(40.0, **SFT, **MAJORITY, n=64),
    row(25.0, **PPO, group="all", reads_hard="train"),
]  # fmt: skip


def test_rows_columns_and_the_paper(tmp_path: Path) -> None:
    human, automatic = view_tables([run(tmp_path, ROWS)], VIEW, "tiny scale, seed 3")
    assert human.title == ("A table, human (tiny scale, seed 3; 95 % intervals over problems)")
    # 64 samples are all that there are; DPO is neither ours nor the paper's.
    assert human.header == ("setting", "greedy", "Maj@16", "Maj@64", "paper", "reads_hard")
    assert human.rows == [
        ("Easy SFT", "20.0 (10-30)", "30.0 (20-40)", "40.0 (30-50)", "19.8/31.6/36.0", "no"),
        ("PPO", "25.0 (15-35)", "-", "-", "-", "train"),
    ]
    # Nothing of it is made: the paper's numbers stand alone, under the names of its columns.
    assert automatic.header[:4] == ("setting", "greedy", "Maj@16", "Maj@256")
    assert automatic.rows == [("Easy SFT", "-", "-", "-", "30.0/38.6/42.4", "-")]


def test_several_runs_and_no_paper(tmp_path: Path) -> None:
    made = [
        run(tmp_path / str(seed), [row(value, **SFT, reads_hard="no")], seed=seed)
        for seed, value in ((3, 60.0), (4, 70.0), (5, 65.0))
    ]
    view = spec(rows={"generator": ["SFT", "PPO"]}, where={"method": "greedy"}, show=["reads_hard"],
                columns={"group": ["hard", "level-*"]})  # fmt: skip
    (table,) = view_tables(made, view, "seeds 3, 4, 5")
    assert table.title.endswith("(seeds 3, 4, 5; sd over runs)")
    assert table.header == ("generator", "hard", "paper", "reads_hard")
    assert table.rows == [("SFT", "65.0 ± 5.0", "-", "no")]


def test_one_row_per_cell_as_csv(tmp_path: Path) -> None:
    rows = list(long_rows([run(tmp_path, ROWS)], VIEW))
    assert len(rows) == 2 * 3 * 3
    assert as_csv(rows).splitlines()[:5] == [
        "supervision,setting,decoding,n,ours,low,high,sd,runs,paper",
        "human,Easy SFT,greedy,1,20.0,10.0,30.0,,1,19.8",
        "human,Easy SFT,Maj@16,16,30.0,20.0,40.0,,1,31.6",
        "human,Easy SFT,Maj@256,64,40.0,30.0,50.0,,1,36.0",
        "human,PPO,greedy,1,25.0,15.0,35.0,,1,",
    ]
    assert as_csv([]) == ""


def test_a_figure_as_a_table_at_its_largest_n(tmp_path: Path) -> None:
    rows = [row(v, method=method, n=n, group="all", size=size)
            for size in ("small", "large") for method in ("majority", "best-of-n")
            for n, v in ((1, 20.0), (8, 40.0 if method == "majority" else 30.0))]  # fmt: skip
    rows = [one | {"stage": one["size"]} for one in rows]
    figure = {"tables": {"size": ["small", "large"]}, "columns": {"group": ["all", "hard"]},
              "lines": {"votes": [{"name": "Maj", "method": "majority"},
                                  {"name": "Best", "method": "best-of-n"}]}}  # fmt: skip
    made = [run(tmp_path, rows)]
    (table,) = curve_tables(made, spec(kind="curves", **figure), "tiny scale")
    assert table.title.startswith("A table, at the largest N (")
    assert table.header == ("size", "votes", "all", "hard", "paper")
    assert [line[:4] for line in table.rows] == [
        ("small", "Maj", "40.0 (30-50)", "-"), ("small", "Best", "30.0 (20-40)", "-"),
        ("large", "Maj", "40.0 (30-50)", "-"), ("large", "Best", "30.0 (20-40)", "-"),
    ]  # fmt: skip
    assert curve_tables(made, spec(kind="curves", x="iteration", **figure), "") == []


def checked(
    differences: tuple[float, ...], verdict: str, metric: str = "accuracy", **about: float | None
) -> Checked:
    within = about.pop("within", None)
    where: dict[str, str | int] = {"metric": metric}
    claim = Claim(about="a is better", better={}, worse={}, where=where, within=within)
    values = {"low": None, "high": None, "p": None, "p_holm": None, "family": 2, "paper": None}
    return Checked(claim, "hard", differences, verdict=verdict, **{**values, **about})  # type: ignore[arg-type]


def test_claims_of_one_run(tmp_path: Path) -> None:
    one = [run(tmp_path, ROWS)]
    claims = [
        checked((5.25,), "holds", low=1.2, high=9.3, p=0.01, p_holm=0.02, paper=1.9),
        checked((-2.0,), "not shown", low=-4.0, high=3.9, p=0.3, p_holm=0.3, within=5.0),
        checked((), "not measured"),
    ]
    table = claims_table(claims, one, "tiny scale")
    assert table.title == (
        "Claims of the paper (tiny scale; tests of one run, over problems; "
        "p: corrected by Holm for 2)"
    )
    assert table.header == ("claim", "on", "paper", "ours", "p", "")
    assert table.rows == [
        ("a is better", "hard", "+1.9", "+5.2 (+1 to +9)", "0.0200", "holds"),
        ("a is better", "hard", "-", "-2.0 (-4 to +4)", "-", "not shown (within 5)"),
        ("a is better", "hard", "-", "-", "-", "not measured"),
    ]
    held = json.loads(json.dumps(claims_as_json(claims)))
    assert [one["mean"] for one in held] == [5.25, -2.0, None]
    assert held[0]["claim"]["about"] == "a is better"
    assert held[0]["p_holm"] == 0.02


def test_claims_of_several_runs(tmp_path: Path) -> None:
    runs = [run(tmp_path / str(seed), ROWS, seed=seed) for seed in (3, 4, 5)]
    claim = checked((20.0, 25.0, -15.0), "not shown", low=-44.4, high=64.4, p=0.4, p_holm=0.8)
    table = claims_table([claim], runs, "tiny scale")
    assert "tests over 3 training runs" in table.title
    assert table.header == ("claim", "on", "paper", "ours", "above 0", "p", "")
    assert table.rows == [
        ("a is better", "hard", "-", "+10.0 (-44 to +64)", "2/3", "0.8000", "not shown")
    ]
    area = {"metric": "step roc auc", "low": -0.031, "high": 0.131, "paper": 0.24}
    (held,) = claims_table([checked((0.02, 0.08), "not shown", **area)], runs, "").rows  # type: ignore[arg-type]
    assert held[2:4] == ("+0.24", "+0.05 (-0.03 to +0.13)")
