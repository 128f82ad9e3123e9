"""Every table and figure of the paper, at a size for tests, from one experiment."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from e2h_cli.pipeline.recipe_file import packaged, read
from tests.conftest import TESTS, Cli, Done

VIEWS = sorted(
    name
    for name, path in packaged().items()
    if read(path).entry.report and read(path).entry.extends == "experiment"
)


def made(done: Done) -> list[str]:
    return re.findall(r"^(\S+) done in ", done.stdout, re.M)


@pytest.mark.parametrize("name", sorted(packaged()))
def test_every_recipe_is_valid_and_has_a_plan(name: str, cli: Cli) -> None:
    done = cli("validate", name)
    assert done.returncode == 0, done.stderr
    done = cli("plan", name, "--scale", "own" if name == "published" else "paper")
    assert done.returncode == 0, done.stderr
    assert "GPU-hours" in done.stdout


@pytest.mark.slow
def test_all_views_from_one_experiment(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text((TESTS / "recipes/small.yaml").read_text())
    for name in VIEWS:
        text = packaged()[name].read_text().replace("extends: experiment", "extends: small.yaml")
        (tmp_path / f"{name}.yaml").write_text(text)
    first = cli("run", "table1.yaml", "--scale", "tiny")
    assert first.returncode == 0, first.stdout + first.stderr
    # Figure 4 trains and draws nothing that Table 1 has made.
    fig4 = cli("run", "fig4.yaml", "--scale", "tiny")
    assert fig4.returncode == 0, fig4.stdout + fig4.stderr
    assert {name.partition("-")[0] for name in made(fig4)} == {"rm", "supervise", "rerank", "fig4"}

    files = [f"{name}.yaml" for name in VIEWS]
    every = cli("run", *files, "--scale", "tiny")
    assert every.returncode == 0, every.stdout + every.stderr
    stages = [*made(first), *made(fig4), *made(every)]
    assert len(stages) == len(set(stages))
    assert {folder.name for folder in (tmp_path / "runs").iterdir()} == {"experiment-tiny"}
    again = cli("run", *files, "--scale", "tiny")
    assert made(again) == []

    reports = tmp_path / "runs/experiment-tiny/report"
    for name in VIEWS:
        report = json.loads((reports / f"{name}.json").read_text())
        spec = read(tmp_path / f"{name}.yaml").entry.report
        assert spec is not None
        assert len(report["claims"]) == len(spec.claims)
        assert (reports / f"{name}.png").is_file() == (spec.kind in ("curves", "bars", "roc"))
    with (reports / "table1.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 60
    assert all(row["ours"] and row["paper"] for row in rows)


@pytest.mark.slow
def test_both_views_of_programs(cli: Cli, tmp_path: Path) -> None:
    for name in ("table3", "table6"):
        text = packaged()[name].read_text()
        text = text.replace("extends: programs", f"extends: {TESTS}/recipes/programs.yaml")
        (tmp_path / f"{name}.yaml").write_text(text)
    done = cli("run", "table3.yaml", "table6.yaml", "--scale", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    stages = made(done)
    assert len(stages) == len(set(stages))
    reports = tmp_path / "runs/programs-tiny/report"
    for name in ("table3", "table6"):
        report = json.loads((reports / f"{name}.json").read_text())
        spec = read(tmp_path / f"{name}.yaml").entry.report
        assert spec is not None
        assert len(report["claims"]) == len(spec.claims)
        assert (reports / f"{name}.csv").is_file()
