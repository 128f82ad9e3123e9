"""``e2h eval`` beyond its defaults: metrics of reward models, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.stages.evaluate import table5_line
from tests.conftest import MINI, Cli, assert_one_line, copy_stages


def test_metrics_of_reward_models(cli: Cli, mini_run: Path, tmp_path: Path) -> None:
    stages = (path.name for path in mini_run.iterdir() if (path / "stage.json").is_file())
    run = copy_stages(mini_run, tmp_path / "run", *stages)
    done = cli("eval", "--reward-metrics", "--recipe", MINI, "--run-dir", "run", "--force")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "roc auc" in done.stdout
    rows = json.loads((run / "results.json").read_text())["diagnostics"]
    found = {(row["group"], row["item"], row["score"], row["metric"]) for row in rows}
    assert ("all", "step", "step", "accuracy") in found
    assert ("hard", "outcome", "prod", "calibration error") in found
    assert {row["stage"] for row in rows} == {"rerank"}
    assert all(-1 <= row["value"] <= 1 for row in rows)
    # Nothing to plot where all outcomes are wrong, as with the model of the mini recipe.
    assert ("Plot: " in done.stdout and "reward-of" in done.stdout) == (
        run / "eval/reward-of-rerank.png"
    ).is_file()


def test_missing_inputs_are_named(cli: Cli) -> None:
    done = cli("eval", "--reward-metrics", "--run-dir", "run", "--no-make-inputs")
    assert_one_line(done, "eval needs problems, which is not made yet")


def test_table5_takes_samples_of_known_generators(
    cli: Cli, rl_run: Path, mini_run: Path, tmp_path: Path
) -> None:
    assert table5_line(mini_run / "greedy").key == ("SFT", "-", "-", False)
    assert table5_line(rl_run / "greedy-rl").method == "PPO"
    with pytest.raises(InputError, match="nothing is known of the generator"):
        table5_line(tmp_path)
    common = ("--problems", mini_run / "split", "--table", "table5", "--run-dir", "run")
    votes = ("--samples", "none", "--votes", mini_run / "rerank")
    assert_one_line(cli("eval", *votes, *common), "table 5 is made of samples alone")
