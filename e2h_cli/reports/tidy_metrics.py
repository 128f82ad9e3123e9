"""Tidy metrics: one row per figure, with the facets of what it was measured on.

Columns: ``seed``, ``scale``, ``stage``, facets (size, supervision, generator, reward_model, ...),
``group``, ``metric``, ``method``, ``aggregate``, ``n``, ``value``, ``low``, ``high``,
``problems``, ``grader``. Accuracy is in percent. Beside them is the accuracy of every method on
every problem, for tests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from e2h_cli.common import parquet_store
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import csv_text, write_atomic
from e2h_cli.evaluation.statistics import Bools, Floats
from e2h_cli.evaluation.voting import BEST_AGGREGATE
from e2h_cli.reports.results import group_masks
from e2h_cli.reports.spec import REWARD_FACETS, Selection

METRICS = "metrics.parquet"
PROBLEMS = "accuracy.parquet"
# ROC curves of reward models, with the stage of each.
ROC = "roc.parquet"

Row = dict[str, Any]

_FIRST = ("seed", "scale", "stage")
# What an accuracy is of, beside the problem.
_MEASURED = ("stage", "metric", "method", "aggregate", "n")
_LAST = (
    "group", "metric", "method", "aggregate", "n", "value", "low", "high", "problems", "grader",
)  # fmt: skip
_NUMBERS = {"seed": pa.int64(), "n": pa.int64(), "problems": pa.int64()} | dict.fromkeys(
    ("value", "low", "high"), pa.float64()
)


class Metrics:
    """Tidy rows, found by selections."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)
        self._index: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in self.rows:
            self._index[row.get("group"), row.get("metric"), row.get("method")].append(row)

    @cached_property
    def known(self) -> dict[str, list[str]]:
        """Facet, and group, -> the values that there are."""
        found: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for row in self.rows:
            for key, value in row.items():
                if isinstance(value, str) and value:
                    found[key][value] = None
        return {key: list(values) for key, values in found.items()}

    def series(self, selection: Selection) -> list[Row]:
        """Rows that differ in nothing but n (or in a facet that the selection leaves out), by n.

        Without ``aggregate`` the best one of the method is taken (paper p.8), else the only one.

        Raises:
            InputError: the selection fits rows of several facets.
        """
        wanted = {"metric": "accuracy", "group": "all", **selection}
        scored = uses_scores(wanted)
        asked = {
            key: value
            for key, value in wanted.items()
            if key not in ("n", "aggregate") and (scored or key not in REWARD_FACETS)
        }
        rows = [
            row
            for row in self._index[wanted["group"], wanted["metric"], wanted.get("method", "")]
            if all(row.get(key, "") == value for key, value in asked.items())
        ]
        if rows and (aggregate := wanted.get("aggregate")) is None:
            given = list(dict.fromkeys(row.get("aggregate", "") for row in rows))
            best = BEST_AGGREGATE.get(str(wanted.get("method")))
            aggregate = best if best in given else given[0]
        rows = [row for row in rows if row.get("aggregate", "") == aggregate]
        return sorted(_of_one_stage(rows, scored), key=lambda row: row.get("n") or 0)

    def cell(self, selection: Selection) -> Row | None:
        """The row at the wanted n or, where there are fewer samples, at the largest; None without.

        Without ``n`` the largest.
        """
        rows = self.series(selection)
        wanted = selection.get("n")
        if wanted is not None:
            rows = [row for row in rows if row.get("n") is None or row["n"] <= wanted]
        return rows[-1] if rows else None


def uses_scores(selection: Selection) -> bool:
    """Whether a selection may be of a method that votes by scores of a reward model."""
    return selection.get("method") in (None, *BEST_AGGREGATE)


