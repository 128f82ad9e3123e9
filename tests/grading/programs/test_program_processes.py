"""The processes of a runner: kills, hangs, interrupts, the end of the parent, no isolation."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from e2h_cli.grading.programs.program_run import Limits, ProgramJob, RunResult
from e2h_cli.grading.programs.program_runner import ProgramRunner
from e2h_cli.settings.base import SandboxName
from tests.grading.programs.conftest import (
    ISOLATING,
    LIMITS,
    host_processes,
    open_runner,
    run_one,
    wait_until,
)

ALL: list[SandboxName] = [*ISOLATING, "none"]
SLEEP = "import time\ntime.sleep(60)"
LONG = Limits(seconds=60, wall_factor=2, program_seconds=60)
ANSWER = (RunResult("finished", "42\n"),)

SCRIPT = """
import sys
from e2h_cli.grading.programs.program_run import Limits, ProgramJob
from e2h_cli.grading.programs.program_runner import ProgramRunner
limits = Limits(seconds=60, wall_factor=2, program_seconds=60)
with ProgramRunner(sys.argv[1], limits=limits, workers=2) as runner:
    print("ready", flush=True)
    list(runner.run([ProgramJob("import time\\ntime.sleep(60)", None, ("",))] * 4))
"""


def script(name: SandboxName) -> subprocess.Popen[bytes]:
    """A process that runs sleeping programs on two workers, once it does."""
    open_runner(name).close()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until(lambda: len(host_processes(process.pid)) >= 4, 60)  # two hosts, two children
    time.sleep(0.2)
    return process


def kill_hosts(before: set[int], times: int) -> threading.Thread:
    """Kill what is started, so many times."""

    def kill() -> None:
        for _ in range(times):
            wait_until(lambda: len(host_processes() - before) >= 2)  # a host and its child
            doomed = host_processes() - before
            for process in doomed:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            # Else the next round would kill the same ones, which are still about to end.
            wait_until(lambda doomed=doomed: not doomed & host_processes())

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_nothing_survives_a_killed_parent(name: SandboxName) -> None:
    process = script(name)
    process.kill()
    process.wait()
    wait_until(lambda: not host_processes(process.pid), 2)
    process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_an_interrupt_ends_everything(name: SandboxName) -> None:
    process = script(name)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode and errors.decode().strip().endswith("KeyboardInterrupt")
    wait_until(lambda: not host_processes(process.pid), 2)


@pytest.mark.parametrize("name", ISOLATING)
def test_a_killed_host_is_replaced(name: SandboxName) -> None:
    before = host_processes()
    with open_runner(name) as runner:
        killer = kill_hosts(before, 1)
        results = run_one(runner, "import time\ntime.sleep(0.5)\nprint(int(input()) + 1)", "41")
        killer.join()
        assert results == ANSWER
    assert host_processes() <= before


@pytest.mark.parametrize("name", ISOLATING)
def test_what_cannot_be_run_is_not_judged(name: SandboxName) -> None:
    before = host_processes()
    with open_runner(name, LONG) as runner:
        killer = kill_hosts(before, 3)
        (first, second) = run_one(runner, SLEEP, "", "")
        killer.join()
        assert (first.status, first.output) == ("not judged", "") and second == first
        assert run_one(runner, "print(int(input()) + 1)", "41") == ANSWER


def test_an_idle_host_that_was_killed_is_replaced() -> None:
    before = host_processes()
    with open_runner("landlock") as runner:
        for process in host_processes() - before:
            os.kill(process, signal.SIGKILL)
        assert run_one(runner, "print(int(input()) + 1)", "41") == ANSWER


@pytest.mark.slow
def test_a_hung_host_is_replaced() -> None:
    before = host_processes()
    limits = Limits(seconds=0.2, wall_factor=2, program_seconds=0.2)
    with ProgramRunner("landlock", limits=limits, workers=1, grace=1) as runner:
        (host,) = host_processes() - before
        os.kill(host, signal.SIGSTOP)
        assert run_one(runner, "print(int(input()) + 1)", "41") == ANSWER
        wait_until(lambda: host not in host_processes())


@pytest.mark.parametrize("name", ISOLATING)
def test_a_run_that_is_not_finished_leaves_nothing(name: SandboxName) -> None:
    before = host_processes()
    with open_runner(name, LONG, workers=2) as runner:
        jobs = [ProgramJob("print(1)", None, ("",)), *[ProgramJob(SLEEP, None, ("",))] * 3]
        runs = runner.run(jobs)
        assert next(runs) == (0, (RunResult("finished", "1\n"),))
        runs.close()
        assert run_one(runner, "print(int(input()) + 1)", "41") == ANSWER
    wait_until(lambda: host_processes() <= before, 2)


def test_a_runner_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with open_runner("landlock") as runner:
        assert run_one(runner, "print(42)") == ANSWER
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


def test_a_fork_of_this_process_does_not_end_the_hosts() -> None:
    with open_runner("landlock") as runner:
        child = os.fork()
        if child == 0:
            runner.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert run_one(runner, "print(42)") == ANSWER


UNCONFINED = {
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "daemon": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
    "        os.closerange(0, 99)\n        time.sleep(60)\n    os._exit(0)\nprint(1)",
    "child with the pipes": "import os, time\nif os.fork() == 0: time.sleep(60)\nprint(1)",
    "many daemons": "import os, time\nfor _ in range(30):\n    if os.fork() == 0:\n"
    "        os.setsid()\n        time.sleep(60)",
    "killed by itself": "import os\nos.kill(os.getpid(), 9)",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", UNCONFINED)
def test_without_isolation_all_descendants_end(name: str) -> None:
    before = host_processes()
    with ProgramRunner("none", limits=LIMITS, workers=1) as runner:
        (host,) = host_processes() - before
        (result,) = run_one(runner, UNCONFINED[name])
        assert result.status in ("finished", "error", "timed out")
        wait_until(lambda: host_processes() == before | {host}, 2)
        assert run_one(runner, "print(int(input()) + 1)", "41") == ANSWER
