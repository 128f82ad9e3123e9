"""``e2h report``, and ``e2h run`` of views that have a report."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import MINI, TESTS, Cli, Done, assert_one_line, copy_stages

VIEW = TESTS / "recipes" / "report.yaml"
STAGES = ["split", "pretrain", "sft", "greedy"]
VOTES = ["sample", "rm-samples", "supervise", "train-rm", "rerank"]
HEADER = "| trained on | greedy | Maj@8 | Weighted@8 | paper | reads_hard |"


def made(done: Done) -> list[str]:
    """The stages that were run."""
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"^(\S+) done in ", done.stdout, re.M)


def cells(page: Path, row: str = "easy") -> list[str]:
    """The cells of a row of a page."""
    (line,) = [one for one in page.read_text().splitlines() if one.startswith(f"| {row} |")]
    return line.strip("| ").split(" | ")


def test_what_is_there_is_shown_and_what_is_missing_named(
    cli: Cli, mini_run: Path, tmp_path: Path
) -> None:
    run = copy_stages(mini_run, tmp_path / "run", *STAGES)
    done = cli("report", VIEW, "--run-dir", run)
    assert made(done) == ["decoding"]
    assert "not there yet: rerank; e2h run" in done.stdout
    page = run / "report/report.md"
    greedy = cells(page)
    assert re.fullmatch(r"\d+\.\d \(\d+-\d+\)", greedy[1])
    # The paper has no weighted voting in Table 1; 16 samples are wanted, and none is there.
    assert greedy[2:] == ["-", "-", "19.8/31.6/-", "no"]
    assert "| trained on | greedy | Maj@16 | Weighted@16 |" in page.read_text()
    assert cells(page, "majority voting is better than greedy decoding")[-1] == "not measured"
    # With the votes the same command shows them.
    copy_stages(mini_run, run, *VOTES)
    done = cli("report", VIEW, "--run-dir", run)
    assert made(done) == ["decoding"]
    assert "not there yet" not in done.stdout
    assert HEADER in page.read_text()
    assert cells(page)[:2] == greedy[:2]
    assert all(re.fullmatch(r"\d+\.\d \(\d+-\d+\)", cell) for cell in cells(page)[1:4])
    assert made(cli("report", VIEW, "--run-dir", run)) == []


def test_all_files_of_a_report_hold_the_same(cli: Cli, mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", *STAGES, *VOTES)
    done = cli("run", VIEW, "--run-dir", run)
    assert made(done) == ["decoding"]
    assert "report/report.{md, tex, csv, json}" in done.stdout
    held = json.loads((run / "report/report.json").read_text())
    assert (held["name"], held["made_at"]) == ("report", "tiny scale, seed 0")
    rows = list(csv.DictReader((run / "report/report.csv").open(encoding="utf-8")))
    assert [row["decoding"] for row in rows] == ["greedy", "Maj@16", "Weighted@16"]
    assert [row["n"] for row in rows] == ["1", "8", "8"]
    assert [row["paper"] for row in rows] == ["19.8", "31.6", ""]
    assert [float(row["ours"]) for row in rows] == [row["ours"] for row in held["rows"]]
    shown = cells(run / "report/report.md")
    assert [f"{float(row['ours']):.1f}" for row in rows] == [c.split()[0] for c in shown[1:4]]
    results = json.loads((run / "rerank/results.json").read_text())["metrics"]
    weighted = {f["accuracy"] for f in results
                if (f["method"], f["group"], f["n"]) == ("weighted-voting", "all", 8)}  # fmt: skip
    assert weighted == {float(rows[2]["ours"])}
    assert len(held["claims"]) == 2
    assert held["claims"][1]["paper"] == pytest.approx(36.0 - 19.8)
    for suffix in ("md", "tex"):
        assert "a note" in (run / f"report/report.{suffix}").read_text()


def test_nothing_made_and_no_such_view(cli: Cli, mini_run: Path, tmp_path: Path) -> None:
    empty = ("--run-dir", "run", "--scale", "tiny")
    assert_one_line(cli("report", VIEW, *empty), "nothing of report is there yet", "e2h run report")
    assert not (tmp_path / "run").exists()
    copy_stages(mini_run, tmp_path / "run", "split")
    assert_one_line(cli("report", VIEW, *empty), "nothing of report is there yet")
    assert_one_line(cli("report", "tabel1", *empty), "no such recipe", "table1")
    assert_one_line(cli("report", MINI, "--run-dir", mini_run), "mini has no report", "results.md")


def test_several_seeds_are_one_report(cli: Cli, mini_run: Path, tmp_path: Path) -> None:
    for seed in (3, 4):
        copy_stages(mini_run, tmp_path / f"run-seed{seed}", *STAGES, *VOTES)
    shutil.rmtree(tmp_path / "run-seed4/rerank")
    done = cli("report", VIEW, "--run-dir", "run", "--scale", "tiny", "--seeds", "3,4")
    assert made(done) == ["decoding", "decoding"]
    assert "not there yet: rerank" in done.stdout
    page = tmp_path / "run-seeds-3-4/report.md"
    assert "(tiny scale, seeds 3, 4; sd over runs)" in page.read_text()
    # The same run twice for greedy decoding; one run alone has no spread.
    greedy, majority = cells(page)[1:3]
    assert greedy.endswith(" ± 0.0")
    assert "±" not in majority
    rows = list(csv.DictReader(page.with_suffix(".csv").open(encoding="utf-8")))
    assert [row["runs"] for row in rows] == ["2", "1", "1"]
    assert_one_line(cli("report", VIEW, "--seeds", "3,3"), "--seeds 3,3")


OTHER = """\
extends: {view}
name: other
show: [other]
stages:
  other: {{run: eval, inputs: {{problems: split, samples: [greedy]}}, settings: {{tables: false}}}}
