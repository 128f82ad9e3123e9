"""``e2h supervise``: published data, or own samples, to training rows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import write_jsonl
from e2h_cli.data.decontamination import QuestionIndex
from e2h_cli.data.published_rows import PublishedRows
from e2h_cli.data.rm_labels import balance_outcomes, label_samples, step_checker
from e2h_cli.data.split_files import read_training_problems
from e2h_cli.data.training_rows import ROW_KINDS, TrainingRow, TrainingRowWriter
from e2h_cli.grading import get_grader
from e2h_cli.inference.sampling import read_samples
from e2h_cli.pipeline.lineage import SEEN, seen_levels
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.supervise import SuperviseSettings

NEAR_DUPLICATES = "near-duplicates.jsonl"


def run(context: StageContext[SuperviseSettings]) -> dict[str, Any]:
    """Write training rows; print what was kept, and what was dropped and why.

    Reads: ``problems`` (a split); ``samples`` of its training problems, or ``data``, published
    files or names on the Hub.
    Writes: ``sft.jsonl``, ``prm.jsonl``, ``orm.jsonl`` and ``*-validation.jsonl`` where there are
    such rows; ``official-*.jsonl`` with --official; ``near-duplicates.jsonl``.
    """
    settings, folder = context.settings, context.output_dir
    about: dict[str, Any] = {}
    near_duplicates: list[dict[str, Any]] = []
    rows: Iterable[TrainingRow]
    if settings.source == "samples":
        rows, counts, about = _label_samples(context)
    else:
        index = QuestionIndex(context.input_path("problems"))
        rows = published = PublishedRows(context.inputs["data"], index, settings, context.stage)
        counts, near_duplicates = published.counts, published.near_duplicates
    # Repeated samples were dropped before.
    unique = settings.source != "samples"
    with TrainingRowWriter(folder, official=settings.official, unique=unique) as writer:
        for row in rows:
            writer.write(row)
    if not any(writer.counts[kind] for kind in ROW_KINDS):
        reasons = ", ".join(f"{n:,} {what}" for what, n in counts.items())
        raise InputError(f"not one training row came of it ({reasons})", where=folder)
    if isinstance(rows, PublishedRows):
        levels = sorted(rows.levels)
        about[SEEN] = {"questions": levels, "labels": levels, "answers": levels}
    written = dict(writer.counts)
    if near_duplicates:
        written["near-duplicates"] = write_jsonl(folder / NEAR_DUPLICATES, near_duplicates)
    _print(counts, written)
    return {"rows": written, **counts, **about}


def _label_samples(
    context: StageContext[SuperviseSettings],
) -> tuple[list[TrainingRow], Counter[str], dict[str, Any]]:
    """Rows of labelled samples, counts, and what was read: files and fingerprints, levels.

    Step labels come from the oracle, which only chain arithmetic has, outcome labels from the
    grader.
    """
    settings = context.settings
    problems, read = read_training_problems(context.input_path("problems"), settings.levels)
    by_id = {p.id: p for p in problems}
    samples = read_samples(context.input_path("samples"))
    counts = Counter({"samples": samples.num_rows})
    finished = []
    columns = (samples[name].to_pylist() for name in ("id", "text", "finish_reason"))
    for key, text, finish_reason in zip(*columns, strict=True):
        # Whatever was sampled, only these training problems are trained on.
        if key not in by_id:
            counts["samples of other problems"] += 1
        elif finish_reason != "stop":
            counts["samples cut at the token limit"] += 1
        else:
            finished.append((key, text))
    with get_grader(settings.grader, cache=context.verdict_cache) as grader:

        def grade(pairs: Sequence[tuple[str, str]]) -> list[bool]:
            return [verdict.right for verdict in grader.grade(pairs)]

        steps, outcomes, dropped = label_samples(finished, by_id, grade, step_checker(problems))
    kept = balance_outcomes(outcomes, settings.ratio, random.Random(f"ratio {settings.seed}"))
    counts.update(dropped)
    counts["outcome rows over the ratio"] = len(outcomes) - len(kept)
    kinds = {"prm": steps, "orm": kept}
    ids = {row["id"] for labelled in kinds.values() for row in labelled}
    used = [problem for key, problem in by_id.items() if key in ids]
    seen = seen_levels(questions=used, labels=used, answers=used)
    rows = [TrainingRow(kind, row) for kind in kinds for row in kinds[kind]]
    return rows, counts, {"read": read, SEEN: seen}


def _print(counts: Counter[str], written: dict[str, int]) -> None:
    table = Table(title="Supervision", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("how many", justify="right")
    for what, number in counts.items():
        table.add_row(what, f"{number:,}")
    table.add_section()
    for what, number in sorted(written.items()):
        is_rows = what.split("-")[0] in ROW_KINDS
        table.add_row(f"rows: {what}" if is_rows else what, f"{number:,}")
    console.print(table)
