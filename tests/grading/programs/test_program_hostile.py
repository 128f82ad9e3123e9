"""Hostile programs: none gets through, and all leave the runner as it was."""

from __future__ import annotations

import time

import pytest

from e2h_cli.grading.programs.program_run import RunResult
from e2h_cli.grading.programs.program_runner import ProgramRunner
from tests.grading.programs.conftest import (
    LIMITS,
    Target,
    host_processes,
    own_memory,
    run_one,
    wait_until,
)
from tests.grading.programs.hostile_programs import HOSTILE

MEMORY = 64 * 1024**2


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_it_does_not_get_through(runner: ProgramRunner, target: Target, name: str) -> None:
    hostile = HOSTILE[name]
    before, processes, start = own_memory(), host_processes(), time.monotonic()
    inputs = ("[]",) if hostile.function else ("",)
    program = target.fill(hostile.source)
    (result,) = run_one(runner, program, *inputs, function=hostile.function)
    seconds = time.monotonic() - start

    # On a busy machine any of them may run out of wall time first.
    assert result.status in hostile.statuses or result.by_load, result
    assert "LEAK" not in result.output, result.output
    assert target.secret not in result.output + result.detail
    assert (result.status == "finished") or result.output == ""
    assert len(result.detail) <= 200
    assert seconds < LIMITS.seconds * LIMITS.wall_factor + 2
    assert own_memory() - before < MEMORY
    wait_until(lambda: host_processes() == processes, 2)
    target.check()
    assert run_one(runner, "print(int(input()) + 1)", "41") == (RunResult("finished", "42\n"),)


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize("name", ["network: TCP", "reading: expected outputs", "writing: outside"])
def test_the_acts_succeed_where_nothing_isolates(target: Target, name: str) -> None:
    """The tests above can fail: the same programs get through to files and sockets."""
    (target.folder / "copy").mkdir(exist_ok=True)
    allowed = Target(target.folder / "copy" / name.partition(" ")[2].replace(" ", "-"))
    try:
        with ProgramRunner("none", limits=LIMITS, workers=1) as runner:
            program = HOSTILE[name].source.replace("@PACKAGE@", "/missing").replace("/leak", "/x/y")
            (result,) = run_one(runner, allowed.fill(program))
        assert "LEAK" in result.output
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            allowed.check()
            assert "LEAK" not in result.output
    finally:
        allowed.close()
        target.before = target.tree()