report:
  title: Greedy decoding
  page: 6
  rows: {{method: [greedy]}}
  columns: {{group: [easy, hard]}}
"""
SETTINGS = """\
extends: {view}
name: other
report:
  title: Hyper-parameters
  page: 19
  kind: settings
  settings: [{{name: ours, stage: sft, paper: {{supervision: PRM800K, model: SFT, size: 7b}}}}]
"""


def test_two_views_in_one_run_folder(cli: Cli, mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", *STAGES, *VOTES)
    (tmp_path / "other.yaml").write_text(OTHER.format(view=VIEW))
    done = cli("run", VIEW, "other.yaml", "--run-dir", run)
    assert made(done) == ["decoding", "other"]
    assert {path.stem for path in (run / "report").iterdir()} == {"report", "other"}
    assert made(cli("run", VIEW, "other.yaml", "--run-dir", run)) == []
    # A mistake in the second is told after the first was made.
    done = cli("run", VIEW, "tabel1", "--run-dir", run)
    assert done.returncode == 2
    assert "no such recipe" in done.stderr


def test_a_view_without_show_is_of_its_eval_stage(cli: Cli, mini_run: Path, tmp_path: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", *STAGES)
    report = OTHER.format(view=VIEW).partition("report:\n")[2]
    (tmp_path / "r.yaml").write_text(f"extends: {MINI}\nname: r\nreport:\n{report}")
    assert made(cli("report", "r.yaml", "--run-dir", run)) == ["eval"]
    assert re.match(r"\d", cells(run / "report/r.md", "greedy")[1])


def test_a_view_of_settings_runs_nothing(cli: Cli, tmp_path: Path) -> None:
    """Neither for recipes with a paper scale nor for those without."""
    (tmp_path / "other.yaml").write_text(SETTINGS.format(view=VIEW))
    for recipe, tables in (("other.yaml", 1), ("table4", 4)):
        done = cli("run", recipe, "--scale", "tiny", "--run-dir", "run")
        assert made(done) == []
        assert [path.name for path in (tmp_path / "run").iterdir()] == ["report"]
        page = (tmp_path / f"run/report/{Path(recipe).stem}.md").read_text()
        assert page.count("| learning rate | ours |") == tables
    # At tiny scale the stage sft stands for that of the table.
    held = page.split("tiny scale, 7b")[1]
    assert "| PRM800K SFT 7b | PRM800K PRM 7b |" in held.partition("\n## ")[0]


def test_cases_are_of_the_stages_that_a_view_shows(
    cli: Cli, mini_run: Path, tmp_path: Path
) -> None:
    """Without a case, and before the votes are there."""
    report = "report: {title: Cases, page: 37, kind: cases}\n"
    (tmp_path / "r.yaml").write_text(f"extends: {MINI}\nname: r\n{report}")
    run = copy_stages(mini_run, tmp_path / "run", *STAGES)
    assert_one_line(cli("report", "r.yaml", "--run-dir", run), "needs the key show")
    (tmp_path / "r.yaml").write_text(f"extends: {MINI}\nname: r\nshow: [rerank]\n{report}")
    assert_one_line(cli("report", "r.yaml", "--run-dir", run), "its stages are not made yet")
    assert made(cli("report", "r.yaml", "--run-dir", mini_copy(mini_run, tmp_path))) == []
    assert "majority" in (tmp_path / "whole/report/r.md").read_text()


def mini_copy(mini_run: Path, folder: Path) -> Path:
    return copy_stages(mini_run, folder / "whole", *STAGES, *VOTES)


@pytest.mark.slow
def test_without_names_all_views_of_e2h_are_rendered(cli: Cli, tmp_path: Path) -> None:
    done = cli("report", "--scale", "tiny")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "runs/experiment-tiny/report").glob("*.md")] == [
        "table4.md"
    ]
    for name in ("table1", "fig4", "table7", "fig24"):
        assert f"{name}: " in done.stdout
