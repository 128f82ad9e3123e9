"""Tables on terminals of any width, in Markdown and in LaTeX."""

from __future__ import annotations

import io
import re

from rich.console import Console

from e2h_cli.reports.results import Comparison, Metric, Results
from e2h_cli.reports.tables import ReportTable, result_tables


def shown(table: ReportTable, width: int) -> str:
    text = io.StringIO()
    Console(file=text, width=width, soft_wrap=True).print(table)
    return text.getvalue()


def results() -> Results:
    metrics = [
        Metric(group, "sft", name, method, aggregate, 2**i, 50.0 + i, 40.0, 60.0, 9, "exact")
        for group in ("easy", "hard")
        for method, name, aggregate in (("majority", "", ""), ("weighted-voting", "prm", "prod"))
        for i in range(7)
    ]
    comparisons = [
        Comparison("hard", f"weighted-voting ({a})", "majority", 64, 5.0, -1.0, 9.0, 0.25, 0.5, 2)
        for a in ("prod", "min")
    ]
    return Results(metrics, comparisons)


def test_a_narrow_terminal_shows_every_second_n() -> None:
    accuracy, comparisons = result_tables(results(), "tiny scale", 0.95)
    wide, narrow = shown(accuracy, 120), shown(accuracy, 70)
    assert wide.splitlines()[2].split() == [
        "N", "=", "1", "2", "4", "8", "16", "32", "64", "interval"
    ]  # fmt: skip
    assert narrow.splitlines()[2].split() == ["N", "=", "1", "4", "16", "64", "interval"]
    assert "| easy | majority | 50.0 | 51.0 | 52.0 |" in accuracy.markdown
    # The group is shown once.
    assert (wide.count("easy"), wide.count("hard")) == (1, 1)
    # A comparison under another aggregation than that of the table is left out.
    assert [row[1] for row in comparisons.rows] == ["weighted-voting (prod) - majority"]
    # The corrected p-value is shown, and the caption says of how many tests.
    assert comparisons.rows[0][-1] == "0.5000"
    assert "95% intervals over problems; p: corrected by Holm for 2 tests" in comparisons.title


def test_markdown() -> None:
    one = ReportTable("One", ("", "a"), [("x", "1"), ("x", "2")])
    assert one.markdown == "## One\n\n|  | a |\n| --- | --- |\n| x | 1 |\n| x | 2 |\n"


def test_latex_with_special_characters() -> None:
    rows = [("a_b", r"50 % & \x", "-1.5"), ("a_b", "[v] {~^}", "40-60"), ("c", "<= $2", "x < #1")]
    text = ReportTable("Accuracy in %", ("", "N = |a|", "p"), rows).latex
    before, header, body, after = re.split(r"\\(?:top|mid|bottom)rule\n", text)
    assert before.endswith("\\caption{Accuracy in \\%}\n\\begin{tabular}{llr}\n")
    assert header.strip() == r"& N = \textbar{}a\textbar{} & p \\"
    assert body.splitlines() == [
        r"a\_b & 50 \% \& \textbackslash{}x & $-$1.5 \\",
        r" & {[}v] \{\textasciitilde{}\textasciicircum{}\} & 40-60 \\",
        r"\addlinespace",
        r"c & $\le$ \$2 & x $<$ \#1 \\",
    ]
    assert after.split() == [r"\end{tabular}", r"\end{table}"]


def test_no_comparisons_no_table() -> None:
    assert len(result_tables(Results(results().metrics, []), "tiny scale", 0.95)) == 1
