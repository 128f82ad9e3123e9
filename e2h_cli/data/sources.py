"""Where problems come from: chain arithmetic, local files of MATH, or a data set of the Hub."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from e2h_cli.common.errors import InputError
from e2h_cli.data import chain_arithmetic
from e2h_cli.data.problem import Problem, problem_from_row, read_problems
from e2h_cli.data.template import SEPARATOR

# 12,000 training and 500 test problems: the split of PRM800K, whose test set is MATH500.
DEFAULT_MATH = "nlile/hendrycks-MATH-benchmark"


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
    """(train, test) of MATH: from a folder with train*.jsonl and test*.jsonl, or from the Hub.

    Raises InputError for a missing file, a malformed row, or a data set that cannot be loaded.
    """
    if data is not None and Path(data).exists():
        return _read_folder(Path(data), "train"), _read_folder(Path(data), "test")
    return _load_from_hub(data or DEFAULT_MATH)


def _read_folder(folder: Path, part: str) -> list[Problem]:
    files = sorted(folder.glob(f"{part}*.jsonl"))
    if not files:
        raise InputError(f"no {part}*.jsonl here", where=folder)
    problems = [problem for file in files for problem in read_problems(file)]
    _refuse_duplicate_ids(problems, folder)
    return problems


def _load_from_hub(name: str) -> tuple[list[Problem], list[Problem]]:
    import datasets

    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(name)
    except Exception as error:
        # The library raises whatever its transport raises; the user needs one line of it.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "check the name and the network, or give a local folder with --data"
        raise InputError(f"cannot load this data set: {reason}", where=name, hint=hint) from error
    parts: dict[str, list[Problem]] = {"train": [], "test": []}
    for part, problems in parts.items():
        if part not in loaded:
            raise InputError(f"data set has no {part} split", where=name)
        for i, row in enumerate(loaded[part]):
            key, where = f"{part}/{i}", f"{name} {part}[{i}]"
            problems.append(problem_from_row(row, default_id=key, source=name, where=where))
    _refuse_duplicate_ids([*parts["train"], *parts["test"]], name)
    return parts["train"], parts["test"]


def _refuse_duplicate_ids(problems: Sequence[Problem], where: Path | str) -> None:
    for key, count in Counter(problem.id for problem in problems).items():
        if count > 1:
            raise InputError(f"duplicate id {key!r}", where=where)
