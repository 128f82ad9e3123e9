"""Cells of a table, the paper's numbers beside them, and its claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from e2h_cli.evaluation.statistics import compare
from e2h_cli.reports.view import Checked, Run, cell, check_claims, paper_series, paper_value
from tests.reports.tidy_rows import row, run, spec

SFT_PPO = (
    {"stage": "sft", "generator": "SFT"},
    {"stage": "ppo", "generator": "PPO"},
    {"stage": "dpo", "generator": "DPO"},
)


def runs(folder: Path, *values: tuple[float, ...]) -> list[Run]:
    """A run for each tuple: greedy accuracy of SFT, PPO and DPO."""
    return [
        run(
            folder / str(seed),
            [row(v, **facets) for v, facets in zip(of_run, SFT_PPO, strict=False)],
            seed=seed,
        )
        for seed, of_run in enumerate(values)
    ]


def test_a_cell_of_one_run_and_of_several(tmp_path: Path) -> None:
    view = spec(where={"method": "greedy", "group": "hard"})
    one = cell(runs(tmp_path, (40.0, 60.0)), view, {"generator": "PPO"})
    assert (one.values, one.mean, one.sd) == ((60.0,), 60.0, None)
    # The interval over problems.
    assert (one.low, one.high, one.n, one.paper) == (50.0, 70.0, 1, None)
    # The third run has no DPO.
    made = runs(tmp_path / "x", (40.0, 60.0, 1.0), (45.0, 70.0, 3.0), (50.0, 65.0))
    three = cell(made, view, {"generator": "PPO"})
    assert (three.mean, three.sd) == (65.0, 5.0)
    # 65 +- 4.303 * 5 / sqrt(3)
    assert (three.low, three.high) == (pytest.approx(52.58, 1e-3), pytest.approx(77.42, 1e-3))
    assert cell(made, view, {"generator": "DPO"}).values == (1.0, 3.0)
    none = cell(made, view, {"generator": "GRPO"})
    assert (none.values, none.mean, none.sd, none.low, none.n) == ((), None, None, None, None)


def test_the_numbers_of_table_1() -> None:
    view = spec(paper="table1", where={"group": "all"})
    sft = {"supervision": "human", "size": "small", "generator": "SFT", "trained_on": "easy"}
    assert paper_value(view, {**sft, "method": "greedy"}) == 19.8
    assert paper_value(view, {**sft, "method": "majority", "n": 256}) == 36.0
    assert paper_value(view, {**sft, "method": "majority", "n": 64}) is None
    large = {**sft, "supervision": "automatic", "size": "large"}
    assert paper_value(view, {**large, "method": "majority", "n": 16}) == 42.6
    # Of two generators there is no one number.
    del sft["generator"]
    assert paper_value(view, {**sft, "method": "greedy"}) is None
    assert paper_value(spec(), {**large, "method": "greedy"}) is None


def test_the_numbers_of_table_5() -> None:
    """Levels of the training problems, which our rows do not have, tell two rows apart."""
    sft = {"supervision": "automatic", "generator": "SFT", "trained_on": "easy", "group": "hard"}
    ppo = {"supervision": "human", "size": "small", "generator": "PPO", "group": "hard"}
    best = {**ppo, "questions": "all", "answers": "easy", "prm": "yes"}
    view = spec(paper="table5", where={"method": "greedy"}, paper_where={"levels": "1-3"})
    assert paper_value(view, {**view.where, **sft}) == 14.9
    assert paper_value(view, {**view.where, **best}) == 14.9
    assert paper_value(view, {**view.where, **best, "generator": "GRPO"}) is None
    more = spec(paper="table5", where={"method": "greedy"})
    assert paper_value(more, {**more.where, **sft}) is None


def test_a_curve_of_figure_4() -> None:
    view = spec(paper="curves", where={"reward_model": "OPRM", "supervision": "human"})
    small = {**view.where, "size": "small", "reward_size": "small", "group": "hard"}
    weighted = paper_series(view, {**small, "method": "weighted-voting"})
    assert [one["n"] for one in weighted] == [2**i for i in range(11)]
    assert [weighted[i]["value"] for i in (0, 1, 6, 10)] == [6.93, 9.32, 19.25, 24.12]
    # Majority voting does not depend on the reward model that the view names.
    majority = paper_series(view, {**small, "method": "majority"})
    assert [majority[i]["value"] for i in (0, 1, 6, 10)] == [6.84, 7.56, 17.03, 19.19]
    assert paper_value(view, {**small, "method": "weighted-voting", "n": 64}) == 19.25
    assert paper_value(view, {**small, "method": "weighted-voting"}) == 24.12
    assert {one["figure"] for one in weighted + majority} == {4}


def test_curves_that_two_figures_show_differently() -> None:
    prm = {"size": "small", "supervision": "automatic", "reward_size": "small", "group": "hard"}
    prm |= {"reward_model": "PRM", "method": "weighted-voting"}
    sixth, tenth = (
        spec(paper="curves", paper_where={"figure": figure} if figure else {}) for figure in (0, 10)
    )
    assert paper_value(sixth, prm) == 23.37
    assert paper_value(tenth, prm) == 23.09
    # Figure 10 has the line of majority voting of Figure 6.
    majority = {**prm, "method": "majority"}
    assert paper_series(tenth, majority) == paper_series(sixth, majority) != []


def claims(*pairs: tuple[str, str], **about: Any) -> dict[str, Any]:
    """A spec of claims: the first generator is better than the second."""
    listed = [
        {"about": f"{a} is better than {b}", "better": {"generator": a}, "worse": {"generator": b},
         **about}
        for a, b in pairs
    ]  # fmt: skip
    return {"where": {"method": "greedy", "group": "hard"}, "claims": listed}


@pytest.fixture
def one_run(tmp_path: Path) -> list[Run]:
    """SFT solves 10 of 30 hard problems, PPO 20 and DPO 25."""
    right = {
        stage: [1.0] * n + [0.0] * (30 - n) for stage, n in (("sft", 10), ("ppo", 20), ("dpo", 25))
    }
    values = (33.33, 66.67, 83.33)
    rows = [row(v, **facets) for v, facets in zip(values, SFT_PPO, strict=True)]
    return [run(tmp_path, rows, right)]


def test_claims_of_one_run_are_tested_over_problems(one_run: list[Run]) -> None:
    pairs = (("PPO", "SFT"), ("SFT", "DPO"), ("DPO", "PPO"), ("GRPO", "SFT"))
    found = check_claims(one_run, spec(**claims(*pairs)))
    assert [one.verdict for one in found] == ["holds", "reversed", "not shown", "not measured"]
    assert [one.mean and round(one.mean, 2) for one in found] == [33.34, -50.0, 16.66, None]
    # 10, 15 and 5 problems of 30 are won or lost: the paired test on these.
    tests = [compare(*sides(won), 0.95) for won in (10, -15, 5)]
    assert [one.p for one in found] == [*(pytest.approx(test.p) for test in tests), None]
    assert found[1].low == pytest.approx(100 * tests[1].low)
    # Holm: the smallest p times 3, the next times 2, the last times 1.
    first, second, third = (test.p for test in tests)
    assert second < first < third
    assert [one.p_holm for one in found] == [
        pytest.approx(2 * first), pytest.approx(3 * second), pytest.approx(third), None
    ]  # fmt: skip
    assert {one.family for one in found} == {3}
    assert {one.group for one in found} == {"hard"}


def sides(won: int) -> tuple[Any, Any]:
    """Accuracy of two methods on 30 problems, of which one solves so many more."""
    some, all_of = np.zeros(30), np.zeros(30)
    all_of[: abs(won)] = 1
    return (all_of, some) if won > 0 else (some, all_of)


def test_closeness_is_shown_by_an_interval(one_run: list[Run], tmp_path: Path) -> None:
    """Equal on 30 problems: +- 2.045 * sqrt(2 / 32) / sqrt(32), 9.04 points."""
    same = {stage: [1.0] * 20 + [0.0] * 10 for stage in ("sft", "ppo")}
    rows = [row(66.67, **facets) for facets in SFT_PPO[:2]]
    equal = [run(tmp_path / "equal", rows, same)]

    def check(made: list[Run], a: str, b: str, within: float) -> Checked:
        return check_claims(made, spec(**claims((a, b), within=within)))[0]

    found = check(equal, "PPO", "SFT", 9.1)
    assert (found.low, found.high) == (
        pytest.approx(-9.04, abs=0.01),
        pytest.approx(9.04, abs=0.01),
    )
    assert (found.verdict, found.family) == ("holds", 0)
    assert check(equal, "PPO", "SFT", 9.0).verdict == "not shown"
    far = check(one_run, "DPO", "SFT", 5.0)
    assert far.low is not None and far.low > 5
    assert far.verdict == check(one_run, "SFT", "DPO", 5.0).verdict == "reversed"
    assert check(one_run, "DPO", "SFT", 80.0).verdict == "holds"


def test_claims_over_runs_are_tested_over_runs(tmp_path: Path) -> None:
    # Differences to SFT: PPO 20, 25 and 15; DPO always -10.
    made = runs(tmp_path, (40.0, 60.0, 30.0), (45.0, 70.0, 35.0), (50.0, 65.0, 40.0))
    ppo, dpo = check_claims(made, spec(**claims(("PPO", "SFT"), ("DPO", "SFT"))))
    assert ppo.differences == (20.0, 25.0, 15.0)
    assert (ppo.mean, ppo.low, ppo.high) == (
        20.0, pytest.approx(7.58, abs=0.01), pytest.approx(32.42, abs=0.01)
    )  # fmt: skip
    expected = stats.ttest_rel([60, 70, 65], [40, 45, 50]).pvalue
    assert ppo.p == ppo.p_holm == pytest.approx(expected)
    assert (ppo.verdict, ppo.family) == ("holds", 1)
    # Without spread between the runs there is no test.
    assert (dpo.differences, dpo.p, dpo.verdict) == ((-10.0,) * 3, None, "not shown")


def test_without_enough_problems_of_both_nothing_is_shown(tmp_path: Path) -> None:
    rows = [row(v, **facets) for v, facets in zip((0.0, 100.0), SFT_PPO, strict=False)]
    rows.append(row(100.0, **SFT_PPO[1], group="easy"))
    view = spec(**claims(("PPO", "SFT")))
    for name, count, elsewhere in (("few", 19, ()), ("others", 30, ("ppo",))):
        right = {"sft": [0.0] * count, "ppo": [1.0] * count}
        (found,) = check_claims([run(tmp_path / name, rows, right, elsewhere=elsewhere)], view)
        assert (found.mean, found.p, found.low, found.verdict) == (100.0, None, None, "not shown")
    right = {"sft": [0.0] * 30, "ppo": [1.0] * 30}
    made = [run(tmp_path / "groups", rows, right)]
    assert check_claims(made, view)[0].verdict == "holds"
    view.claims[0].better["group"] = "easy"
    (found,) = check_claims(made, view)
    assert (found.group, found.mean, found.p) == ("easy and hard", 100.0, None)
    assert found.verdict == "not shown"


@pytest.mark.parametrize(
    ("sft", "ppo", "verdict"),
    [
        (60.0, 80.1, "holds (intervals apart)"),
        (80.1, 60.0, "reversed (intervals apart)"),
        (60.0, 80.0, "not shown"),
    ],
)
def test_metrics_that_are_no_means_are_told_by_their_intervals(
    tmp_path: Path, sft: float, ppo: float, verdict: str
) -> None:
    """Intervals of +- 10 points; several runs are tested as accuracy is."""
    balanced = {"metric": "step balanced accuracy", "method": "", "n": None}
    view = claims(("PPO", "SFT"))
    view["where"] = {"metric": balanced["metric"], "group": "hard"}
    made = [
        run(
            tmp_path / str(i),
            [row(v + i * (v == ppo), **facets, **balanced)
             for v, facets in zip((sft, ppo), SFT_PPO, strict=False)],
            seed=i,
        )
        for i in range(2)
    ]  # fmt: skip
    (found,) = check_claims(made[:1], spec(**view))
    assert (found.verdict, found.p, found.low) == (verdict, None, None)
    (found,) = check_claims(made, spec(**view))
    assert found.p is not None and "apart" not in found.verdict
    without = [{**one, "low": None, "high": None} for one in made[0].metrics.rows]
    (found,) = check_claims([run(tmp_path / "x", without)], spec(**view))
    assert found.verdict == "not shown"


def test_the_difference_in_the_paper(one_run: list[Run]) -> None:
    about = {"where": {"supervision": "human", "questions": "easy", "answers": "easy"}}
    view = claims(("PPO", "DPO"), ("ReST-EM", "GRPO"), **about)
    view |= {"paper": "table5", "paper_where": {"levels": "1-3"}}
    ppo, grpo = check_claims([], spec(**view))
    # 14.1 - 12.2
    assert (ppo.paper, ppo.verdict) == (1.9, "not measured")
    assert grpo.paper is None
