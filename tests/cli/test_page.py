"""``e2h page``: what is in the file, which run is taken, and mistakes."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from e2h_cli.common.files import read_jsonl
from e2h_cli.pipeline.recipe import at_scale
from e2h_cli.pipeline.recipe_file import packaged, read
from tests.conftest import TESTS, Cli, assert_one_line, copy_stages, e2h
from tests.simulated_run import VIEW, simulated_run


@pytest.fixture(scope="module")
def page_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated run with its page. Tests must not change it."""
    folder = tmp_path_factory.mktemp("page")
    run = simulated_run(folder / "runs" / "page-tiny")
    done = e2h("page", "--view", VIEW, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return run


def parts(page: Path) -> dict[str, Any]:
    """The parts of the data of a page."""
    found = re.findall(r'id="part-([^"]+)">([^<]*)</script>', page.read_text())
    return {name: json.loads(gzip.decompress(base64.b64decode(data))) for name, data in found}


def test_stages_have_settings_inputs_and_lineage(page_run: Path) -> None:
    run = parts(page_run / "page.html")["run"]
    stages = {stage["name"]: stage for stage in run["stages"]}
    assert {"split", "rerank-prm", "rl", "fig"} <= set(stages)
    rerank = stages["rerank-prm"]
    assert {one["name"]: one["stage"] for one in rerank["inputs"]} == {
        "problems": "split", "samples": "sample", "reward_model": "train-prm",
    }  # fmt: skip
    assert not any(one["changed"] for one in rerank["inputs"])
    assert rerank["settings"]["grader"] == "exact"
    assert rerank["lineage"]["seen"]["answers"] == [1, 2, 3]
    assert rerank["lineage"]["reads_hard"] == "no"
    assert (rerank["status"], rerank["command"]) == ("finished", "rerank")
    # The name of the machine is nobody else's business.
    assert set(rerank["host"]) == {"platform", "cores"}


def test_choices_are_the_predictions_of_the_run(page_run: Path) -> None:
    data = parts(page_run / "page.html")
    [samples] = [one for one in data["run"]["sets"] if one["stage"] == "sample"]
    problems = data[samples["chunk"]]
    for stage in ("rerank-prm", "rerank-orm"):
        scored = data[f"{samples['chunk']}-{stage}"]
        methods = samples["votes"][stage]
        shown = {
            (problem["id"], method["name"]): problem["a"][answer][0]
            for problem, one in zip(problems, scored, strict=True)
            for method, (answer, _, _) in zip(methods, one["c"], strict=True)
        }
        predicted = {
            (row["id"], row["method"]): row["answer"]
            for _, row in read_jsonl(page_run / stage / "predictions.jsonl")
        }
        assert shown == predicted
        assert len(shown) == 3 * len(problems)


def test_the_view_has_tables_claims_and_a_figure(page_run: Path) -> None:
    data = parts(page_run / "page.html")
    [view] = data["run"]["views"]
    assert view["name"] == "page"
    assert len(view["verdicts"]) == 1
    assert [row["title"] for row in view["figure"]["rows"]] == ["PRM", "ORM"]
    assert "Claims of the paper" in view["tables"][-1]["title"]
    [own] = [one for one in data["run"]["results"] if one["name"] == "fig"]
    assert any("Accuracy in percent" in table["title"] for table in own["tables"])
    assert set(data["metrics"]) == {"fig"}


def test_trainings_have_curves_the_warning_and_rollouts(page_run: Path) -> None:
    data = parts(page_run / "page.html")
    [training] = [one for one in data["run"]["trainings"] if one["stage"] == "rl"]
    assert "hacking the reward" in training["warning"]
    assert training["steps_on_disk"] == 20
    assert 5 in training["steps"]
    assert set(data["rollouts-rl"]) == {str(step) for step in training["steps"]}


def test_real_stages_of_all_kinds_are_shown(
    cli: Cli, mini_run: Path, rl_run: Path, tmp_path: Path
) -> None:
    done = cli("page", mini_run, "--out", "mini.html", "--samples", "2")
    assert done.returncode == 0, done.stderr
    run = parts(tmp_path / "mini.html")["run"]
    assert not run["notes"]
    assert {one["stage"] for one in run["sets"]} == {"sample", "greedy"}
    assert run["sets"][0]["rule"] or run["sets"][1]["rule"]
    done = cli("page", rl_run, "--out", "rl.html", "--view", TESTS / "recipes" / "rl.yaml")
    assert done.returncode == 0, done.stderr
    data = parts(tmp_path / "rl.html")
    assert [view["name"] for view in data["run"]["views"]] == ["rl-mini"]
    rollouts = data["rollouts-rl"]["0"]
    assert {"text", "scores", "rewards", "right"} <= set(rollouts[0])


def test_stages_that_are_not_finished_or_made_anew_since_are_named(
    cli: Cli, mini_run: Path, tmp_path: Path
) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "sft", "sample")
    record = json.loads((run / "sft/stage.json").read_text())
    del record["digest"]
    record["fingerprint"] = "other"
    (run / "sft/stage.json").write_text(json.dumps(record))
    record |= {"status": "failed", "error": "no memory"}
    (run / "pretrain/stage.json").write_text(json.dumps(record))
    assert cli("page", run).returncode == 0
    stages = {one["name"]: one for one in parts(run / "page.html")["run"]["stages"]}
    assert (stages["pretrain"]["status"], stages["pretrain"]["error"]) == ("failed", "no memory")
    model = next(one for one in stages["sample"]["inputs"] if one["name"] == "model")
    assert (model["stage"], model["changed"]) == ("sft", True)


def test_samples_of_unknown_problems_are_left_out_and_named(
    cli: Cli, mini_run: Path, tmp_path: Path
) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "sample", "greedy")
    lines = (run / "split/test.jsonl").read_text().splitlines()
    (run / "split/test.jsonl").write_text("\n".join(lines[1:]) + "\n")
    done = cli("page", run)
    assert done.returncode == 0, done.stderr
    assert "sample is not shown" in done.stdout
    assert len(parts(run / "page.html")["run"]["notes"]) == 2


def test_mistakes_are_one_line(cli: Cli, mini_run: Path, tmp_path: Path) -> None:
    assert_one_line(cli("page"), "no run here", "e2h run")
    assert_one_line(cli("page", "nowhere"), "nowhere", "no such run folder")
    (tmp_path / "empty").mkdir()
    assert_one_line(cli("page", "empty"), "no finished stage here")
    assert_one_line(cli("page", mini_run, "--samples", "0"), "--samples")
    mini = TESTS / "recipes" / "mini.yaml"
    assert_one_line(cli("page", mini_run, "--view", mini, "--out", "x"), "has no report")


def test_no_scale_renames_all_that_a_view_of_e2h_shows() -> None:
    """The command tells by the names of stages which views it need not read."""
    for path in packaged().values():
        file = read(path)
        for scale in file.entry.scales:
            shown = at_scale(file, scale).show
            assert not shown or {*shown} & {*(file.entry.show or ())}
