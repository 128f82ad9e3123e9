"""``e2h split``: problems into easy, hard, validation and test by level."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, Literal

from rich.table import Table

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.data import sources, tiny_programs
from e2h_cli.data.apps import apps_problems
from e2h_cli.data.problem import Problem
from e2h_cli.data.split_files import write_split
from e2h_cli.data.splitting import Split, split
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.split import SplitSettings

logger = logging.getLogger(__name__)


def run(context: StageContext[SplitSettings]) -> dict[str, Any]:
    """Write the files of a split; print its problems by level and subject.

    Reads: ``data``, a folder or file of MATH or APPS, or a name on the Hub.
    Writes: ``easy.jsonl``, ``hard.jsonl``, ``validation.jsonl``, ``test.jsonl``,
    ``hard-answers.jsonl``, ``split.json``.
    """
    settings = context.settings
    level, seed, size = settings.max_level, settings.seed, settings.validation_size
    train, test, left_out = _problems(context)
    done = split(train, test, max_level=level, validation=size, seed=seed)
    if not done.parts["easy"]:
        message = f"no training problem has a level up to {level}"
        raise InputError(message, hint="raise --max-level")
    write_split(context.output_dir, done, source=settings.source)
    _print(done, len(test) if size is None else size)
    easy = sum(p.level <= level for p in done.parts["test"])
    return {
        **{part: len(problems) for part, problems in done.parts.items()},
        "test_easy": easy,
        "test_hard": len(test) - easy,
        "leaks": [p.id for p in done.leaks],
        "repeats": [p.id for p in done.duplicates],
        **({"left_out": left_out} if left_out else {}),
    }


def _problems(
    context: StageContext[SplitSettings],
) -> tuple[list[Problem], list[Problem], dict[str, int]]:
    """Problems to train on and to test on, and how many were left out for which reason."""
    settings = context.settings
    counts, data = (settings.train_counts, settings.test_counts), context.optional_input("data")
    match settings.source:
        case "chains":
            return *sources.chain_problems(*counts, settings.seed), {}
        case "programs":
            return *tiny_programs.program_problems(*counts, settings.seed), {}
        case "apps":
            return apps_problems(data, settings.test_counts, settings.seed)
        case "math":
            return *sources.math_problems(data), {}


def _print(done: Split, wanted: int) -> None:
    """Print what a split holds. ``wanted``: size of the validation set that was asked for."""
    held_out = len(done.parts["validation"])
    if held_out < wanted:
        logger.warning(
            f"validation has {held_out:,} problems, not {wanted:,}: there are no more of the "
            "subjects and levels of the test set"
        )
    leaks, duplicates = len(done.leaks), len(done.duplicates)
    console.print(_table(done, "level"))
    console.print(_table(done, "subject"))
    if leaks:
        logger.warning(f"{leaks} training problems are also test problems: left out")
    if duplicates:
        console.print(f"{duplicates} training problems were duplicates; the first of each was kept")
    if not leaks:
        console.print(
            "No training problem has the text of a test problem (spacing and case ignored)."
        )


def _table(done: Split, field: Literal["level", "subject"]) -> Table:
    """The number of problems of each part by level or subject."""
    table = Table(title=f"Problems by {field}", title_justify="left")
    table.add_column(field)
    for part in done.parts:
        table.add_column(part, justify="right")
    counters = [Counter(getattr(p, field) for p in problems) for problems in done.parts.values()]
    for value in sorted(set().union(*counters)):
        label = str(value)
        if field == "level":
            label += " easy" if value <= done.max_level else " hard"
        table.add_row(label, *(str(counter[value] or "-") for counter in counters))
    table.add_section()
    table.add_row("all", *(str(counter.total()) for counter in counters))
    return table
