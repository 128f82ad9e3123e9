"""The command line as a user meets it: order, repetition, changes, mistakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import MINI, TESTS, Cli, assert_one_line


def record(folder: Path, stage: str) -> dict:
    return json.loads((folder / stage / "stage.json").read_text())


def test_help_is_quick_and_lists_the_commands(cli: Cli) -> None:
    done = cli("--help")
    assert done.returncode == 0
    for name in ("split", "pretrain", "sft", "train-rm", "sample", "rerank", "eval", "run"):
        assert name in done.stdout
    imports = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "e2h_cli", "--help"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    heavy = [
        m for m in ("torch", "transformers", "pyarrow", "scipy", "pandas") if f" {m}\n" in imports
    ]
    assert not heavy


def test_version(cli: Cli) -> None:
    assert cli("--version").stdout.startswith("e2h 0.")


def test_each_option_of_a_command_is_a_setting_with_a_help_text(cli: Cli) -> None:
    shown = cli("sample", "--help").stdout
    for flag in ("--n", "--temperature", "--top-k", "--model", "--recipe", "--scale", "--force"):
        assert flag in shown


def test_the_users_commands_in_an_empty_folder(tmp_path: Path, cli: Cli) -> None:
    """In order; then again (up to date); then with another setting (asks, then obeys)."""
    common = ("--recipe", str(MINI))
    commands = [
        ("split", "--max-level", "3"),
        ("sample", "--n", "16"),
        ("rerank", "--method", "weighted-voting"),
    ]
    shown = []
    for command in commands:
        done = cli(*command, *common)
        assert done.returncode == 0, done.stdout + done.stderr
        shown.append(done.stdout)
    assert f"sample needs sft; making it first (e2h sft --recipe {MINI})" in shown[1]
    assert "rerank needs train-rm; making it first" in shown[2]
    results = json.loads((tmp_path / "runs/mini-tiny/rerank/results.json").read_text())
    assert {f["method"] for f in results["metrics"]} == {"majority", "weighted-voting"}
    assert max(f["n"] for f in results["metrics"]) == 16

    for command in commands:
        done = cli(*command, *common)
        assert done.returncode == 0
        assert "is up to date" in done.stdout, done.stdout

    others = [
        ("split", "--max-level", "2"),
        ("sample", "--temperature", "0.5"),
        ("rerank", "--method", "majority"),
    ]
    before = record(tmp_path / "runs/mini-tiny", "sample")
    for command in others:
        key = command[1].removeprefix("--").replace("-", "_")
        assert_one_line(cli(*command, *common), f"{key}: ", " -> ", "--force")
    assert record(tmp_path / "runs/mini-tiny", "sample") == before

    done = cli(*others[2], *common, "--force")
    assert done.returncode == 0
    assert "to score" not in done.stdout, "scores are kept when only the vote changes"

    done = cli("sample", "--n", "24", *common)
    assert done.returncode == 0
    assert "192 of 288 samples are on disk already" in done.stdout
    assert "grows to n = 24" in done.stdout
    assert record(tmp_path / "runs/mini-tiny", "sample")["counts"]["samples"] == 24 * 12
    done = cli("sample", "--n", "8", *common)
    assert "is up to date" in done.stdout
    assert "holds n = 24" in done.stdout, "more than is asked for is kept"
    done = cli("rerank", "--method", "majority", *common)
    assert done.returncode == 0, done.stderr
    assert "made anew: samples: sample has changed" in done.stdout


def test_missing_inputs_name_the_command_that_makes_them(cli: Cli) -> None:
    done = cli("rerank", "--recipe", str(MINI), "--no-make-inputs")
    assert_one_line(done, "e2h split")
    assert cli("split", "--recipe", str(MINI)).returncode == 0
    done = cli("sample", "--recipe", str(MINI), "--no-make-inputs")
    assert_one_line(done, "needs model", "e2h sft")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("split", "--max-level", "three"), ("--max-level", "three")),
        (("split", "--max-level", "0"), ("--max-level", "greater than or equal to 1")),
        (("sample", "--n", "0"), ("--n: ", "greater than or equal to 1")),
        (("sample", "--model", "nowhere"), ("--model nowhere", "Hub name")),
        (("sample", "--nn", "3"), ("--nn",)),
        (("rerank", "--method", "vote"), ("method", "weighted-voting")),
        (("rerank", "--ks", "1,x"), ("ks",)),
        (("split", "--recipe", "missing.yaml"), ("missing.yaml", "quickstart")),
        (("split", "--scale", "huge"), ("--scale huge", "tiny")),
        (("run", "quickstart", "--until", "nothing"), ("nothing", "train-rm")),
        (("split", "--source", "math", "--data", "/nowhere"), ("/nowhere",)),
        (("nonsense",), ("nonsense",)),
        (("sample", "--problems", ""), ("--problems: empty",)),
        (("split", "--max-level", ""), ("--max-level: empty",)),
        (("split", "--seed", str(2**64)), ("seed",)),
        (("sft", "--learning-rate", "inf"), ("--learning-rate", "finite")),
        (("sft", "--learning-rate", "nan"), ("--learning-rate", "finite")),
    ],
)
def test_mistakes_are_one_line(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert_one_line(cli(*arguments), *words)
    finished = list(tmp_path.rglob("*.jsonl")) + list(tmp_path.rglob("*.parquet"))
    assert not finished


def test_a_broken_line_leaves_nothing_half_written(cli: Cli, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    good = '{"problem": "q%d", "level": 1, "subject": "s", "answer": "1", "solution": "so"}\n'
    (data / "test.jsonl").write_text(good % 0)
    (data / "train.jsonl").write_text(good % 1 + "{oops\n")
    command = ("split", "--source", "math", "--data", "data", "--validation-size", "0")
    done = cli(*command)
    assert_one_line(done, "train.jsonl:2", "not valid JSON")
    folder = tmp_path / "runs/own"
    assert record(folder, "split")["status"] == "failed"
    assert not list(folder.rglob("*.jsonl"))
    (data / "train.jsonl").write_text(good % 1)
    assert cli(*command).returncode == 0


def test_a_folder_that_is_no_model(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = cli("sample", "--recipe", str(MINI), "--scale", "tiny", "--model", "empty")
    assert_one_line(done, "no model here", "config.json")


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/version").exists(), reason="needs /proc")
def test_an_unwritable_run_folder(cli: Cli) -> None:
    # /proc refuses new folders even to root.
    assert_one_line(cli("split", "--run-dir", "/proc/e2h"), "/proc/e2h", "--run-dir")


def test_two_processes_do_not_share_a_stage(cli: Cli, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "run/split").mkdir(parents=True)
    with (tmp_path / "run/split/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_one_line(cli("split", "--run-dir", "run"), "another e2h process")


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_how_to_go_on(tmp_path: Path, sent: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "e2h_cli", "sample", "--recipe", str(MINI), "--n", "5000"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    folder = tmp_path / "runs/mini-tiny/sample"
    while not list(folder.rglob("part-*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1].startswith("error: stopped")
    assert record(tmp_path / "runs/mini-tiny", "sample")["status"] == "failed"


@pytest.mark.parametrize("seeds", ["3", "3,3", "3,x", "-1,2", "3,"])
def test_seeds_are_several_whole_numbers(cli: Cli, tmp_path: Path, seeds: str) -> None:
    assert_one_line(cli("run", MINI, f"--seeds={seeds}"), f"--seeds {seeds}", "--seeds 3,4,5")
    assert_one_line(cli("run", MINI, "--seeds", "3,4", "--seed", "3"), "--seed and --seeds")
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_several_seeds_stand_side_by_side(cli: Cli, tmp_path: Path) -> None:
    done = cli("run", MINI, "--seeds", "3,0")
    assert done.returncode == 0, done.stdout + done.stderr
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir())
    # The recipe's own seed is in the folder of the recipe.
    assert folders == ["mini-tiny", "mini-tiny-seed3", "mini-tiny-seeds-3-0"]
    text = (tmp_path / "runs/mini-tiny-seeds-3-0/results.md").read_text()
    for method in ("majority", "weighted-voting (prod)", "best-of-n (min)", "pass", "greedy"):
        assert f"| {method} |" in text
    again = cli("run", MINI, "--seeds", "3,0")
    assert again.stdout.count("is up to date") == 20
    assert (tmp_path / "runs/mini-tiny-seeds-3-0/results.md").read_text() == text
    # A view of the same runs has a table of its own.
    view = cli("run", TESTS / "recipes/view.yaml", "--seeds", "3,0", "--until", "short")
    assert view.returncode == 0, view.stdout + view.stderr
    assert view.stdout.count("is up to date") == 8
    assert (tmp_path / "runs/mini-tiny-view-seeds-3-0/results.md").is_file()
    assert (tmp_path / "runs/mini-tiny-seeds-3-0/results.md").read_text() == text
