"""Grading: whether an answer is right, and which answers are equal.

from e2h_cli.grading import get_grader

with get_grader("e2h") as grader:
    grader.grade([("\\frac{1}{2}", "0.5")])  # [Verdict(verdict="right", ...)]
    grader.classes(["1/2", "0.5", "2"])  # [0, 0, 1]
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import Problem, solved_by_programs
from e2h_cli.grading.e2h_rule import E2hRule, MathVerifyRule
from e2h_cli.grading.graded_files import compare_file, compare_programs, grade_file, rows_kind
from e2h_cli.grading.grading_workers import DEFAULT_TIMEOUT, WorkerPool
from e2h_cli.grading.prm800k_rule import Prm800kRule
from e2h_cli.grading.programs import ProgramGrader, get_program_grader
from e2h_cli.grading.rule_grader import RuleGrader
from e2h_cli.grading.string_rules import ExactRule, OfficialRule
from e2h_cli.grading.verdict import Grader, Rule, Verdict, VerdictCache, refuse_unjudged
from e2h_cli.settings.base import ProgramSettings

__all__ = [
    "RULES",
    "Grader",
    "RuleGrader",
    "Verdict",
    "compare_file",
    "compare_programs",
    "get_grader",
    "get_program_grader",
    "grade_file",
    "grader_for",
    "refuse_unjudged",
    "rows_kind",
]

RULES: dict[str, Callable[[], Rule]] = {
    rule.name: rule for rule in (E2hRule, MathVerifyRule, Prm800kRule, OfficialRule, ExactRule)
}


def grader_for(
    problems: Iterable[Problem],
    settings: ProgramSettings,
    rule: str,
    *,
    cache: Path | None = None,
    on_judged: Callable[[int, int], None] | None = None,
) -> RuleGrader | ProgramGrader:
    """The grader of problems: of programs by their tests, else by the rule for answers.

    ``on_judged``: called with the numbers of programs that are judged and that there are.
    """
    if solved_by_programs(problems):
        return get_program_grader(
            settings.comparison,
            settings.sandbox,
            seconds=settings.test_seconds,
            memory_mb=settings.test_memory,
            cache=cache,
            on_judged=on_judged,
        )
    return get_grader(rule, cache=cache)


def get_grader(
    name: str = "e2h",
    *,
    workers: int | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    cache: Path | None = None,
) -> RuleGrader:
    """Get a grader by the name of its rule.

    Args:
        name: ``e2h`` (default), ``math-verify`` (that library alone), ``prm800k`` (the paper's
            grader, p.5), ``official`` (the paper's released code) or ``exact`` (equal strings).
        workers: most worker processes; by default half of the cores, at most 8.
        timeout: seconds per pair in a worker, after which the pair is ``timed out``.
        cache: a file that keeps the verdicts of workers for later runs; processes may share it.

    Raises:
        InputError: for an unknown rule, or a number of workers or seconds below zero.
    """
    if name not in RULES:
        raise InputError(f"unknown grading rule {name!r}", hint=f"one of {', '.join(RULES)}")
    if timeout <= 0 or (workers is not None and workers < 1):
        raise InputError("a grader needs at least one worker and more than 0 seconds per pair")
    rule = RULES[name]()
    store = VerdictCache(cache, f"{rule.name} {rule.version}") if cache else None
    return RuleGrader(rule, WorkerPool(workers, timeout), store)
