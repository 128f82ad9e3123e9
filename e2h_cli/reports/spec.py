"""What a table or figure of the paper shows: the key ``report`` of its recipe.

A cell, or a line of a plot, is a selection of tidy metrics: values of facets (size, generator,
reward_model, ...) and of group, metric, method, aggregate and n. An axis (tables, rows, columns,
lines) lists selections; a cell has those of all axes together. docs/results.md has an example.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Value = str | int
Selection = dict[str, Value]
# Header -> values of the facet of this name, or selections with a name.
Axis = dict[str, list[Value | Selection]]
# A place on an axis: its labels, one per header, and what they select.
Place = tuple[tuple[str, ...], Selection]

# The paper's names of what the experiment names without its models and data.
PAPER_NAMES: Mapping[str, Mapping[str, str]] = {
    "size": {"small": "7b", "large": "34b"},
    "reward_size": {"small": "7b", "large": "34b"},
    "supervision": {"human": "PRM800K", "automatic": "MetaMath"},
}


# Facets of a reward model; methods that use no scores do not have them.
REWARD_FACETS = ("reward_model", "reward_size")
# votes: the paper's Figures 22-23; first-wrong: its Table 7; style: its Table 8.
CaseKind = Literal["votes", "first-wrong", "style"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Claim(_Entry):
    """A claim of the paper: ``better`` has the higher accuracy, or both are close.

    Attributes:
        about: the claim in words.
        better, worse: selections, on top of ``where`` of the claim and of the report.
        where: what both have.
        within: both are within so many percentage points of each other; no side is better.
    """

    about: str
    better: Selection
    worse: Selection
    where: Selection = Field(default_factory=dict)
    within: float | None = Field(None, gt=0)


class PaperModel(_Entry):
    """A model of the paper's Table 4."""

    supervision: str
    model: str
    size: str


class ModelColumn(_Entry):
    """A column of hyper-parameters: a stage of the recipe, and the paper's model."""

    name: str
    stage: str
    paper: PaperModel


class ReportSpec(_Entry):
    """How a view is rendered.

    Attributes:
        title: of the table or figure.
        page: where it is in the paper.
        kind: tables of numbers; accuracy or another metric against ``x``; bars; ROC curves; case
            studies; hyper-parameters.
        paper: name of the paper's numbers in ``reports/paper/``; empty for none.
        paper_where: what the paper's rows have, and ours do not.
        where: what all cells have.
        tables: one table, or one row of panels, for each place.
        rows, columns: of a table; columns are the panels of a figure, rows its bars.
        lines: of a panel.
        x: what is on the x-axis of panels.
        show: further facets of each row, as columns of a table.
        claims: the paper's.
        case: which case studies.
        count: how many of them, after the first ``skip``.
        settings: columns of hyper-parameters.
        note: stands below.
    """

    title: str
    page: int
    kind: Literal["table", "curves", "bars", "roc", "cases", "settings"] = "table"
    paper: str = ""
    paper_where: Selection = Field(default_factory=dict)
    where: Selection = Field(default_factory=dict)
    tables: Axis = Field(default_factory=dict)
    rows: Axis = Field(default_factory=dict)
    columns: Axis = Field(default_factory=dict)
    lines: Axis = Field(default_factory=dict)
    x: Literal["n", "iteration"] = "n"
    show: list[str] = Field(default_factory=list)
    claims: list[Claim] = Field(default_factory=list)
    case: CaseKind = "votes"
    count: int = Field(1, ge=1)
    skip: int = Field(0, ge=0)
    settings: list[ModelColumn] = Field(default_factory=list)
    note: str = ""


def places(axis: Axis, known: Mapping[str, Iterable[str]]) -> list[Place]:
    """All places of an axis; one without labels for an empty axis.

    ``known``: facet -> the values that there are, for values with a star such as ``level-*``.
    """
    of_header: list[list[tuple[str, Selection]]] = []
    for header, values in axis.items():
        chosen: list[tuple[str, Selection]] = []
        for value in values:
            if isinstance(value, dict):
                selection = {key: one for key, one in value.items() if key != "name"}
                name = value.get("name", ", ".join(map(str, selection.values())))
                chosen.append((str(name), selection))
            elif isinstance(value, str) and "*" in value:
                found = sorted(v for v in known.get(header, ()) if fnmatchcase(v, value))
                chosen += [(_label(header, one), {header: one}) for one in found]
            else:
                chosen.append((_label(header, value), {header: value}))
        of_header.append(chosen)
    return [
        (tuple(label for label, _ in chosen), _together(selection for _, selection in chosen))
        for chosen in itertools.product(*of_header)
    ]


def _label(header: str, value: Value) -> str:
    text = str(value)
    for prefix in ("subject-", "level-"):
        if header == "group" and text.startswith(prefix):
            text = text.removeprefix(prefix)
            return f"level {text}" if prefix == "level-" else text
    return text


def _together(selections: Iterable[Mapping[str, Any]]) -> Selection:
    return {key: value for selection in selections for key, value in selection.items()}