def _of_one_stage(rows: Sequence[Row], scored: bool) -> list[Row]:
    """Rows of the first stage; of several stages with other facets none is right."""
    kept = [row for row in rows if row.get("stage") == rows[0].get("stage")]
    for other in rows:
        differ = [
            key
            for key in other.keys() - {*_LAST, "stage"}
            if other[key] != kept[0].get(key) and (scored or key not in REWARD_FACETS)
        ]
        if differ:
            stages = f"{kept[0]['stage']} and {other['stage']}"
            raise InputError(
                f"a selection fits {stages}, which differ in {', '.join(sorted(differ))}",
                hint="name the facet in the report of the recipe",
            )
    return kept


def write_metrics(folder: Path, rows: Sequence[Row]) -> None:
    """Write tidy rows to metrics.parquet and metrics.csv; facets that a row has not are empty."""
    facets = sorted({key for row in rows for key in row} - {*_FIRST, *_LAST})
    columns = [*_FIRST, *facets, *_LAST]
    schema = pa.schema([(name, _NUMBERS.get(name, pa.string())) for name in columns])
    filled = [{name: row.get(name, None if name in _NUMBERS else "") for name in columns}
              for row in rows]  # fmt: skip
    parquet_store.write_table(folder / METRICS, pa.Table.from_pylist(filled, schema=schema))
    write_atomic(folder / "metrics.csv", csv_text(columns, filled))


def read_metrics(folder: Path) -> Metrics:
    """The metrics of an eval stage."""
    return Metrics(pq.read_table(folder / METRICS).to_pylist())


def write_problems(
    folder: Path, measured: Iterable[tuple[str, Sequence[str], Sequence[Any]]], groups: pa.Table
) -> None:
    """Write the accuracy on every problem.

    ``measured``: stage, problem ids, and its measurements (``evaluation.Measurement``);
    ``groups``: ``id``, ``level`` and ``subject`` of the problems.
    """
    parts = []
    for stage, ids, measurements in measured:
        for m in measurements:
            size = len(ids)
            columns = {
                "id": pa.array(ids),
                "stage": pa.array([stage] * size),
                "method": pa.array([m.method] * size),
                "aggregate": pa.array([m.aggregate] * size),
                "n": pa.array([m.n] * size, pa.int64()),
                "metric": pa.array([m.metric] * size),
                "accuracy": pa.array(m.accuracy, pa.float64()),
            }
            parts.append(pa.table(columns))
    table = pa.concat_tables(parts).join(groups, "id")
    parquet_store.write_table(folder / PROBLEMS, table)


class ProblemAccuracy:
    """Accuracy on every problem behind a row of metrics.

    Attributes:
        max_level: the last easy level.
    """

    def __init__(self, folder: Path, max_level: int) -> None:
        self._table = pq.read_table(folder / PROBLEMS)
        self.max_level = max_level
        self._found: dict[tuple[Any, ...], tuple[pa.Table, dict[str, Bools]]] = {}

    @cached_property
    def _rows(self) -> dict[tuple[Any, ...], list[int]]:
        """Places in the table by what was measured."""
        found: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        keys = (self._table[key].to_pylist() for key in _MEASURED)
        for place, key in enumerate(zip(*keys, strict=True)):
            found[key].append(place)
        return found

    def of(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Problem id -> accuracy in [0, 1], for the group, stage, method and n of a row."""
        measured = tuple(row[key] for key in _MEASURED)
        if measured not in self._rows:
            return {}
        if measured not in self._found:
            table = self._table.take(self._rows[measured])
            levels, subjects = (table[key].to_numpy() for key in ("level", "subject"))
            self._found[measured] = table, group_masks(levels, subjects, self.max_level)
        table, masks = self._found[measured]
        mask = masks.get(row["group"])
        if mask is None:
            return {}
        table = table.filter(pa.array(mask))
        return dict(zip(table["id"].to_pylist(), table["accuracy"].to_pylist(), strict=True))


def paired(a: Mapping[str, float], b: Mapping[str, float]) -> tuple[Floats, Floats]:
    """Accuracy of two methods on the problems that both have, in the same order."""
    ids = [key for key in a if key in b]
    return np.array([a[key] for key in ids]), np.array([b[key] for key in ids])
