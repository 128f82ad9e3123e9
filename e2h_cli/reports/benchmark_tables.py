"""Results of ProcessBench and PRMBench as tables and files, beside published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pyarrow import csv

from e2h_cli.common.files import csv_text, write_atomic, write_json
from e2h_cli.data.step_benchmarks import PRMBENCH_CATEGORIES
from e2h_cli.evaluation.benchmark_metrics import BenchmarkMetric
from e2h_cli.reports.tables import ReportTable, pivot
from e2h_cli.settings.evaluate import BenchmarkName

_FOLDER = Path(__file__).parent / "published"
# The metric that published numbers are of.
_MAIN = {"processbench": "F1", "prmbench": "PRMScore"}
_SHORT = {name: short for names in PRMBENCH_CATEGORIES.values() for name, short in names.items()}


def published_numbers(benchmark: BenchmarkName) -> list[dict[str, Any]]:
    """Numbers of other projects: model, group, metric, value in percent, solutions, source."""
    rows: list[dict[str, Any]] = csv.read_csv(_FOLDER / f"{benchmark}.csv").to_pylist()
    return rows


def metrics_table(metrics: Sequence[BenchmarkMetric], title: str) -> ReportTable:
    """A row per group and metric, with its interval and number of solutions."""
    rows = []
    for m in metrics:
        interval = "" if m.low is None or m.high is None else f"{m.low:.1f}-{m.high:.1f}"
        rows.append((m.group, m.metric, _shown(m.value), interval, f"{m.solutions:,}"))
    return ReportTable(title, ("", "metric", "percent", "interval", "solutions"), rows)


def comparison_table(
    benchmark: BenchmarkName, metrics: Sequence[BenchmarkMetric], model: str
) -> tuple[ReportTable, str]:
    """Ours above the published models, a column per group; and a sentence on what is left out.

    Published numbers stand in columns of as many solutions as they were measured on.
    """
    main = _MAIN[benchmark]
    ours = {m.group: m for m in metrics if m.metric == main}
    whole = max(m.solutions for m in ours.values())
    sizes = {g: whole if benchmark == "prmbench" else m.solutions for g, m in ours.items()}
    published = published_numbers(benchmark)
    fitting = [row for row in published if sizes.get(row["group"]) == row["solutions"]]
    cells = {((model,), group): _shown(m.value) for group, m in ours.items()}
    cells |= {((row["model"],), row["group"]): _shown(row["value"]) for row in fitting}
    header = ("reward model", *(_SHORT.get(group, group) for group in ours))
    title = f"{main} in percent: ours, and published ones"
    groups = {row["group"]: row["solutions"] for row in published if row["group"] in ours}
    missing = [f"{g} ({n:,})" for g, n in groups.items() if sizes[g] != n]
    note = f"No published numbers beside other sets than theirs: {', '.join(missing)}."
    return ReportTable(title, header, pivot(cells, ours)), note if missing else ""


def write_benchmark(
    folder: Path,
    name: str,
    about: Mapping[str, Any],
    rows: Sequence[Any],
    tables: Iterable[ReportTable],
    notes: Iterable[str],
) -> None:
    """Write NAME.json, NAME.csv (``rows``, dataclasses of one kind, alone), NAME.md."""
    columns = [field.name for field in fields(rows[0])]
    written = [asdict(row) for row in rows]
    write_json(folder / f"{name}.json", {**about, "metrics": written})
    write_atomic(folder / f"{name}.csv", csv_text(columns, written))
    texts = [*(table.markdown for table in tables), *(f"{note}\n" for note in notes)]
    write_atomic(folder / f"{name}.md", "\n".join(texts))


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
