"""The key ``report`` of a recipe: its axes, and mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2h_cli.reports.spec import places
from tests.conftest import Cli, assert_one_line


def test_an_empty_axis_is_one_place() -> None:
    assert places({}, {}) == [((), {})]


def test_headers_are_multiplied_in_their_order() -> None:
    maj: dict[str, str | int] = {"name": "Maj@16", "method": "m", "n": 16}
    axis = {"size": ["small", "large"], "decoding": [maj, {"method": "greedy", "prm": "no"}]}
    assert places(axis, {}) == [
        (("small", "Maj@16"), {"size": "small", "method": "m", "n": 16}),
        (("small", "greedy, no"), {"size": "small", "method": "greedy", "prm": "no"}),
        (("large", "Maj@16"), {"size": "large", "method": "m", "n": 16}),
        (("large", "greedy, no"), {"size": "large", "method": "greedy", "prm": "no"}),
    ]


def test_a_star_stands_for_the_values_that_there_are() -> None:
    known = {"group": ["subject-Algebra", "level-2", "all", "level-1"], "size": ["small"]}
    assert places({"group": ["level-*", "all"]}, known) == [
        (("level 1",), {"group": "level-1"}),
        (("level 2",), {"group": "level-2"}),
        (("all",), {"group": "all"}),
    ]
    assert places({"group": ["subject-*"]}, known) == [(("Algebra",), {"group": "subject-Algebra"})]
    assert places({"size": ["level-*"]}, known) == []


RECIPE = """\
extends: quickstart
name: r
report:
  title: A table
  page: 6
  rows: {size: [small]}
  claims:
    - about: larger is better
      better: {size: large}
      worse: {size: small}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  rows:", "  row:", "r.yaml:6: unknown key 'report.row'; did you mean 'rows'?"),
        ("page: 6", "page: six", "r.yaml:5: report.page: Input should be a valid integer"),
        ("  page: 6\n", "", "r.yaml:3: report.page: Field required"),
        ("      worse:", "      worst:", "r.yaml:7: report.claims.0.worse: Field required"),
        ("about: larger", "within: -1\n      about: larger", "r.yaml:7: report.claims.0.within: "),
        ("[small]", "small", "r.yaml:6: report.rows.size: Input should be a valid list"),
        ("[small]", "[[small]]", "r.yaml:6: report.rows.size.0"),
    ],
)
def test_a_mistake_is_told_with_its_line(
    cli: Cli, tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert RECIPE.count(old) == 1
    (tmp_path / "r.yaml").write_text(RECIPE)
    assert cli("validate", "r.yaml").returncode == 0
    (tmp_path / "r.yaml").write_text(RECIPE.replace(old, new))
    assert_one_line(cli("validate", "r.yaml"), message)
