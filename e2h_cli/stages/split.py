"""The work of ``e2h split``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import write_jsonl
from e2h_cli.data import sources
from e2h_cli.data.problem import Problem, write
from e2h_cli.data.split_files import HIDDEN
from e2h_cli.data.splitting import split
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.split import SplitSettings


def run(context: StageContext[SplitSettings]) -> dict[str, Any]:
    """Write easy, hard, validation and test files; print them by level and subject."""
    settings = context.settings
    if settings.source == "chains":
        train, test = sources.chain_problems(
            settings.train_counts, settings.test_counts, settings.seed
        )
    else:
        train, test = sources.math_problems(next(iter(context.inputs["data"]), None))
    done = split(
        train,
        test,
        max_level=settings.max_level,
        validation=settings.validation_size,
        seed=settings.seed,
    )
    if not done.easy:
        raise InputError(
            f"no training problem has a level up to {settings.max_level}", hint="raise --max-level"
        )
    parts = {
        "easy": done.easy,
        "hard": done.hard,
        "validation": done.validation,
        "test": done.test,
    }
    for name, problems in parts.items():
        shown = [p.hidden() for p in problems] if name == "hard" else problems
        write(context.output_dir / f"{name}.jsonl", shown)
    write_jsonl(
        context.output_dir / HIDDEN,
        ({"id": p.id, "answer": p.answer, "solution": p.solution} for p in done.hard),
    )
    console.print(_table("Problems by level", parts, "level", settings.max_level))
    console.print(_table("Problems by subject", parts, "subject", settings.max_level))
    _report_leaks(done.leaks, done.repeats)
    return {
        **{name: len(problems) for name, problems in parts.items()},
        "test_easy": sum(p.level <= settings.max_level for p in done.test),
        "test_hard": sum(p.level > settings.max_level for p in done.test),
        "leaks": [p.id for p in done.leaks],
        "repeats": [p.id for p in done.repeats],
    }


def _report_leaks(leaks: Sequence[Problem], repeats: Sequence[Problem]) -> None:
    if leaks:
        console.print(
            f"[yellow]{len(leaks)} training problems are also test problems: left out[/yellow]"
        )
    if repeats:
        console.print(f"{len(repeats)} training problems stood twice; the first of each was kept")
    if not leaks:
        console.print(
            "No training problem has the text of a test problem (spacing and case ignored)."
        )


def _table(title: str, parts: Mapping[str, Sequence[Problem]], field: str, max_level: int) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(field)
    for name in parts:
        table.add_column(name, justify="right")
    counts = {name: Counter(getattr(p, field) for p in many) for name, many in parts.items()}
    for value in sorted({v for counter in counts.values() for v in counter}):
        label = str(value)
        if field == "level":
            label += " easy" if value <= max_level else " hard"
        table.add_row(label, *(str(counts[name][value] or "-") for name in parts))
    table.add_section()
    table.add_row("all", *(str(sum(counts[name].values())) for name in parts))
    return table
