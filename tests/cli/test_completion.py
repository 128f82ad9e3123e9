"""Shell completion: the answers are those of typer, and come before anything heavy is imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from docs.build_completion import table
from e2h_cli.cli.app import app
from e2h_cli.cli.completion import TABLE, VARIABLE, answer
from e2h_cli.pipeline.recipe import load
from e2h_cli.pipeline.recipe_file import packaged
from tests.conftest import TESTS

LINES = [
    "e2h ", "e2h s", "e2h re", "e2h sample --", "e2h sample --n 4 --t", "e2h recipes ",
    "e2h recipes copy --", "e2h rl --lo", "e2h plan --scale tiny --", "e2h --", "e2h run --se",
    "e2h nothing ",
]  # fmt: skip


def asked(shell: str, line: str, **more: str) -> dict[str, str]:
    """The environment that the script of a shell makes for a line."""
    words = line.split(" ")
    if shell == "bash":
        place = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    else:
        place = {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return {VARIABLE: f"complete_{shell}", **place, **more}


def offers(line: str) -> list[str]:
    found = answer(asked("bash", line))
    assert found is not None
    return found[0].splitlines()


def of_typer(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What typer itself answers."""
    from typer._click.shell_completion import get_completion_class
    from typer._completion_classes import completion_init

    completion_init()
    # typer breaks a help text at the width of the terminal, which a line of fish does not survive.
    monkeypatch.setenv("COLUMNS", "10000")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    kind = get_completion_class(environment[VARIABLE].partition("_")[2])
    assert kind is not None
    return kind(typer.main.get_command(app), {}, "e2h", VARIABLE).complete()


def test_the_table_is_what_the_program_says() -> None:
    assert TABLE.read_text() == table(), "write it again with: python -m docs.build_completion"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("line", LINES)
def test_commands_and_options_are_those_of_typer(
    shell: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = asked(shell, line)
    found = answer(environment)
    assert found is not None
    assert found[0] == of_typer(environment, monkeypatch)


def test_values() -> None:
    assert {"table1", "fig4", "quickstart"} <= {*offers("e2h run ")}
    assert offers("e2h run table1 fig2") == [f"fig2{i}" for i in range(5)]
    assert offers("e2h plan quick") == ["quickstart"]
    assert offers("e2h sample --recipe fig1")[0] == "fig10"
    assert offers("e2h report --scale ") == ["tiny", "small", "paper", "own"]
    assert offers("e2h rl --algo d") == ["dpo"]
    assert offers("e2h run --quiet quick") == ["quickstart"]
    assert offers("e2h sft --model ") == []


@pytest.mark.parametrize("line", ["e2h run --scale = t", "e2h run --scale=t", "e2h run --scale ="])
def test_values_after_an_equals_sign(line: str) -> None:
    assert "tiny" in offers(line)


def test_stages() -> None:
    assert "sample" in offers("e2h run quickstart --until ")
    assert offers("e2h sample --stage sam")[0] == "sample"
    for name in ("experiment", "fig4", "table2"):
        recipe = load(packaged()[name], "tiny")
        known = {stage.name for stage in recipe.stages.values()}
        # At tiny scale some stages are replaced by others.
        at_paper = {stage.name for stage in load(packaged()[name], "paper").stages.values()}
        found = offers(f"e2h run {name} --until ")
        assert found
        assert {*found} <= known | at_paper
    training = offers("e2h train-rm --recipe table2 --stage ")
    recipe = load(packaged()["table2"], "paper")
    assert training
    assert {recipe.stages[one].command.name for one in training if one in recipe.stages} == {
        "train-rm"
    }


def test_run_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "two" / "run.json").write_text("{}")
    for line in ("e2h ls ", "e2h diff runs/two ", "e2h clean r", "e2h sample --run-dir "):
        assert offers(line) == ["runs/two"]


def test_fish_asks_whether_there_is_something() -> None:
    assert answer(asked("fish", "e2h s", _TYPER_COMPLETE_FISH_ACTION="is-args")) == ("", 0)
    line = "e2h sft --model x"
    assert answer(asked("fish", line, _TYPER_COMPLETE_FISH_ACTION="is-args")) == ("", 1)


def test_an_open_quote_and_another_shell() -> None:
    assert answer(asked("zsh", 'e2h run "table1')) == (
        "_arguments '*: :((\"table1\"\n\"table10\"))'", 0
    )  # fmt: skip
    assert answer(asked("powershell", "e2h s")) is None
    assert answer({VARIABLE: "source_bash"}) is None


def test_the_program_answers_with_the_standard_library_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "e2h_cli"],
        env={**os.environ, **asked("bash", "e2h sam")},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "sample\n"
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "e2h_cli.cli.completion" in loaded
    assert loaded.isdisjoint({"typer", "pydantic", "rich", "yaml", "torch", "e2h_cli.cli.app"})


def test_the_scripts_of_typer_call_the_program(tmp_path: Path) -> None:
    """In bash as typer installs it: the function fills COMPREPLY."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    program = tmp_path / "e2h"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m e2h_cli "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(TESTS.parent),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    for shell, file in (
        ("bash", ".bash_completions/e2h.sh"),
        ("zsh", ".zfunc/_e2h"),
        ("fish", ".config/fish/completions/e2h.fish"),
    ):
        command = ["e2h", "--install-completion", shell]
        subprocess.run(command, env=environment, check=True, timeout=120, capture_output=True)
        text = (tmp_path / file).read_text()
        assert f"{VARIABLE}=complete_{shell}" in text
    script = (
        f"source {tmp_path}/.bash_completions/e2h.sh\n"
        "COMP_WORDS=(e2h run tab) COMP_CWORD=2\n"
        "_e2h_completion e2h\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        [bash, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "table1" in done.stdout.splitlines()
