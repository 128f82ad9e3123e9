"""Programs: they are run in a sandbox, and what they print or return is compared.

from e2h_cli.grading.programs import get_program_grader

with get_program_grader("tolerant") as grader:
    grader.grade([(tests.text(), "print(int(input()) + 1)")])  # [Verdict(verdict="right", ...)]
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, get_args

from e2h_cli.common.errors import InputError
from e2h_cli.grading.programs.output_rules import COMPARISONS, same_output
from e2h_cli.grading.programs.program_grader import ProgramGrader
from e2h_cli.grading.programs.program_run import Limits, ProgramJob, RunResult
from e2h_cli.settings.base import ComparisonName, SandboxName

__all__ = [
    "COMPARISONS",
    "DEFAULT_COMPARISON",
    "DEFAULT_SECONDS",
    "ComparisonName",
    "Limits",
    "ProgramGrader",
    "ProgramJob",
    "RunResult",
    "comparison_named",
    "get_program_grader",
    "same_output",
]

DEFAULT_COMPARISON: ComparisonName = "tolerant"
DEFAULT_SECONDS = Limits().seconds
_DEFAULT_MEMORY = Limits().memory_bytes // 2**20
_LEAST_MEMORY = 64  # MiB, below which no interpreter starts

Name = TypeVar("Name", bound=str)


def get_program_grader(
    comparison: str = DEFAULT_COMPARISON,
    sandbox: str = "auto",
    *,
    seconds: float = DEFAULT_SECONDS,
    memory_mb: int = _DEFAULT_MEMORY,
    cache: Path | None = None,
    workers: int | None = None,
    on_judged: Callable[[int, int], None] | None = None,
) -> ProgramGrader:
    """Get a grader of programs.

    Args:
        comparison: ``apps`` (what the harness of APPS accepts), ``strict`` or ``tolerant``; see
            ``same_output``.
        sandbox: what isolates the programs: ``auto`` (the best that works here),
            ``bubblewrap``, ``landlock`` or ``none``.
        seconds: CPU time of a test.
        memory_mb: memory of a program, in MiB.
        cache: a file that keeps verdicts for later runs; processes may share it.
        workers: programs that run at the same time; by default one per core.
        on_judged: called with the numbers of programs that have been run and that are to be.

    Raises:
        InputError: for an unknown name, or limits that are none.
        RunError: the sandbox does not work here.
    """
    from e2h_cli.grading.programs.program_runner import ProgramRunner

    rule = comparison_named(comparison)
    box: SandboxName = _named(sandbox, get_args(SandboxName), "sandbox")
    if seconds <= 0 or memory_mb < _LEAST_MEMORY or (workers is not None and workers < 1):
        least = f"more than 0 seconds, {_LEAST_MEMORY} MiB and one worker"
        raise InputError(f"a grader of programs needs {least}")
    limits = Limits(seconds=seconds, memory_bytes=memory_mb * 2**20)
    runner = ProgramRunner(box, limits=limits, workers=workers)
    return ProgramGrader(rule, runner, cache, on_judged)


def comparison_named(name: str) -> ComparisonName:
    """The rule of comparison of this name. Raises InputError."""
    return _named(name, COMPARISONS, "rule of comparison")


def _named(name: str, known: Sequence[Name], kind: str) -> Name:
    for one in known:
        if one == name:
            return one
    raise InputError(f"unknown {kind} {name!r}", hint=f"one of {', '.join(known)}")
