"""The paper's numbers are what its problems allow: shares of them that add up."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.pipeline.recipe import Recipe, load
from e2h_cli.pipeline.recipe_file import find
from e2h_cli.reports import paper_curves, paper_table
from e2h_cli.reports.paper_numbers import MATH500, curves_on_the_same_problems
from e2h_cli.reports.results import Metric
from tests.conftest import TESTS

APPS = {"level-1": 100, "level-2": 300, "level-3": 100, "all": 500}
LEVELS = {"level-1": 43, "level-2": 90, "level-3": 105, "level-4": 128, "level-5": 134}
ROWS = {
    "table1": 60, "table2": 37, "table3": 80, "table4": 55, "table5": 58, "table6": 24,
    "table9": 12, "table10": 6, "figure24": 6, "curves": 237 * 11,
}  # fmt: skip
# What the paper prints although it cannot be: paper/README.md.
MISPRINTS = {
    ("table2", "all", 31.4), ("table5", "all", 31.4), ("table3", "all", 13.5),
    ("table6", "level-2", 1.6), ("table6", "all", 7.3),
}  # fmt: skip
Key = tuple[Any, ...]


@pytest.fixture(scope="module")
def table4() -> Recipe:
    return load(find("table4"), "paper")


def by_group(name: str) -> dict[Key, dict[str, float]]:
    """The facets of the rows of a table without their group -> group -> value."""
    found: dict[Key, dict[str, float]] = defaultdict(dict)
    for row in paper_table(name):
        key = tuple(value for facet, value in row.items() if facet not in {"group", "value"})
        assert row["group"] not in found[key]
        found[key][row["group"]] = row["value"]
    return found


def counts(name: str) -> Iterator[tuple[str, float, float]]:
    """Group, accuracy, and how far it is from a whole number of problems, in percent."""
    problems = APPS if name in {"table3", "table6"} else MATH500
    for row in paper_table(name):
        # The average accuracy of APPS counts tests of a problem.
        if row["metric"] != "average accuracy":
            solved = round(row["value"] * problems[row["group"]] / 100)
            yield row["group"], row["value"], row["value"] - 100 * solved / problems[row["group"]]


@pytest.mark.parametrize("name", ROWS)
def test_all_numbers_are_there_once(name: str) -> None:
    rows = paper_table(name)
    assert len(rows) == ROWS[name]
    keys = Counter(tuple(v for facet, v in row.items() if facet != "value") for row in rows)
    assert max(keys.values()) == 1
    assert all(row["page"] > 5 for row in rows)


@pytest.mark.parametrize("name", sorted(ROWS.keys() - {"table4"}))
def test_columns_and_their_values_are_explained(name: str) -> None:
    page = (TESTS.parent / "e2h_cli/reports/paper/README.md").read_text()
    rows = paper_table(name)
    for column in rows[0].keys() - {"value", "page", "figure"}:
        (line,) = re.findall(
            rf"^\| .*`{column}`.* \| (.*) \|$", page.partition("| column |")[2], re.M
        )
        if column in ("supervision", "size", "reward_size", "generator", "reward_model", "method"):
            for value in {row[column] for row in rows} - {None, ""}:
                # Table 3 names best-of-1, best-of-4 and best-of-16.
                assert re.search(rf"\b{re.sub('of-[0-9]+$', 'of-n', value)}\b", line)


@pytest.mark.parametrize("name", ["table1", "table2", "table3", "table5", "table6", "table9"])
def test_percentages_are_whole_numbers_of_problems(name: str) -> None:
    off = {(name, group, value) for group, value, error in counts(name) if abs(error) > 0.0501}
    assert off == {m for m in MISPRINTS if m[0] == name and m[0] == "table6"}


@pytest.mark.parametrize("name", ["table2", "table3", "table5", "table6"])
def test_groups_add_up_to_all(name: str) -> None:
    problems = APPS if name in {"table3", "table6"} else MATH500
    off = set()
    complete = [v for v in by_group(name).values() if set(v) == set(problems)]
    assert len(complete) == {"table2": 12, "table3": 20, "table5": 19, "table6": 6}[name]
    for values in complete:
        mixed = sum(n * values[g] for g, n in problems.items() if g != "all") / 500
        if abs(mixed - values["all"]) > 0.0801:
            off.add((name, "all", values["all"]))
    assert off == {m for m in MISPRINTS if m[0] == name and m[0] != "table6"}


def test_table_2_is_the_short_form_of_table_5() -> None:
    short, full = (by_group(name) for name in ("table2", "table5"))
    pages = {**dict.fromkeys(short, 9), **dict.fromkeys(full, 20)}
    assert all(key[-1] == page for key, page in pages.items())
    assert all(full[*key[:-1], 20] == values for key, values in short.items())


def test_curves_of_groups_add_up_to_all() -> None:
    curves = by_group("curves")
    rerank = [v for v in curves.values() if set(v) == set(MATH500)]
    assert len(rerank) == 31 * 11
    for values in rerank:
        mixed = sum(MATH500[g] * values[g] for g in ("easy", "hard")) / 500
        assert mixed == pytest.approx(values["all"], abs=0.115)
    # The curves of the levels (Figure 19) against those of all problems (Figures 4 and 5).
    every = {key[1:-1]: v["all"] for key, v in curves.items() if key[0] in {4, 5}}
    levels = {key[1:-1]: v for key, v in curves.items() if key[0] == 19}
    assert len(levels) == 10 * 11
    for key, values in levels.items():
        mixed = sum(n * values[level] for level, n in LEVELS.items()) / 500
        assert mixed == pytest.approx(every[key], abs=0.23)


def test_more_samples_solve_more() -> None:
    curves = paper_curves(21)
    assert len(curves) == 24
    for curve in curves:
        assert list(curve.accuracy) == [2**i for i in range(11)]
        assert sorted(curve.accuracy.values()) == list(curve.accuracy.values())


def test_curves_of_a_figure_are_found_by_their_facets() -> None:
    curves = paper_curves(4, size="7b")
    assert {(c.group, c.method) for c in curves} == {
        (g, m) for g in MATH500 for m in ("majority", "weighted-voting", "best-of-n")
    }
    (one,) = paper_curves(4, size="34b", group="all", reward_model="OPRM",
                          method="weighted-voting")  # fmt: skip
    assert one.accuracy[1024] == 52.45  # the 52.5 of the abstract
    with pytest.raises(InputError, match="paper under table7; choose from curves"):
        paper_table("table7")


def test_curves_stand_beside_results_on_as_many_problems_only() -> None:
    def metrics(**problems: int) -> list[Metric]:
        return [
            Metric(group, "sft", "", "majority", "", 1, 20.0, 10.0, 30.0, n, "prm800k")
            for group, n in problems.items()
        ]

    assert len(curves_on_the_same_problems(metrics(**MATH500))) == 9
    assert curves_on_the_same_problems(metrics(easy=120, hard=200, all=320)) == []
    assert curves_on_the_same_problems(metrics(all=500)) == []


# Stage -> supervision, model and size of the paper's Table 4.
TRAINED = {
    "sft": ("PRM800K", "SFT", "7b"),
    "train-rm": ("PRM800K", "ORM", "7b"),
    "sft-easy-human-small": ("PRM800K", "SFT", "7b"),
    "sft-easy-human-large": ("PRM800K", "SFT", "34b"),
    "rm-prm-human-small": ("PRM800K", "PRM", "7b"),
    "rm-prm-human-large": ("PRM800K", "PRM", "34b"),
    "rm-orm-human-small": ("PRM800K", "ORM", "7b"),
    "rm-orm-human-large": ("PRM800K", "ORM", "34b"),
    "rm-oprm-human-small": ("PRM800K", "OPRM", "7b"),
    "rm-oprm-human-large": ("PRM800K", "OPRM", "34b"),
    "sft-easy-automatic-small": ("MetaMath", "SFT", "7b"),
    "sft-easy-automatic-large": ("MetaMath", "SFT", "34b"),
    "rm-prm-automatic-small": ("MetaMath", "PRM", "7b"),
}


@pytest.mark.parametrize("stage", TRAINED)
def test_recipes_train_with_the_settings_of_table_4(table4: Recipe, stage: str) -> None:
    ours = table4.stages[stage].settings
    theirs = {
        r["setting"]: r["value"]
        for r in paper_table("table4")
        if tuple(r.values())[:3] == TRAINED[stage]
    }
    assert len(theirs) == 5
    for setting, value in theirs.items():
        given = getattr(ours, setting.replace(" ", "_"))
        assert given == (value if setting == "precision" else float(value))


def test_the_view_of_table_4_has_all_its_models(table4: Recipe) -> None:
    assert table4.report is not None
    shown = {c.stage: tuple(c.paper.model_dump().values()) for c in table4.report.settings}
    assert shown == {stage: model for stage, model in TRAINED.items() if "-" in stage[6:]}
    assert set(shown.values()) == {tuple(row.values())[:3] for row in paper_table("table4")}
