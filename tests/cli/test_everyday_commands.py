"""doctor, ls, diff and clean as a user calls them, and output for programs."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from e2h_cli.cli import doctor as doctor_command
from e2h_cli.cli.amounts import shown_bytes, shown_seconds
from e2h_cli.common.machine_checks import Finding
from tests.conftest import MINI, Cli, assert_one_line, copy_stages
from tests.pipeline.fake_runs import add_eval, make_run

OK = Finding("Python", "ok", "3.12.1")
BAD = Finding("torch", "error", "is not installed", "pip install 'torch>=2.13'")


def test_doctor_on_this_machine(cli: Cli) -> None:
    done = cli("doctor", "--json")
    found = json.loads(done.stdout)
    assert done.stderr == ""
    names = [one["name"] for one in found["findings"]]
    assert names[:2] == ["Python", "packages"]
    assert {"CPU cores", "memory", "GPU", "vLLM", "disk", "run folder", "Hub", "sandbox"} <= {
        *names
    }
    errors = [one for one in found["findings"] if one["status"] == "error"]
    assert (done.returncode, found["ok"]) == (1 if errors else 0, not errors)


def test_doctor_imports_no_torch(cli_process: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    done = cli_process("doctor", "--json")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "e2h_cli.common.machine_probes" in loaded
    assert loaded.isdisjoint({"torch", "transformers", "numpy", "vllm", "datasets"})


def test_doctor_with_an_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_command, "look", lambda *_, **__: iter([OK, BAD]))
    done = cli("doctor")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "ok       Python: 3.12.1",
        "error    torch: is not installed",
        "         mend: pip install 'torch>=2.13'",
    ]
    quiet = cli("doctor", "--quiet")
    assert (quiet.returncode, quiet.stdout) == (1, "")
    assert quiet.stderr.splitlines() == done.stdout.splitlines()[1:]
    monkeypatch.setattr(doctor_command, "look", lambda *_, **__: iter([OK]))
    assert cli("doctor").returncode == 0


def test_ls_of_a_real_run(cli: Cli, mini_run: Path) -> None:
    found = json.loads(cli("ls", mini_run, "--json").stdout)
    assert {stage["status"] for stage in found["stages"]} == {"up to date"}
    assert found["stages"][0]["name"] == "split"
    shown = cli("ls", mini_run).stdout
    assert "10 of 10 stages up to date" in shown
    (only,) = json.loads(cli("ls", mini_run.parent, "--json").stdout)
    assert only["about"]["experiment"] == "mini"


def test_ls_agrees_with_the_runner(cli: Cli, tmp_path: Path, mini_run: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "sft")
    # A copy has other times; its files are read again.
    (run / "pretrain" / "log.jsonl").unlink()
    found = {one["name"]: one for one in json.loads(cli("ls", run, "--json").stdout)["stages"]}
    assert found["split"]["status"] == "up to date"
    assert found["pretrain"]["reason"] == "log.jsonl is missing"
    assert found["sft"]["reason"] == "pretrain is out of date"
    done = cli("sft", "--recipe", MINI, "--scale", "tiny", "--run-dir", run)
    assert_one_line(done, "log.jsonl is missing since the stage was finished")


def test_ls_without_runs(cli: Cli, tmp_path: Path) -> None:
    assert_one_line(cli("ls"), "runs", "no such folder", "e2h run quickstart")
    (tmp_path / "runs").mkdir()
    assert cli("ls").stdout == "runs: no runs\n"
    assert json.loads(cli("ls", "--json").stdout) == []


def test_diff(cli: Cli, tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b", temperature=1.0)
    add_eval(a, [0.0, 1.0] * 20)
    add_eval(b, [1.0, 1.0] * 20)
    found = json.loads(cli("diff", "a", "b", "--json").stdout)
    assert found["settings"] == [{"stage": "sample", "name": "temperature", "a": 0.7, "b": 1.0}]
    shown = cli("diff", "a", "b").stdout
    for words in ("temperature", "0.7", "1.0", "+50.0", "<= 0.0001", "1 more figures"):
        assert words in shown
    assert "No setting, input or version differs" in cli("diff", "a", "a").stdout
    assert_one_line(cli("diff", "a", "c"), "c: no run folder")


def test_clean_lists_and_removes_with_yes_alone(cli: Cli, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "one")
    (run / "sft" / "unfinished").mkdir()
    (run / "sft" / "unfinished" / "weights").write_bytes(b"x" * 2048)
    done = cli("clean")
    assert "sft/unfinished" in done.stdout
    assert "--yes removes 2.0 KiB" in done.stdout
    assert (run / "sft" / "unfinished" / "weights").is_file()
    (row,) = json.loads(cli("clean", "runs/one", "--json").stdout)
    assert (row["kind"], row["size"], row["removed"]) == ("scratch", 2048, False)
    assert "removed 2.0 KiB" in cli("clean", "--yes").stdout
    assert not (run / "sft" / "unfinished").exists()
    assert cli("clean").stdout == "Nothing to remove.\n"
    (row,) = json.loads(cli("clean", "runs/one", "--stage", "sample", "--yes", "--json").stdout)
    assert row["removed"]
    assert not (run / "sample").exists()


def test_clean_needs_a_run_for_a_stage(cli: Cli, tmp_path: Path) -> None:
    assert_one_line(cli("clean", "--stage", "sft"), "--stage without a run")
    assert_one_line(cli("clean", tmp_path), "no run folder")


@pytest.mark.parametrize(
    "command", [["plan", MINI], ["recipes"], ["validate", MINI], ["plan", "table1"]]
)
def test_json_alone_on_stdout(cli: Cli, command: list[str]) -> None:
    done = cli(*command, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)
    assert done.stderr == ""


def test_plan_as_json_agrees_with_its_table(cli: Cli) -> None:
    found = json.loads(cli("plan", "fig4", "--scale", "paper", "--json").stdout)
    hours = sum(stage["gpu_hours"] for stage in found["stages"])
    assert found["in_all"]["gpu_hours"] == pytest.approx(hours)
    assert f"{hours:,.2f}" in cli("plan", "fig4", "--scale", "paper").stdout


def test_report_as_json(cli: Cli, tmp_path: Path, mini_run: Path) -> None:
    shutil.copytree(mini_run, tmp_path / "run")
    done = cli("report", "table9", "--run-dir", "run", "--json")
    (found,) = json.loads(done.stdout)
    assert found["name"] == "table9"
    assert "greedy-hard-automatic-small" in found["missing"]
    assert all((tmp_path / file).is_file() for file in found["files"])
    assert "not there yet" in done.stderr
    assert "table9 done" in done.stderr


def test_quiet_shows_warnings_and_errors(cli: Cli, tmp_path: Path, mini_run: Path) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split")
    line = ["split", "--recipe", MINI, "--scale", "tiny", "--run-dir", run]
    assert "up to date" in cli(*line).stdout
    quiet = cli(*line, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    # There are fewer problems than are asked for: a warning.
    warned = cli("--quiet", *line, "--validation-size", "5000", "--force")
    assert warned.stdout == ""
    assert "validation has 62 problems, not 5,000" in warned.stderr
    assert_one_line(cli("--quiet", "ls", "none"), "no such folder")


def test_every_message_is_a_line_of_json(cli: Cli, tmp_path: Path) -> None:
    line = ["split", "--recipe", MINI, "--scale", "tiny", "--run-dir", "run"]
    done = cli(*line, "--log-json")
    assert done.stdout == ""
    rows = [json.loads(row) for row in done.stderr.splitlines()]
    assert all({"time", "level", "logger", "message"} <= row.keys() for row in rows)
    made, last = [row for row in rows if "result" in row]
    assert (made["result"]["stage"], made["result"]["counts"]["easy"] > 0) == ("split", True)
    assert last["result"].keys() == {"command", "exit_code", "seconds"}
    bad = cli(*line, "--max-level", "x", "--log-json")
    error, last = [json.loads(row) for row in bad.stderr.splitlines()]
    assert (error["level"], bad.returncode, last["result"]["exit_code"]) == ("error", 2, 2)
    assert "--max-level" in error["message"]


def test_log_json_holds_warnings_of_libraries_and_ends_with_the_command(cli: Cli) -> None:
    import warnings

    from e2h_cli.common.console import show_on_terminal

    cli("recipes", "--log-json")
    try:
        warned = warnings.formatwarning("old", DeprecationWarning, "file.py", 1)
        assert warned == "DeprecationWarning: old"
        assert any(type(h).__name__ == "StandardError" for h in logging.getLogger().handlers)
    finally:
        show_on_terminal()
    assert not any(type(h).__name__ == "StandardError" for h in logging.getLogger().handlers)
    assert "table1" in cli("recipes").stdout


def test_an_option_after_two_dashes_is_an_argument(cli: Cli) -> None:
    assert_one_line(cli("ls", "--", "--quiet"), "--quiet: no such folder")


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (shown_bytes(0), "0 B"),
        (shown_bytes(1023), "1,023 B"),
        (shown_bytes(1536), "1.5 KiB"),
        (shown_bytes(3 * 2**40), "3.0 TiB"),
        (shown_seconds(4.24), "4.2 s"),
        (shown_seconds(59), "59 s"),
        (shown_seconds(1000), "17 min"),
        (shown_seconds(12600), "3.5 h"),
        (shown_seconds(86400 * 12), "12 d"),
    ],
)
def test_amounts(shown: str, text: str) -> None:
    assert shown == text
