"""What is written can be read: accuracy per problem, results, predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_jsonl
from e2h_cli.evaluation.measurements import Measurement
from e2h_cli.reports import Results, read_accuracy, read_predictions, read_results
from e2h_cli.reports.result_files import (
    read_measurements,
    write_accuracy,
    write_predictions,
    write_results,
    write_tables,
)
from e2h_cli.reports.tables import ReportTable


def test_accuracy_per_problem(tmp_path: Path) -> None:
    measurements = [
        Measurement("sft", "", "majority", "", 4, np.array([0.5, 1.0])),
        Measurement("sft", "prm", "weighted-voting", "prod", 4, np.array([0.25, 0.0])),
    ]
    write_accuracy(tmp_path, ["p", "q"], measurements)
    ids, found = read_measurements(tmp_path)
    assert ids == ["p", "q"]
    assert [(m.method, m.reward_model, m.n, m.accuracy.tolist()) for m in found] == [
        ("majority", "", 4, [0.5, 1.0]), ("weighted-voting", "prm", 4, [0.25, 0.0])
    ]  # fmt: skip
    frame = read_accuracy(str(tmp_path)).to_pandas()
    assert frame.groupby("method").accuracy.mean().to_dict() == {
        "majority": 0.75, "weighted-voting": 0.125
    }  # fmt: skip
    with pytest.raises(InputError, match=r"no accuracy\.parquet here"):
        read_accuracy(tmp_path / "no")


def test_results_of_a_run_are_a_data_frame(mini_run: Path, tmp_path: Path) -> None:
    results = read_results(mini_run)
    frame = pd.DataFrame(results.metrics)
    assert {"group", "reward_model", "n", "accuracy"} <= set(frame.columns)
    assert len(frame) == len((mini_run / "results.csv").read_text().splitlines()) - 1
    write_results(tmp_path, results, {"scale": "tiny"})
    assert read_results(tmp_path) == results
    assert (tmp_path / "results.csv").read_text() == (mini_run / "results.csv").read_text()
    write_results(tmp_path, Results([], []), {})
    assert read_results(tmp_path) == Results([], [])


def test_tables_and_notes_in_markdown_and_latex(tmp_path: Path) -> None:
    table = ReportTable("One", ("", "a"), [("x", "1")])
    write_tables(tmp_path, [table, table], ["p <= 0.01 %", "two"])
    markdown, latex = ((tmp_path / f"results.{kind}").read_text() for kind in ("md", "tex"))
    assert markdown == f"{table.markdown}\n{table.markdown}\np <= 0.01 %\n\ntwo\n"
    assert latex.count(table.latex) == 2
    assert latex.endswith("\n\np $\\le$ 0.01 \\%\n\ntwo\n")


def test_weighted_voting_is_what_is_read_of_predictions(tmp_path: Path) -> None:
    def row(
        method: str, key: str, answer: str | None, aggregate: str = ""
    ) -> dict[str, str | None]:
        return {"id": key, "method": method, "aggregate": aggregate, "answer": answer}

    majority = [row("majority", "p", "2"), row("majority", "q", None)]
    write_predictions(tmp_path, [*majority, row("weighted-voting", "p", "1")])
    assert read_predictions(tmp_path) == {"p": "1"}
    # After --aggregate all the answer is that of prod, not of the aggregation that stands first.
    several = [row("weighted-voting", "p", *one) for one in (("3", "min"), ("1", "prod"))]
    write_predictions(tmp_path, [*majority, *several])
    assert read_predictions(tmp_path) == {"p": "1"}
    write_predictions(tmp_path, [*majority, several[0]])
    assert read_predictions(tmp_path) == {"p": "3"}
    write_predictions(tmp_path, majority)
    assert read_predictions(tmp_path) == {"p": "2"}
    with pytest.raises(InputError, match=r"no predictions\.jsonl"):
        read_predictions(tmp_path / "no")


def test_rerank_writes_predictions(mini_run: Path) -> None:
    rows = [row for _, row in read_jsonl(mini_run / "rerank/predictions.jsonl")]
    assert {row["method"] for row in rows} == {"majority", "weighted-voting", "best-of-n"}
    assert all(set(row) == {"id", "method", "aggregate", "answer"} for row in rows)
