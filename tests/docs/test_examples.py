"""The scripts of ``examples/``: syntax, the commands of e2h in them, and what they pass on."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
import typer.main
import yaml

from e2h_cli.cli.app import app
from e2h_cli.pipeline.recipe import load
from e2h_cli.pipeline.recipe_file import packaged
from e2h_cli.pipeline.registry import DEFAULT_RECIPE
from tests.docs.conftest import ROOT

EXAMPLES = ROOT / "examples"
SLURM = EXAMPLES / "slurm"
SCRIPTS = sorted(SLURM.iterdir())
TASKS = sorted((EXAMPLES / "skypilot").glob("*.yaml"))
# What stands in the place of a program: it writes its arguments down.
STUB = """#!/bin/bash
{{ printf '%s' {name}; printf ' %q' "$@"; echo; }} >> {log}
{then}
"""

_CALL = re.compile(r"(?:(?<![\w/.-])e2h|-m e2h_cli|COMMAND(?:: |=)\"?) ?([a-z-]+)([^#\"'|;&\n]*)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def code_of(path: Path) -> str:
    """Its lines, those that go on in the next one joined."""
    return re.sub(r"\\\n\s*(?:#\s*)?", " ", path.read_text())


def calls(path: Path) -> list[tuple[str, list[str]]]:
    """Commands of e2h in a file, also in its comments, with their arguments."""
    found = [(m[1], shlex.split(m[2].rstrip(" )"))) for m in _CALL.finditer(code_of(path))]
    return [call for call in found if call[0] in commands()]


def commands() -> dict[str, set[str]]:
    """Commands of e2h and their options."""
    return {
        name: {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
    }


def test_the_examples_are_there() -> None:
    assert len(SCRIPTS) == 4
    assert len(TASKS) == 3
    named = {name for path in (*SCRIPTS, *TASKS) for name, _ in calls(path)}
    assert named == {"split", "sft", "sample", "supervise", "train-rm", "rerank", "rl"}


@pytest.mark.parametrize("path", [*SCRIPTS, *TASKS], ids=lambda path: path.name)
def test_commands_options_and_stages_exist(path: Path) -> None:
    stages = load(packaged()[DEFAULT_RECIPE], "paper").stages
    for name, arguments in calls(path):
        options = [a for a in arguments if a.startswith("--")]
        assert set(options) <= commands()[name], f"{path.name}: e2h {name} {' '.join(arguments)}"
        stage = arguments[arguments.index("--stage") + 1] if "--stage" in arguments else name
        assert stages[stage].command.name == name if name != "split" else "split" in stages


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_have_no_mistakes(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)


@pytest.mark.parametrize("name", ["shards.yaml", "train.yaml"])
def test_tasks_of_skypilot_have_no_mistakes(name: str) -> None:
    task = yaml.safe_load((EXAMPLES / "skypilot" / name).read_text())
    assert set(task) == {
        "name", "num_nodes", "resources", "volumes", "envs", "workdir", "setup", "run",
    }  # fmt: skip
    volume = yaml.safe_load((EXAMPLES / "skypilot/volume.yaml").read_text())
    assert task["volumes"] == {"/runs": volume["name"]}
    for script in (task["setup"], task["run"]):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.fixture
def stubs(tmp_path: Path) -> Path:
    """A folder of programs that write their arguments into ``log``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    log = tmp_path / "log"
    then = {
        "sbatch": f"wc -l < {log}",  # the number of a job
        "srun": 'while [[ "$1" == --* ]]; do shift; done; exec "$@"',
        "scontrol": "echo node-1; echo node-2",
        "e2h": "",
        "accelerate": "",
    }
    for name, last in then.items():
        file = folder / name
        file.write_text(STUB.format(name=name, log=log, then=last))
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return folder


def run(stubs: Path, script: Path, *arguments: str, **variables: str) -> list[str]:
    """The lines that the stubs wrote while a script ran."""
    path = f"{stubs}:{os.environ['PATH']}"
    subprocess.run(["bash", script, *arguments], check=True, env={"PATH": path, **variables})
    return (stubs.parent / "log").read_text().splitlines()


def test_jobs_wait_for_what_they_need(stubs: Path) -> None:
    lines = run(stubs, SLURM / "submit.sh")
    assert lines[0] == "e2h split --scale paper"
    jobs = {number: line for number, line in enumerate(lines, 1) if line.startswith("sbatch")}
    assert len(jobs) == len(lines) - 1 == 10
    commands_of = {number: line[line.index(" e2h ") + 1 :] for number, line in jobs.items()}
    needs = {}
    for number, line in jobs.items():
        waits = re.search(r"--dependency=afterok:([\d:]+)", line)
        numbers = waits[1].split(":") if waits else []
        needs[commands_of[number]] = [commands_of[int(n)] for n in numbers]
    assert needs["e2h sft --scale paper"] == []
    assert needs["e2h sample --scale paper --merge"] == ["e2h sample --scale paper"]
    assert needs["e2h supervise --scale paper"] == [
        "e2h sample --stage rm-samples --scale paper --merge"
    ]
    assert set(needs["e2h rerank --scale paper"]) == {
        "e2h train-rm --scale paper", "e2h sample --scale paper --merge",
    }  # fmt: skip
    assert needs["e2h rl --scale paper --lora-rank 64"] == ["e2h train-rm --scale paper"]


def test_an_array_task_is_a_shard(stubs: Path) -> None:
    variables = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8"}
    command = ("e2h", "rerank", "--scale", "paper")
    *_, line = run(stubs, SLURM / "shard.sbatch", *command, **variables)
    assert line == "e2h rerank --scale paper --no-make-inputs --shard 3/8"
    variables |= {"SLURM_ARRAY_TASK_COUNT": "1", "SHARDS": "8"}
    *_, line = run(stubs, SLURM / "shard.sbatch", *command, **variables)
    assert line.endswith("--shard 3/8")
    *_, line = run(stubs, SLURM / "one.sbatch", *command, "--merge")
    assert line == "e2h rerank --scale paper --merge --no-make-inputs"


def test_a_training_starts_a_process_per_gpu_of_all_nodes(stubs: Path) -> None:
    variables = {
        "SLURM_JOB_NODELIST": "node-[1-2]", "SLURM_JOB_ID": "41234", "SLURM_NNODES": "2",
        "SLURM_NODEID": "1",
    }  # fmt: skip
    *_, line = run(stubs, SLURM / "train.sbatch", "e2h", "sft", "--scale", "paper", **variables)
    assert line == (
        "accelerate launch --config_file recipes/accelerate/fsdp.yaml --num_machines 2 "
        "--num_processes 16 --machine_rank 1 --main_process_ip node-1 --main_process_port 21234 "
        "-m e2h_cli sft --scale paper --no-make-inputs"
    )
    assert (ROOT / "recipes/accelerate/fsdp.yaml").is_file()


@pytest.mark.parametrize("path", [SLURM / "train.sbatch", EXAMPLES / "skypilot/train.yaml"])
def test_options_of_accelerate_exist(path: Path) -> None:
    from accelerate.commands.launch import launch_command_parser

    known = {o for action in launch_command_parser()._actions for o in action.option_strings}
    text = "".join(re.findall(r"accelerate launch(.*?)-m e2h_cli", code_of(path)))
    given = {*_OPTION.findall(text), "--config_file", "--multi_gpu"}
    assert len(given) == 7
    assert given <= known
