"""The work of ``e2h supervise``: published data, or samples of our own, to training rows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from rich.table import Table

from e2h_cli.common.console import console, progress_bar
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import atomic_file, json_line
from e2h_cli.data import math_shepherd, metamath, official_format, prm800k, template
from e2h_cli.data.decontamination import Questions
from e2h_cli.data.external_rows import read_records, text_of
from e2h_cli.data.problem import normalize_question
from e2h_cli.data.rm_labels import balanced, labelled, step_checker
from e2h_cli.data.seen import Seen
from e2h_cli.data.split_files import read_training_problems
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.supervise import SuperviseSettings

Kind = Literal["sft", "prm", "orm"]
KINDS: tuple[Kind, ...] = ("sft", "prm", "orm")
NEAR = "near-duplicates.jsonl"


@dataclass(frozen=True, slots=True)
class Built:
    """A row for training or validation."""

    kind: Kind
    row: dict[str, Any]
    validation: bool = False


def run(context: StageContext[SuperviseSettings]) -> dict[str, Any]:
    """Build the rows, print what was kept and dropped and why."""
    settings = context.settings
    counts: Counter[str] = Counter()
    read: dict[str, str] = {}
    with ExitStack() as stack:
        sink = Sink(context.output_dir, stack, settings)
        if settings.source == "samples":
            rows = _of_samples(context, settings, counts, read)
        else:
            rows = _of_records(context, settings, counts, sink)
        for built in rows:
            sink.write(built)
    if not any(sink.counts[kind] for kind in KINDS):
        reasons = ", ".join(f"{n:,} {what}" for what, n in counts.items())
        raise InputError(f"not one training row came of it ({reasons})", where=context.output_dir)
    _print(counts, sink.counts)
    found = {"rows": dict(sink.counts), **counts}
    return {**found, **({"read": read} if read else {})}


class Sink:
    """The files of the stage; each appears whole when all rows are written, and only if it has any.

    Of published rows that stand twice the first is kept; samples have lost their repeats before.
    """

    def __init__(self, folder: Path, stack: ExitStack, settings: SuperviseSettings) -> None:
        self._folder = folder
        self._stack = stack
        self._official = settings.official
        self._unique = settings.source != "samples"
        self._files: dict[str, IO[bytes]] = {}
        self._seen = Seen()
        self.counts: Counter[str] = Counter()

    def write(self, built: Built) -> None:
        """Write a row to the file of its kind."""
        line = json_line(built.row)
        name = f"{built.kind}-validation" if built.validation else built.kind
        if self._unique and not self._seen.add(f"{name}\x00".encode() + line):
            self.counts["repeated rows"] += 1
            return
        self.counts[name] += 1
        self._file(f"{name}.jsonl").write(line)
        if self._official:
            explode = official_format.sft if built.kind == "sft" else official_format.reward
            for row in explode(built.row):
                self._file(f"official-{name}.jsonl").write(json_line(row))

    def report(self, row: dict[str, Any]) -> None:
        """Write a line of the report on near-duplicates."""
        self.counts["near-duplicates"] += 1
        self._file(NEAR).write(json_line(row))

    def _file(self, name: str) -> IO[bytes]:
        if name not in self._files:
            self._files[name] = self._stack.enter_context(atomic_file(self._folder / name))
        return self._files[name]


def _of_samples(
    context: StageContext[SuperviseSettings],
    settings: SuperviseSettings,
    counts: Counter[str],
    read: dict[str, str],
) -> Iterator[Built]:
    """Step labels by the world's oracle where it has one, outcome labels by the grader."""
    from e2h_cli.grading import get_grader
    from e2h_cli.inference.sampling import read_samples

    trained, files = read_training_problems(context.input_path("problems"), settings.levels)
    read.update(files)
    problems = {p.id: p for p in trained}
    samples = read_samples(context.input_path("samples"))
    columns = (samples[name].to_pylist() for name in ("id", "text", "finish_reason"))
    pairs = []
    for key, text, finish in zip(*columns, strict=True):
        counts["samples"] += 1
        # Whatever was sampled, only these training problems are trained on.
        if key not in problems:
            counts["samples of other problems"] += 1
        elif finish != "stop":
            counts["samples cut at the token limit"] += 1
        else:
            pairs.append((key, text))
    with get_grader(settings.grader, cache=context.verdict_cache) as grader:
        steps, outcomes, dropped = labelled(pairs, problems, grader, step_checker(trained))
    counts.update(dropped)
    kept = balanced(outcomes, settings.ratio, random.Random(f"ratio {settings.seed}"))
    counts["outcome rows over the ratio"] = len(outcomes) - len(kept)
    yield from (Built("prm", row) for row in steps)
    yield from (Built("orm", row) for row in kept)


