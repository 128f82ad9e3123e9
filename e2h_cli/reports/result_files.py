"""Files of stages and runs: results.{json,csv,md,tex}, accuracy.parquet, predictions.jsonl."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from e2h_cli.common import parquet_store
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import (
    csv_text,
    read_json,
    read_jsonl,
    write_atomic,
    write_json,
    write_jsonl,
)
from e2h_cli.evaluation.measurements import Measurement
from e2h_cli.evaluation.voting import BEST_AGGREGATE
from e2h_cli.reports.results import Comparison, Metric, Results
from e2h_cli.reports.tables import ReportTable, latex_text

RESULTS = "results.json"
ACCURACY = "accuracy.parquet"
PREDICTIONS = "predictions.jsonl"
# Of a rerank stage: the folder of its scores, and samples that were imported from a file.
SCORES = "scores"
IMPORTED = "imported-samples.parquet"

_METHOD_COLUMNS = {
    "generator": pa.string(),
    "reward_model": pa.string(),
    "method": pa.string(),
    "aggregate": pa.string(),
    "n": pa.int32(),
    "metric": pa.string(),
}
_ACCURACY_SCHEMA = pa.schema({"id": pa.string(), **_METHOD_COLUMNS, "accuracy": pa.float64()})


def write_results(
    folder: Path,
    results: Results,
    about: Mapping[str, Any],
    tables: Sequence[ReportTable] = (),
    notes: Sequence[str] = (),
) -> None:
    """Write results.json, results.csv (metrics alone), and the tables and notes."""
    rows = asdict(results)
    write_json(folder / RESULTS, {**about, **rows})
    columns = [field.name for field in fields(Metric)]
    write_atomic(folder / "results.csv", csv_text(columns, rows["metrics"]))
    write_tables(folder, tables, notes)


def write_tables(folder: Path, tables: Sequence[ReportTable], notes: Sequence[str] = ()) -> None:
    """Write results.md and results.tex: tables, and the notes below them."""
    markdown = [*(table.markdown for table in tables), *(f"{note}\n" for note in notes)]
    latex = [*(table.latex for table in tables), *(f"{latex_text(note)}\n" for note in notes)]
    write_atomic(folder / "results.md", "\n".join(markdown))
    write_atomic(folder / "results.tex", "\n".join(["% Needs the package booktabs.", *latex]))


def read_results(folder: Path | str) -> Results:
    """Metrics and comparisons of a run folder, or of a rerank or eval stage."""
    found = read_json(Path(folder) / RESULTS)
    comparisons = [Comparison(**row) for row in found["comparisons"]]
    return Results([Metric(**row) for row in found["metrics"]], comparisons)


def write_accuracy(folder: Path, ids: Sequence[str], measurements: Iterable[Measurement]) -> None:
    """Write the accuracy of every measurement on every problem, one row for each."""
    rows = [
        (key, *(getattr(m, name) for name in _METHOD_COLUMNS), accuracy)
        for m in measurements
        for key, accuracy in zip(ids, m.accuracy.tolist(), strict=True)
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    parquet_store.write_table(folder / ACCURACY, pa.table(columns, schema=_ACCURACY_SCHEMA))


def read_accuracy(folder: Path | str) -> pa.Table:
    """Accuracy of a rerank stage by problem, method and N. InputError if the file is missing."""
    return pq.read_table(_existing(Path(folder) / ACCURACY))


def _existing(file: Path) -> Path:
    if not file.is_file():
        message = f"no {file.name} here"
        raise InputError(message, where=file.parent, hint="make it with: e2h rerank")
    return file


def read_measurements(folder: Path) -> tuple[list[str], list[Measurement]]:
    """Problem ids, and the measurements of a rerank stage on these problems."""
    table = read_accuracy(folder)
    ids = list(dict.fromkeys(table["id"].to_pylist()))
    # Rows are sorted by measurement, each with the problems in the same order.
    first = table.select(list(_METHOD_COLUMNS)).take(list(range(0, table.num_rows, len(ids))))
    accuracy = table["accuracy"].to_numpy().reshape(-1, len(ids))
    rows = zip(first.to_pylist(), accuracy, strict=True)
    return ids, [Measurement(**row, accuracy=values) for row, values in rows]


def write_predictions(folder: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the rows of ``evaluation.predictions``; they hold no gold answer."""
    write_jsonl(folder / PREDICTIONS, rows)


def read_predictions(folder: Path) -> dict[str, str]:
    """Problem id -> answer chosen by weighted voting, or by majority voting where there is none.

    Of several aggregations the best one for voting is taken (prod, paper p.8), else the first.
    InputError if the file is missing.
    """
    answers: dict[str, dict[str, dict[str, str]]] = {"weighted-voting": {}, "majority": {}}
    for _, row in read_jsonl(_existing(folder / PREDICTIONS)):
        if row["answer"] is not None and row["method"] in answers:
            answers[row["method"]].setdefault(row["aggregate"], {})[row["id"]] = row["answer"]
    weighted = answers["weighted-voting"]
    by_preference = [weighted.get(BEST_AGGREGATE["weighted-voting"]), *weighted.values()]
    return next(filter(None, [*by_preference, *answers["majority"].values()]), {})
