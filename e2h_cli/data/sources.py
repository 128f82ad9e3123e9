"""Where problems come from: chain arithmetic, files of MATH, or a data set of the Hub."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.data import chain_arithmetic
from e2h_cli.data.hub_data import Configuration, load_data_set, rows_of
from e2h_cli.data.problem import Problem, problem_from_row, read_problems
from e2h_cli.data.template import SEPARATOR

logger = logging.getLogger(__name__)

# 12,000 training and 500 test problems: the split of PRM800K, whose test set is MATH500.
DEFAULT_MATH = "nlile/hendrycks-MATH-benchmark"
# The level of two geometry problems of MATH.
_UNKNOWN = "Level ?"


def chain_problems(
    train_counts: Sequence[int], test_counts: Sequence[int], seed: int
) -> tuple[list[Problem], list[Problem]]:
    """Draw (train, test) problems of chain arithmetic; counts are per level, from level 1."""
    rng = random.Random(f"problems {seed}")
    taken: set[str] = set()
    parts = []
    levels = len(chain_arithmetic.OPERATIONS_BY_LEVEL)
    for part, counts in (("test", test_counts), ("train", train_counts)):
        if len(counts) > levels:
            has = f"{part}_counts has {len(counts)} numbers"
            raise InputError(f"{has}; chains have levels 1 to {levels}")
        try:
            drawn = list(chain_arithmetic.distinct(dict(enumerate(counts, 1)), rng, taken))
        except ValueError as error:
            raise InputError(str(error), where=f"{part}_counts", hint="ask for fewer") from error
        problems = []
        for i, (level, chain) in enumerate(drawn):
            steps, answer = chain_arithmetic.solve(chain)
            texts = {"answer": answer, "solution": SEPARATOR.join(steps)}
            key = f"chains/{part}/{i}"
            problems.append(Problem(key, chain.question, level, chain.subject, "chains", **texts))
        parts.append(problems)
    return parts[1], parts[0]


def math_problems(data: str | None) -> tuple[list[Problem], list[Problem]]:
    """(train, test) of MATH: a folder with train*.jsonl and test*.jsonl, or a data set.

    Raises InputError for a missing file, a malformed row, or a data set that cannot be loaded.
    """
    name = data or DEFAULT_MATH
    if Path(name).is_file() or any(Path(name).glob("*.jsonl")):
        return _read_folder(Path(name), "train"), _read_folder(Path(name), "test")
    configurations = load_data_set(name, together=True)
    return _of_split(name, configurations, "train"), _of_split(name, configurations, "test")


def data_set_problems(name: str) -> list[Problem]:
    """The problems of the test split, or of the only split, of a data set. Raises InputError."""
    return _problems(((f"test/{i}", row) for i, row in enumerate(rows_of(name, "test"))), name)


def _read_folder(folder: Path, part: str) -> list[Problem]:
    files = sorted(folder.glob(f"{part}*.jsonl"))
    if not files:
        raise InputError(f"no {part}*.jsonl here", where=folder)
    problems = [problem for file in files for problem in read_problems(file)]
    _refuse_duplicate_ids(problems, folder)
    return problems


def _of_split(name: str, configurations: Sequence[Configuration], part: str) -> list[Problem]:
    rows = []
    for config, splits in configurations:
        if part not in splits:
            hint = "problems without a training split are for --problems of sample and rerank"
            raise InputError(f"data set has no {part} split", where=name, hint=hint)
        start = f"{config}/{part}" if config else part
        rows += [(f"{start}/{i}", row) for i, row in enumerate(splits[part])]
    return _problems(rows, name)


def _problems(rows: Iterable[tuple[str, dict[str, Any]]], name: str) -> list[Problem]:
    """Problems of (id, row). Those whose level MATH does not know are left out."""
    problems = []
    for key, row in rows:
        if row.get("level") == _UNKNOWN:
            logger.info(f"{name} {key} is left out: its level is {_UNKNOWN!r}")
        else:
            where = f"{name} {key}"
            problems.append(problem_from_row(row, default_id=key, source=name, where=where))
    _refuse_duplicate_ids(problems, name)
    return problems


def _refuse_duplicate_ids(problems: Sequence[Problem], where: Path | str) -> None:
    for key, count in Counter(problem.id for problem in problems).items():
        if count > 1:
            raise InputError(f"duplicate id {key!r}", where=where)
