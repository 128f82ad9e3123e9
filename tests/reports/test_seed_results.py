"""Results over several seeds: mean, spread, and tests with the training run as unit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scipy import stats

from e2h_cli.common.errors import InputError
from e2h_cli.reports.result_files import read_results, write_results
from e2h_cli.reports.results import Comparison, Metric, Results
from e2h_cli.reports.seed_results import over_seeds, seed_tables, write_seed_results

WEIGHTED, MAJORITY = "weighted-voting (prod)", "majority"
HARD = {3: (60.0, 40.0), 4: (70.0, 45.0), 5: (65.0, 50.0)}


def run(folder: Path, weighted: float, majority: float) -> Path:
    """A run folder with results of two methods at N = 1 and 8."""
    methods = [("majority", "", "", majority), ("weighted-voting", "prm", "prod", weighted)]
    metrics = [
        Metric("hard", "sft", model, method, aggregate, n, accuracy, 0.0, 100.0, 20, "exact")
        for method, model, aggregate, value in methods
        for n, accuracy in ((1, 30.0), (8, value))
    ]
    difference = Comparison("hard", WEIGHTED, MAJORITY, 8, 0.0, 0.0, 0.0, 0.5)
    about = {"scale": "tiny", "origins": {"prm": {"name": "a reward model of levels 1-3"}}}
    write_results(folder, Results(metrics, [difference]), about)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> dict[int, Path]:
    return {seed: run(tmp_path / str(seed), *values) for seed, values in HARD.items()}


def test_mean_spread_and_test_over_runs(folders: dict[int, Path], tmp_path: Path) -> None:
    found = over_seeds(folders, "tiny scale")
    majority, weighted = found.accuracy
    assert (majority.name, majority.values, majority.mean) == (MAJORITY, [40, 45, 50], 45)
    assert (weighted.name, weighted.mean, weighted.sd) == (WEIGHTED, 65, 5)
    # 65 +- 4.303 * 5 / sqrt(3)
    assert (weighted.low, weighted.high) == (pytest.approx(52.58), pytest.approx(77.42))
    (difference,) = found.differences
    assert difference.name == f"{WEIGHTED} - {MAJORITY}"
    assert difference.values == [20, 25, 15]
    expected = stats.ttest_rel([60, 70, 65], [40, 45, 50]).pvalue
    assert difference.p == difference.p_holm == pytest.approx(expected, rel=1e-2)
    tables = seed_tables(found)
    assert tables[0].rows[1][1:] == (WEIGHTED, "60.0", "70.0", "65.0", "65.0", "5.0")
    assert "paired t-test over 3 runs" in tables[1].title
    assert found.finding.startswith(
        "Over 3 training runs (tiny scale), voting weighted by a reward model of levels 1-3 solves "
        "65.0 % of the hard problems against 45.0 % by majority: +20.0 points (+7.6 to +32.4 over "
    )
    assert found.finding.endswith("above it in 3 of 3 runs.")
    write_seed_results(tmp_path / "out", found, tables)
    held = json.loads((tmp_path / "out/results.json").read_text())
    assert held["seeds"] == [3, 4, 5]
    assert held["differences"][0]["values"] == [20, 25, 15]
    assert WEIGHTED in (tmp_path / "out/results.md").read_text()


def test_equal_differences_have_no_test(tmp_path: Path) -> None:
    folders = {seed: run(tmp_path / str(seed), 60.0, 40.0) for seed in (3, 4)}
    (difference,) = over_seeds(folders, "tiny scale").differences
    assert (difference.mean, difference.sd, difference.p) == (20, 0, None)


def test_methods_that_a_run_lacks_are_left_out(folders: dict[int, Path]) -> None:
    results = read_results(folders[5])
    without = [m for m in results.metrics if m.method == "majority"]
    write_results(folders[5], Results(without, []), {"scale": "tiny"})
    found = over_seeds(folders, "tiny scale")
    assert [one.name for one in found.accuracy] == [MAJORITY]
    assert found.differences == []


def test_one_run_and_missing_results(folders: dict[int, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one run has no spread"):
        over_seeds({3: folders[3]}, "tiny scale")
    with pytest.raises(InputError, match="no results here"):
        over_seeds(folders | {6: tmp_path / "none"}, "tiny scale")
