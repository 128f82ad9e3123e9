"""``e2h split``: problems into easy, hard, validation and test by level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.data import sources
from e2h_cli.data.problem import Problem
from e2h_cli.data.split_files import write_split
from e2h_cli.data.splitting import Part, Split, split
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.split import SplitSettings


def run(context: StageContext[SplitSettings]) -> dict[str, Any]:
    """Write the files of a split; print its problems by level and subject.

    Reads: ``data``, a folder of MATH or a name on the Hub (source math only).
    Writes: ``easy.jsonl``, ``hard.jsonl``, ``validation.jsonl``, ``test.jsonl``,
    ``hard-answers.jsonl``, ``split.json``.
    """
    settings = context.settings
    if settings.source == "chains":
        train, test = sources.chain_problems(
            settings.train_counts, settings.test_counts, settings.seed
        )
    else:
        train, test = sources.math_problems(context.optional_input("data"))
    done = split(
        train,
        test,
        max_level=settings.max_level,
        validation=settings.validation_size,
        seed=settings.seed,
    )
    if not done.parts["easy"]:
        raise InputError(
            f"no training problem has a level up to {settings.max_level}", hint="raise --max-level"
        )
    write_split(context.output_dir, done, source=settings.source)
    _print(done)
    return {
        **{part: len(problems) for part, problems in done.parts.items()},
        "test_easy": sum(p.level <= done.max_level for p in done.parts["test"]),
        "test_hard": sum(p.level > done.max_level for p in done.parts["test"]),
        "leaks": [p.id for p in done.leaks],
        "repeats": [p.id for p in done.duplicates],
    }


def _print(done: Split) -> None:
    console.print(_table("Problems by level", done.parts, "level", done.max_level))
    console.print(_table("Problems by subject", done.parts, "subject", done.max_level))
    if done.leaks:
        console.print(
            f"[yellow]{len(done.leaks)} training problems are also test problems: left out[/yellow]"
        )
    if done.duplicates:
        console.print(
            f"{len(done.duplicates)} training problems were duplicates; the first of each was kept"
        )
    if not done.leaks:
        console.print(
            "No training problem has the text of a test problem (spacing and case ignored)."
        )


def _table(
    title: str, parts: Mapping[Part, Sequence[Problem]], field: str, max_level: int
) -> Table:
    """The number of problems of each part by level or subject."""
    table = Table(title=title, title_justify="left")
    table.add_column(field)
    for part in parts:
        table.add_column(part, justify="right")
    counts = {part: Counter(getattr(p, field) for p in ps) for part, ps in parts.items()}
    for value in sorted({value for counter in counts.values() for value in counter}):
        label = str(value)
        if field == "level":
            label += " easy" if value <= max_level else " hard"
        table.add_row(label, *(str(counts[part][value] or "-") for part in parts))
    table.add_section()
    table.add_row("all", *(str(sum(counts[part].values())) for part in parts))
    return table
