"""The tables of a view: our numbers beside the paper's, and its claims."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from e2h_cli.common.files import csv_text
from e2h_cli.reports.results import shown_p
from e2h_cli.reports.spec import ReportSpec, places
from e2h_cli.reports.tables import ReportTable, Row
from e2h_cli.reports.view import Cell, Checked, Run, cell


def view_tables(runs: Sequence[Run], spec: ReportSpec, made_at: str) -> list[ReportTable]:
    """A table for each place of ``tables``: rows, our columns, and the paper's numbers."""
    known = _known(runs)
    columns = places(spec.columns, known)
    tables = []
    for names, of_table in places(spec.tables, known):
        rows: list[Row] = []
        of_rows = [
            (labels, of_row, [cell(runs, spec, {**of_table, **of_row, **c}) for _, c in columns])
            for labels, of_row in places(spec.rows, known)
        ]
        ns = {
            i: max((cells[i].n or 0 for _, _, cells in of_rows), default=0)
            for i in range(len(columns))
        }
        for labels, of_row, cells in of_rows:
            if all(one.mean is None and one.paper is None for one in cells):
                continue
            further = [_facet(runs, spec, {**of_table, **of_row}, columns, f) for f in spec.show]
            paper = "/".join(_number(one.paper) for one in cells)
            if all(one.paper is None for one in cells):
                paper = "-"
            # Rows of a number of samples of their own say so by their name.
            own_n = "n" in of_row or of_row.get("method") == "greedy"
            texts = [shown(one, None if own_n else ns.get(i)) for i, one in enumerate(cells)]
            rows.append((*labels, *texts, paper, *further))
        header = [" ".join(label) for label, _ in columns]
        header = [_with_n(name, columns[i][1], ns.get(i)) for i, name in enumerate(header)]
        title = ", ".join([spec.title, *names])
        spread = "sd over runs" if len(runs) > 1 else "95 % intervals over problems"
        title = f"{title} ({made_at}; {spread})"
        tables.append(ReportTable(title, (*spec.rows, *header, "paper", *spec.show), rows))
    return tables


def curve_tables(runs: Sequence[Run], spec: ReportSpec, made_at: str) -> list[ReportTable]:
    """The curves of a figure at the largest N of each side, as a table."""
    if spec.x != "n":
        return []
    lines = {key: axis for key, axis in spec.lines.items() if len(axis) > 1}
    as_table = spec.model_copy(
        update={
            "rows": {**spec.tables, **(lines or spec.lines)},
            "tables": {},
            "title": f"{spec.title}, at the largest N",
        }
    )
    return view_tables(runs, as_table, made_at)


def _known(runs: Sequence[Run]) -> dict[str, list[str]]:
    return runs[0].metrics.known if runs else {}


def _facet(
    runs: Sequence[Run],
    spec: ReportSpec,
    selection: dict[str, Any],
    columns: Sequence[tuple[Row, dict[str, Any]]],
    facet: str,
) -> str:
    """A facet of the first figure of a row."""
    for _, of_column in columns:
        for run in runs:
            found = run.metrics.cell({**spec.where, **selection, **of_column})
            if found is not None:
                return str(found.get(facet) or "-")
    return "-"


def _with_n(name: str, selection: dict[str, Any], n: int | None) -> str:
    """``Maj@256`` as ``Maj@64``, where 64 samples are all that there are."""
    wanted = selection.get("n")
    return name if not wanted or not n else name.replace(f"@{wanted}", f"@{n}")


def shown(one: Cell, of_column: int | None = None) -> str:
    """``58.2 (52-64)`` of one run, ``58.2 ± 3.1`` of several, ``-`` of none.

    ``of_column``: the N of the column; another N is shown: ``@16``.
    """
    if one.mean is None:
        return "-"
    if of_column and one.n and one.n != of_column:
        return f"{shown(one)} @{one.n}"
    digits = 1 if one.mean > 1 or one.n is not None else 2
    mean = f"{one.mean:.{digits}f}"
    if one.sd is not None:
        return f"{mean} ± {one.sd:.{digits}f}"
    if one.low is None or one.high is None:
        return mean
    fewer = 0 if digits == 1 else 2
    return f"{mean} ({one.low:.{fewer}f}-{one.high:.{fewer}f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.{1 if value > 1 else 2}f}"


def long_rows(runs: Sequence[Run], spec: ReportSpec) -> Iterator[dict[str, Any]]:
    """One row per cell for CSV and JSON: labels, n, our mean and interval, the paper's number.

    Of curves one row per point.
    """
    known = _known(runs)
    axes = [places(axis, known) for axis in (spec.tables, spec.rows, spec.columns, spec.lines)]
    headers = [*spec.tables, *spec.rows, *spec.columns, *spec.lines]
    if spec.kind == "curves":
        xs: list[Any] = sorted({row[spec.x] for row in runs[0].metrics.rows if row.get(spec.x)})
        axes.append([((str(x),), {spec.x: x}) for x in xs])
        headers.append(spec.x)
    for chosen in itertools.product(*axes):
        labels = [label for names, _ in chosen for label in names]
        selection = {key: value for _, part in chosen for key, value in part.items()}
        one = cell(runs, spec, selection)
        if spec.kind == "curves" and spec.x == "n" and one.n != selection["n"]:
            continue  # there are fewer samples
        yield dict(zip(headers, labels, strict=True)) | {
            "n": one.n, "ours": one.mean, "low": one.low, "high": one.high,
            "sd": one.sd, "runs": len(one.values), "paper": one.paper,
        }  # fmt: skip


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of the same keys as CSV; empty without any."""
    return csv_text(list(rows[0]), rows) if rows else ""


def claims_table(checked: Sequence[Checked], runs: Sequence[Run], made_at: str) -> ReportTable:
    """The paper's claims, its difference and ours, the test, and what it says."""
    over = f"over {len(runs)} training runs" if len(runs) > 1 else "of one run, over problems"
    family = max((one.family for one in checked), default=0)
    title = f"Claims of the paper ({made_at}; tests {over}; p: corrected by Holm for {family})"
    rows: list[Row] = []
    for one in checked:
        mean = one.mean
        share = "auc" in str({**one.claim.where, **one.claim.better}.get("metric"))
        digits = 2 if share else 1
        ours = "-" if mean is None else f"{mean:+.{digits}f}"
        if mean is not None and one.low is not None and one.high is not None:
            fewer = digits if share else 0
            ours += f" ({one.low:+.{fewer}f} to {one.high:+.{fewer}f})"
        above = sum(value > 0 for value in one.differences)
        count = f"{above}/{len(one.differences)}" if len(one.differences) > 1 else ""
        verdict = one.verdict
        if one.claim.within:
            verdict += f" (within {one.claim.within:g})"
        p = "-" if one.claim.within else shown_p(one.p_holm)
        paper = "-" if one.paper is None else f"{one.paper:+.{digits}f}"
        cells = (one.claim.about, one.group, paper, ours, *([count] if len(runs) > 1 else []))
        rows.append((*cells, p, verdict))
    header = ("claim", "on", "paper", "ours", *(["above 0"] if len(runs) > 1 else []), "p", "")
    return ReportTable(title, header, rows)


def claims_as_json(checked: Sequence[Checked]) -> list[dict[str, Any]]:
    """Claims for JSON files."""
    return [{**asdict(one), "claim": one.claim.model_dump(), "mean": one.mean} for one in checked]
