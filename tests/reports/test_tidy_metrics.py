"""Tidy metrics: what a selection finds, and accuracy on every problem."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.reports.tidy_metrics import paired, read_metrics, write_metrics
from tests.reports.tidy_rows import metrics, row, run

VOTES = {"stage": "votes", "method": "weighted-voting", "reward_model": "PRM"}


def test_the_largest_n_that_is_not_above_the_wanted_one() -> None:
    found = metrics(*(row(v, method="majority", n=n) for n, v in ((64, 3.0), (1, 1.0), (16, 2.0))))
    wanted = {"method": "majority", "group": "hard"}
    assert [one["n"] for one in found.series(wanted)] == [1, 16, 64]
    cells = [found.cell({**wanted, "n": n}) for n in (1, 16, 63, 256)]
    assert [one and one["value"] for one in cells] == [1.0, 2.0, 2.0, 3.0]
    largest = found.cell(wanted)
    assert largest is not None and largest["value"] == 3.0
    # A selection is of all problems unless it names a group.
    assert found.cell({"method": "majority"}) is None
    assert found.cell({**wanted, "n": 0}) is None


def test_the_best_aggregation_of_a_method_unless_one_is_named() -> None:
    found = metrics(
        row(1.0, aggregate="min", **VOTES),
        row(2.0, aggregate="prod", **VOTES),
        row(3.0, **{**VOTES, "method": "best-of-n"}, aggregate="prod"),
        row(4.0, **{**VOTES, "method": "best-of-n"}, aggregate="min"),
        row(5.0, **{**VOTES, "reward_model": "ORM"}, aggregate="last"),
    )

    def value(**selection: str) -> float:
        cell = found.cell({"group": "hard", **selection})
        assert cell is not None
        return float(cell["value"])

    assert value(method="weighted-voting", reward_model="PRM") == 2.0
    assert value(method="weighted-voting", reward_model="PRM", aggregate="min") == 1.0
    assert value(method="best-of-n", reward_model="PRM") == 4.0
    assert value(method="weighted-voting", reward_model="ORM") == 5.0


def test_methods_without_scores_have_no_reward_model() -> None:
    """Majority voting beside two reward models is measured once for each, and is the same."""
    found = metrics(
        row(1.0, **{**VOTES, "method": "majority"}, reward_size="small"),
        row(1.0, stage="others", method="majority", reward_model="ORM", reward_size="small"),
    )
    for reward_model in ("PRM", "ORM", "OPRM"):
        cell = found.cell({"method": "majority", "group": "hard", "reward_model": reward_model})
        assert cell is not None and cell["stage"] == "votes"


def test_a_selection_of_several_models_is_refused() -> None:
    found = metrics(row(1.0, size="small", generator="SFT"),
                    row(2.0, stage="t", size="large", generator="PPO"))  # fmt: skip
    with pytest.raises(InputError) as error:
        found.cell({"method": "greedy", "group": "hard"})
    told = str(error.value)
    assert "a selection fits s and t, which differ in generator, size" in told
    assert "\n" not in told
    cell = found.cell({"method": "greedy", "group": "hard", "size": "large"})
    assert cell is not None and cell["value"] == 2.0


def test_a_facet_that_is_not_there_is_empty(tmp_path: Path) -> None:
    rows = [row(1.0, generator="SFT"), row(2.5, stage="t", generator="PPO", prm="yes"),
            row(0.8, metric="step roc auc", method="", n=None, low=None, high=None)]  # fmt: skip
    write_metrics(tmp_path, rows)
    found = read_metrics(tmp_path)
    assert found.rows[0] == {**rows[0], "prm": ""}
    assert found.rows[1] == rows[1]
    assert found.rows[2] == {**rows[2], "generator": "", "prm": ""}
    assert found.known["prm"] == ["yes"]
    sft = found.cell({"method": "greedy", "group": "hard", "prm": ""})
    assert sft is not None and sft["generator"] == "SFT"
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines[0] == (
        "seed,scale,stage,generator,prm,group,metric,method,aggregate,n,value,low,high,problems,"
        "grader"
    )
    assert lines[2] == "3,tiny,t,PPO,yes,hard,accuracy,greedy,,1,2.5,-7.5,12.5,30,exact"
    assert lines[3] == "3,tiny,s,,,hard,step roc auc,,,,0.8,,,30,exact"


def test_accuracy_on_the_problems_of_a_group(tmp_path: Path) -> None:
    # Problems p0, p2, ... are easy and right, p1, p3, ... hard.
    problems = run(tmp_path, [row(50.0)], {"s": [1.0, 0.0], "t": [0.5, 0.5]}).problems
    hard = {"p1": 1.0, "p3": 0.0}
    for group in ("hard", "level-5", "subject-Number Theory"):
        assert problems.of(row(50.0, group=group)) == hard
    for group in ("easy", "level-3", "subject-Algebra"):
        assert problems.of(row(100.0, group=group)) == {"p0": 1.0, "p2": 1.0}
    assert problems.of(row(75.0, group="all")) == hard | {"p0": 1.0, "p2": 1.0}
    assert problems.of(row(50.0, stage="t")) == {"p1": 0.5, "p3": 0.5}
    assert problems.of(row(50.0, n=2)) == problems.of(row(50.0, group="level-4")) == {}


def test_pairs_are_of_the_problems_that_both_have() -> None:
    a, b = paired({"x": 1.0, "y": 0.0, "z": 0.5}, {"z": 0.25, "x": 0.0, "w": 1.0})
    assert np.array_equal(a, [1.0, 0.5])
    assert np.array_equal(b, [0.0, 0.25])
