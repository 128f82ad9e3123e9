"""Few-shot examples: which solved problems may stand in front of the questions of a split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from e2h_cli.data.decontamination import QuestionIndex
from e2h_cli.data.problem import Problem, normalize_question, read_problems
from e2h_cli.data.training_rows import solved_example
from e2h_cli.settings.sample import ShotsFrom

# id and normalized question of a row -> its level, 0 if unknown; None if it must not be shown
LevelOf = Callable[[str, str], int | None]


class Example(NamedTuple):
    """A solved problem; level 0 is an unknown one."""

    level: int
    question: str
    steps: list[str]
    answer: str


def choose_examples(
    rows: Iterable[Mapping[str, Any]], count: int, level_of: LevelOf
) -> list[Example]:
    """The first ``count`` whole solutions of different questions that may be shown."""
    chosen: dict[str, Example] = {}
    for row in rows:
        if len(chosen) == count:
            break
        if (solved := solved_example(row)) is None:
            continue
        question = normalize_question(solved[0])
        if (level := level_of(str(row.get("id")), question)) is not None:
            chosen.setdefault(question, Example(level, *solved))
    return list(chosen.values())


def of_levels(problems: Iterable[Problem], shots_from: ShotsFrom) -> list[Problem]:
    """Of training problems those of the last level for "hardest", else all."""
    problems = list(problems)
    last = max((problem.level for problem in problems), default=0)
    return [p for p in problems if shots_from != "hardest" or p.level == last]


def level_in_split(split: Path, shots_from: ShotsFrom) -> LevelOf:
    """For ``choose_examples``: rows of the wanted levels, and rows that the split does not know.

    A row is known by its ``id`` or its question. Rows of test and validation problems are never
    shown; nor are those of the problems of a file, which are all asked. Hidden answers are not
    read.
    """
    # Of a question in several parts the last counts: test, else validation.
    problems: Mapping[Any, list[Problem]] = (
        QuestionIndex(split).problems if split.is_dir() else {"test": read_problems(split)}
    )
    easy, hard = problems.get("easy", []), problems.get("hard", [])
    training = {"easy": easy, "all": [*easy, *hard]}.get(shots_from, hard)
    wanted = {p.id for p in of_levels(training, shots_from)}
    every = [p for part in problems.values() for p in part]
    known = {p.id: p for p in every}
    by_question = {normalize_question(p.problem): p for p in every}

    def level_of(key: str, question: str) -> int | None:
        found = [p for p in (known.get(key), by_question.get(question)) if p]
        if any(problem.id not in wanted for problem in found):
            return None
        return max((problem.level for problem in found), default=0)

    return level_of
