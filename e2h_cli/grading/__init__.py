"""Grading: is an answer right, and which answers are the same.

from e2h_cli.grading import get_grader

with get_grader("math-verify") as grader:
    grader.grade([("\\frac{1}{2}", "0.5")])  # [Verdict(verdict="right", ...)]
    grader.classes(["1/2", "0.5", "2"])  # [0, 0, 1]
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from e2h_cli.common.errors import InputError
from e2h_cli.grading.exact import ExactRule
from e2h_cli.grading.grader import RuleGrader
from e2h_cli.grading.mathverify import MathVerifyRule
from e2h_cli.grading.pair_files import grade_file
from e2h_cli.grading.prm800k_rule import OfficialRule, Prm800kRule
from e2h_cli.grading.rule import Rule
from e2h_cli.grading.verdict import Grader, Verdict, VerdictKind
from e2h_cli.grading.workers import DEFAULT_TIMEOUT

__all__ = [
    "DEFAULT_RULE",
    "DEFAULT_TIMEOUT",
    "RULES",
    "Grader",
    "RuleGrader",
    "Verdict",
    "VerdictKind",
    "get_grader",
    "grade_file",
]

RULES: dict[str, Callable[[], Rule]] = {
    "math-verify": MathVerifyRule,
    "prm800k": Prm800kRule,
    "official": OfficialRule,
    "exact": ExactRule,
}
"""The rules by name."""

DEFAULT_RULE = "math-verify"


def get_grader(
    name: str = DEFAULT_RULE,
    *,
    workers: int | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    cache: Path | None = None,
) -> RuleGrader:
    """A grader by the name of its rule.

    Args:
        name: ``math-verify`` (default), ``prm800k`` (the paper's grader, p.5), ``official`` (what
            the paper's released code does) or ``exact`` (equal strings).
        workers: how many worker processes at most; by default half of the cores, at most 8.
        timeout: seconds per pair in a worker, after which the pair is ``timed out``.
        cache: a file that keeps workers' verdicts for later runs; safe for several processes.

    Raises:
        InputError: for an unknown rule, or a number of workers or seconds below zero.
    """
    if name not in RULES:
        raise InputError(f"unknown grading rule {name!r}", hint=f"one of {', '.join(RULES)}")
    if timeout <= 0 or (workers is not None and workers < 1):
        raise InputError("a grader needs at least one worker and more than 0 seconds per pair")
    return RuleGrader(RULES[name](), workers=workers, timeout=timeout, cache=cache)
