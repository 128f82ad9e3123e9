"""The paper's own numbers: its tables, and the curves of its figures. ``paper/`` explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import csv

from e2h_cli.common.errors import InputError
from e2h_cli.reports.results import Metric

_FOLDER = Path(__file__).parent / "paper"
# MATH500 (paper p.5): problems of levels 1-3, of levels 4-5, and all.
MATH500 = {"easy": 238, "hard": 262, "all": 500}


@dataclass(frozen=True, slots=True)
class PaperCurve:
    """A line of a figure: accuracy in percent by N.

    ``generator`` is "7b" or "34b", ``reward_model`` "OPRM-7b" or, for majority voting, "".
    """

    figure: int
    group: str
    generator: str
    reward_model: str
    method: str
    accuracy: dict[int, float]


def paper_table(name: str) -> list[dict[str, Any]]:
    """The numbers of "table5", "figure24", "curves", ..., each with its facets and its page.

    InputError for a name that is not there.
    """
    file = _FOLDER / f"{name}.csv"
    if not file.is_file():
        known = ", ".join(sorted(file.stem for file in _FOLDER.glob("*.csv")))
        raise InputError(f"no numbers of the paper under {name}", hint=f"choose from {known}")
    return csv.read_csv(file).to_pylist()


def paper_curves(figure: int, **facets: str) -> list[PaperCurve]:
    """The curves of a figure, such as ``paper_curves(4, size="7b", group="hard")``.

    A curve that several figures show is under the first of them. ``facets``: group, supervision,
    size, reward_model, reward_size, method.
    """
    curves: dict[tuple[Any, ...], PaperCurve] = {}
    for row in paper_table("curves"):
        if row["figure"] == figure and all(row[key] == value for key, value in facets.items()):
            reward_model = "-".join(filter(None, (row["reward_model"], row["reward_size"])))
            line = row["group"], row["size"], reward_model, row["method"]
            curves.setdefault(line, PaperCurve(figure, *line, {})).accuracy[row["n"]] = row["value"]
    return list(curves.values())


def curves_on_the_same_problems(metrics: Sequence[Metric]) -> list[PaperCurve]:
    """Figure 4's curves of Llemma 7b, if ``metrics`` are on as many problems as MATH500 has.

    Accuracy on other problems is not to be compared with them.
    """
    problems = {m.group: m.problems for m in metrics if m.group in MATH500}
    return paper_curves(4, size="7b") if problems == MATH500 else []