def _of_records(
    context: StageContext[SuperviseSettings],
    settings: SuperviseSettings,
    counts: Counter[str],
    sink: Sink,
) -> Iterator[Built]:
    questions = Questions(context.input_path("problems"))
    places = context.inputs["data"]
    if not places:
        raise InputError(
            f"--source {settings.source} needs the published files",
            hint="give them with --data FILE, several by giving it again",
        )
    keep = _chosen_of_metamath(places, settings) if settings.source == "metamath" else None
    looked: set[int] = set()
    with progress_bar() as bar:
        task = bar.add_task(context.stage, total=None, unit="records", note="")
        number = -1
        for place in places:
            for where, record in read_records(place):
                number += 1
                bar.advance(task)
                counts["records"] += 1
                question = _question(settings, record, where)
                if question is None:
                    counts[_not_wanted(settings, record)] += 1
                    continue
                part, key, dropped = _route(settings, questions, question, record, number)
                if dropped:
                    counts[dropped] += 1
                    continue
                if keep is not None and number not in keep:
                    counts["over the solutions per question"] += 1
                    continue
                seen = hash(normalize_question(question))
                if part != "validation" and seen not in looked:
                    looked.add(seen)
                    if near := questions.near(question):
                        problem, alike = near
                        sink.report(
                            {
                                "question": question,
                                "id": problem.id,
                                "problem": problem.problem,
                                "similarity": round(alike, 3),
                            }
                        )
                yield from _rows(settings, record, key, where, counts, part == "validation")


def _question(settings: SuperviseSettings, record: dict[str, Any], where: str) -> str | None:
    """The question whose level counts; None for a record that is not wanted at all."""
    if settings.source == "prm800k":
        question, _ = prm800k.walk(record, where)
        return question
    if settings.source == "metamath":
        kind = text_of(record, "type", where)
        if kind.startswith("GSM") and settings.gsm8k == "drop":
            return None
        return text_of(record, "original_question", where)
    if text_of(record, "task", where) != "MATH" and settings.gsm8k == "drop":
        return None
    parsed = math_shepherd.parse(record, where)
    return parsed[0] if parsed else None


def _not_wanted(settings: SuperviseSettings, record: dict[str, Any]) -> str:
    kind = str(record.get("type") or record.get("task"))
    return "of GSM8K" if kind.startswith("GSM") and settings.gsm8k == "drop" else "malformed"


def _route(
    settings: SuperviseSettings,
    questions: Questions,
    question: str,
    record: dict[str, Any],
    number: int,
) -> tuple[str, str, str]:
    """Part and id of a record, or why it is dropped."""
    place, problem = questions.place(question)
    key = problem.id if problem else f"{settings.source}/{number}"
    asked = record.get("query")
    if place == "test" or (isinstance(asked, str) and questions.place(asked)[0] == "test"):
        return "", key, "of test problems"
    if place == "validation" and problem is not None:
        # A run on easy problems stops by easy problems, too.
        side = "easy" if problem.level <= questions.max_level else "hard"
        if settings.levels in (side, "all"):
            return place, key, ""
        return "", key, f"{side} validation problems"
    gsm8k = str(record.get("type") or record.get("task") or "").startswith("GSM")
    if place == "unknown" and not gsm8k:
        if settings.match == "official" and settings.source == "math-shepherd":
            place = questions.place_by_prefix(question)
        elif settings.unknown_levels == "drop":
            return "", key, "of unknown level"
    if place in ("easy", "hard") and settings.levels not in (place, "all"):
        return "", key, f"{place} problems"
    return place, key, ""


def _rows(
    settings: SuperviseSettings,
    record: dict[str, Any],
    key: str,
    where: str,
    counts: Counter[str],
    validation: bool,
) -> Iterator[Built]:
    if settings.source == "metamath":
        row = None if validation else metamath.sft_row(key, record, where)
        if row is not None:
            yield Built("sft", row)
        else:
            counts["of validation problems" if validation else "without answer or steps"] += 1
        return
    if settings.source == "math-shepherd":
        parsed = math_shepherd.parse(record, where)
        assert parsed is not None
        question, steps, labels = parsed
        prompt = template.prompt(question)
        row = {"id": key, "prompt": prompt, "completions": steps, "labels": labels}
        yield Built("prm", row, validation)
        return
    if not validation:
        yield from (Built("sft", row) for row in prm800k.sft_rows(key, record, where))
    for row in prm800k.prm_rows(key, record, settings.neutral, where):
        yield Built("prm", row, validation)


def _chosen_of_metamath(places: list[str], settings: SuperviseSettings) -> set[int]:
    def queries() -> Iterator[tuple[int, str]]:
        number = -1
        for place in places:
            for where, record in read_records(place):
                number += 1
                yield number, text_of(record, "query", where)

    return metamath.chosen(queries(), settings.max_solutions, settings.seed)


def _print(counts: Counter[str], rows: Counter[str]) -> None:
    table = Table(title="Supervision", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("how many", justify="right")
    for what, number in counts.items():
        table.add_row(what, f"{number:,}")
    table.add_section()
    for what, number in sorted(rows.items()):
        table.add_row(f"rows: {what}" if what.split("-")[0] in KINDS else what, f"{number:,}")
    console.print(table)


def rows_file(place: Path, kind: Kind) -> Path:
    """The file of a kind of rows in a supervise stage. Raises InputError where it has none."""
    file = place / f"{kind}.jsonl"
    if not file.is_file():
        have = [other for other in KINDS if (place / f"{other}.jsonl").is_file()]
        raise InputError(
            f"no {kind} rows here",
            where=place,
            hint=f"it holds rows for {', '.join(have)}"
            if have
            else "make them with: e2h supervise",
        )
    return file
