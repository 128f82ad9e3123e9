"""How models were trained, beside the paper's settings (Table 4, p.19)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.reports.paper_numbers import paper_table
from e2h_cli.reports.tables import ReportTable, Row

_TABLE = "table4"
_NOTHING = "-"


@dataclass(frozen=True, slots=True)
class SettingsColumn:
    """A column of the table: one model.

    ``settings``: those that it was trained with, by name; ``paper``: what ``paper_settings`` gives,
    empty for a model that the paper does not have.
    """

    name: str
    settings: Mapping[str, Any]
    paper: Mapping[str, str]


def paper_settings(supervision: str, model: str, size: str) -> dict[str, str]:
    """Setting -> value of a model of Table 4, as ``paper_settings("PRM800K", "PRM", "7b")``.

    Empty for a model that the paper does not have. InputError for a name that is nowhere there.
    """
    facets = {"supervision": supervision, "model": model, "size": size}
    rows = paper_table(_TABLE)
    for facet, value in facets.items():
        known = dict.fromkeys(row[facet] for row in rows)
        if value not in known:
            message = f"the paper's Table 4 has no {facet} {value!r}"
            raise InputError(message, hint=f"choose from {', '.join(known)}")
    return {
        row["setting"]: row["value"]
        for row in rows
        if all(row[facet] == value for facet, value in facets.items())
    }


def hyper_parameters(columns: Sequence[SettingsColumn], made_at: str) -> ReportTable:
    """Our settings above the paper's: two rows per setting of Table 4, a column per model.

    A star is at our values that differ from the paper's.
    """
    rows: list[Row] = []
    for setting in dict.fromkeys(row["setting"] for row in paper_table(_TABLE)):
        ours, theirs = [], []
        for column in columns:
            own = _shown(column.settings, setting)
            paper = column.paper.get(setting, _NOTHING)
            differs = _NOTHING not in (own, paper) and _value(own) != _value(paper)
            ours.append(f"{own}{'*' * differs}")
            theirs.append(paper)
        rows += [(setting, "ours", *ours), (setting, "paper", *theirs)]
    title = f"Hyper-parameters, and those of the paper's Table 4 ({made_at}; * differs)"
    return ReportTable(title, ("setting", "", *(column.name for column in columns)), rows)


def _shown(settings: Mapping[str, Any], setting: str) -> str:
    if setting == "epochs" and settings.get("max_steps"):
        return f"{settings['max_steps']} steps"  # which override epochs
    value = settings.get(setting.replace(" ", "_"))
    if value is None:
        return _NOTHING
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def _value(text: str) -> float | str:
    """The number that a text is, so that 2e-5 is 0.00002; else the text."""
    try:
        return float(text)
    except ValueError:
        return text
