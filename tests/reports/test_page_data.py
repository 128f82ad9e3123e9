"""Views, logs and the file of the page, from plain data."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from typing import Any

import numpy as np
import pytest

from e2h_cli.reports.page.html_document import Document
from e2h_cli.reports.page.training_data import STEPS, log_json, shown_steps
from e2h_cli.reports.page.view_data import claims_json, figure_json, metrics_json, table_json
from e2h_cli.reports.spec import ReportSpec
from e2h_cli.reports.tables import ReportTable, read_markdown
from e2h_cli.reports.tidy_metrics import Metrics
from e2h_cli.reports.view import Checked, Run
from tests.reports.tidy_rows import row


def one_run(*rows: dict[str, object]) -> Run:
    return Run(0, Metrics(rows), None)  # type: ignore[arg-type]


def test_a_figure_has_our_curve_and_the_papers() -> None:
    lines: Any = {"method": [{"name": "Majority voting", "method": "majority"}]}
    groups: Any = {"group": ["easy"]}
    spec = ReportSpec(title="t", page=1, kind="curves", columns=groups, lines=lines)
    run = one_run(row(group="easy", method="majority", n=1, value=10.0),
                  row(group="easy", method="majority", n=4, value=20.0))  # fmt: skip
    figure = figure_json([run], spec, "tiny scale", None)
    assert figure is not None
    [panels] = [one["panels"] for one in figure["rows"]]
    assert panels[0]["title"] == "easy"
    [line] = panels[0]["lines"]
    assert (line["name"], line["x"], line["y"]) == ("Majority voting", (1, 4), (10.0, 20.0))
    assert figure["log2"]
    json.dumps(figure, allow_nan=False)
    assert figure_json([run], ReportSpec(title="t", page=1), "tiny scale", None) is None


def test_bars_are_groups_with_intervals() -> None:
    spec = ReportSpec(title="Accuracy", page=1, kind="bars", columns={"group": ["hard"]},
                      rows={"method": ["majority"]})  # fmt: skip
    run = one_run(row(group="hard", method="majority", value=7.0))
    figure = figure_json([run], spec, "tiny scale", None)
    assert figure is not None
    [group] = figure["groups"]
    assert group["name"] == "hard"
    assert group["bars"][0][:2] == ["majority", 7.0]


def test_metrics_come_back_as_rows() -> None:
    rows = [row(group="easy", n=1, value=1.23456), row(group="hard", n=2, value=2.0)]
    columns = metrics_json(Metrics(rows))
    back = [
        {name: one["values"][one["rows"][i]] for name, one in columns.items()} for i in range(2)
    ]
    assert back[1] == rows[1]
    assert back[0]["value"] == 1.2346
    assert columns["stage"]["rows"] == [0, 0]


@pytest.mark.parametrize(
    ("verdict", "shown"),
    [("holds (intervals apart)", "holds"), ("not shown", "not shown"), ("reversed", "reversed")],
)
def test_verdicts_are_words(verdict: str, shown: str) -> None:
    checked = Checked(None, "all", (), None, None, None, None, verdict=verdict)  # type: ignore[arg-type]
    assert claims_json([checked]) == [shown]


def test_tables_of_markdown_are_read_back() -> None:
    tables = [
        ReportTable("One (a)", ("", "N =", "1"), [("easy", "majority", "9.0"), ("", "x", "")]),
        ReportTable("Two", ("a", "b"), [("1", "2")]),
    ]
    text = "\n".join([*(table.markdown for table in tables), "A note.\n"])
    found, notes = read_markdown(text)
    assert [table_json(table) for table in found] == [table_json(table) for table in tables]
    assert notes == ["A note."]


def test_a_log_has_columns_and_the_warning() -> None:
    lines = [{"step": 0, "easy": 0.5}, {"step": 1, "reward": float("nan"), "stopped": True},
             {"step": 2, "reward": 0.25, "easy": 0.4, "warning": "careful"}]  # fmt: skip
    log = log_json(lines)
    assert (log["x_name"], log["x"], log["warning"]) == ("step", [0, 1, 2], "careful")
    assert log["columns"]["reward"] == [None, None, 0.25]
    assert log["columns"]["easy"] == [0.5, None, 0.4]
    json.dumps(log, allow_nan=False)
    assert log_json([])["columns"] == {}


def test_a_long_log_is_thinned_but_for_its_validations() -> None:
    lines = [{"step": i, "reward": 1.0} | ({"vote": 0.5} if i == 7 else {}) for i in range(2001)]
    log = log_json(lines)
    assert len(log["x"]) < 600
    assert {0, 7, 2000} <= set(log["x"])


def test_few_steps_are_shown_and_the_chosen_one() -> None:
    assert shown_steps([3, 1, 2], [9]) == [1, 2, 3]
    many = shown_steps(range(100), [41, 500])
    assert {0, 41, 99} <= set(many)
    assert len(many) == STEPS + 1


def test_the_file_holds_its_data_and_only_the_scripts_that_its_policy_names() -> None:
    hostile = "</script><script>alert(1)</script><!-- \u2028 \U0001f600"
    document = Document()
    document.add("run", {"text": hostile, "number": np.float64(1.5).item()})
    html = document.html(f"a {hostile}")
    [part] = re.findall(r'id="part-run">([^<]*)</script>', html)
    assert json.loads(gzip.decompress(base64.b64decode(part)))["text"] == hostile
    assert "alert(1)" not in html.replace("&lt;script&gt;alert(1)", "")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert "unsafe-eval" not in policy[1]
    assert "default-src 'none'" in policy[1]
    scripts = re.findall(r"<script(?: type=\"module\")?>(.*?)</script>", html, re.DOTALL)
    digests = {base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts}
    assert digests == set(re.findall(r"'sha256-([^']*)' ", policy[1]))
    assert len(scripts) == 6
    # Nothing is loaded from elsewhere.
    assert re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"", html.partition("<script")[0]) == []
    assert html == document.html(f"a {hostile}")
