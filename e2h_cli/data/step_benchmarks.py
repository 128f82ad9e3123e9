"""Solutions whose wrong steps are marked: the rows of ProcessBench and of PRMBench.

ProcessBench (Zheng et al. 2024, arXiv 2412.06559; data set Qwen/ProcessBench) marks the first wrong
step, PRMBench (Song et al. 2025, arXiv 2501.03124; data set hitsmy/PRMBench_Preview) all of them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.data.external_rows import Record, read_records, text_of
from e2h_cli.settings.evaluate import BenchmarkName

logger = logging.getLogger(__name__)

PROCESSBENCH_SPLITS = ("gsm8k", "math", "olympiadbench", "omnimath")
# Category of PRMBench -> its short name there, by dimension: simplicity, soundness, sensitivity.
PRMBENCH_CATEGORIES = {
    "simplicity": {"redundancy": "NR", "circular": "NCL"},
    "soundness": {
        "counterfactual": "ES", "step_contradiction": "SC", "domain_inconsistency": "DC",
        "confidence": "CI",
    },
    "sensitivity": {"missing_condition": "PS", "deception": "DR", "multi_solutions": "MS"},
}  # fmt: skip
_CATEGORIES = {name for names in PRMBENCH_CATEGORIES.values() for name in names}
_HUB_NAMES = {"processbench": "Qwen/ProcessBench", "prmbench": "hitsmy/PRMBench_Preview"}
_DATA_FILE = re.compile(r"([^.].*?)(?:-\d+-of-\d+)?\.(?:jsonl?|parquet)(?:\.gz)?")


@dataclass(frozen=True, slots=True)
class MarkedSolution:
    """A solution with its wrong steps.

    Attributes:
        id: unique in the benchmark.
        group: split of ProcessBench, category of PRMBench.
        question: its problem.
        steps: in order, as published.
        wrong: indices from 0 of the steps that are marked as wrong; of ProcessBench the first.
    """

    id: str
    group: str
    question: str
    steps: tuple[str, ...]
    wrong: tuple[int, ...]

    @property
    def text(self) -> str:
        """The steps in e2h's template, without an answer, each closed by its separator.

        White space inside a step is folded, as in training: a blank line would end it.
        """
        return "".join(f"{_as_step(step)}{template.SEPARATOR}" for step in self.steps)


def read_benchmark(name: BenchmarkName, given: str) -> list[MarkedSolution]:
    """The solutions of a benchmark: of a file, of the files of a folder, or of a Hub data set.

    Of rows with the same id and group the first is kept, as PRMBench's own evaluator does.

    Raises:
        InputError: nothing there, a data set that cannot be loaded, or a malformed row, with file
            and line.
    """
    parse = {"processbench": _processbench_row, "prmbench": _prmbench_row}[name]
    found: dict[str, MarkedSolution] = {}
    rows = 0
    for part, record in _records(name, given):
        rows += 1
        solution = parse(part, record)
        found.setdefault(solution.id, solution)
    if not found:
        raise InputError("no rows", where=given)
    if repeated := rows - len(found):
        logger.warning(f"{repeated:,} of {rows:,} rows repeat the id of another, and are left out")
    return list(found.values())


def _as_step(step: str) -> str:
    """A step on one line. A blank one, or one that is read as the answer header, gets a text."""
    text = template.one_line(step)
    return "Answer" if template.answer_header(text) else text or "-"


def _records(name: BenchmarkName, given: str) -> Iterator[tuple[str, Record]]:
    """(file stem or split, record) of all rows."""
    path = Path(given)
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if _DATA_FILE.fullmatch(file.name))
        if not files:
            raise InputError("no .json, .jsonl or .parquet file here", where=path)
    else:
        yield from _hub_records(name, given)
        return
    for file in files:
        named = _DATA_FILE.fullmatch(file.name)
        for record in read_records(file):
            yield named[1] if named else file.stem, record


def _hub_records(name: BenchmarkName, given: str) -> Iterator[tuple[str, Record]]:
    import datasets

    datasets.disable_progress_bars()
    try:
        loaded = datasets.load_dataset(given)
    except Exception as error:
        # The library raises whatever its transport raises; the user needs one line of it.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        fetch = f"hf download {_HUB_NAMES[name]} --repo-type dataset --local-dir FOLDER"
        hint = f"without a network, fetch it elsewhere ({fetch}) and give the folder"
        raise InputError(f"cannot load this data set: {reason}", where=given, hint=hint) from error
    for split, rows in loaded.items():
        for number, row in enumerate(rows, 1):
            yield split, Record(number, f"{given} {split}: row {number}", dict(row))


def _processbench_row(part: str, record: Record) -> MarkedSolution:
    """The split is told by the id ("gsm8k-0"), else it is that of the file or of the Hub."""
    where, row = record.where, record.row
    key, steps = text_of(row, "id", where), _texts(row, "steps", where)
    named = key.rpartition("-")[0]
    group = named if named in PROCESSBENCH_SPLITS else part
    label = _whole_number(row.get("label"))
    if label is None or not -1 <= label < len(steps):
        hint = f"the index of the first wrong step from 0 to {len(steps) - 1}, or -1 for none"
        raise InputError(f"label {row.get('label')!r} is no step", where=where, hint=hint)
    wrong = () if label < 0 else (label,)
    return MarkedSolution(f"{group}/{key}", group, text_of(row, "problem", where), steps, wrong)


def _prmbench_row(_: str, record: Record) -> MarkedSolution:
    """Steps are counted from 1. Those beyond the last are left out, as by PRMBench's evaluator."""
    where, row = record.where, record.row
    group = text_of(row, "classification", where).replace("redundency", "redundancy")
    if group not in _CATEGORIES:
        hint = f"known: {', '.join(sorted(_CATEGORIES))}"
        raise InputError(f"no category {group!r} in PRMBench", where=where, hint=hint)
    steps = _texts(row, "modified_process", where)
    marked = row.get("error_steps") or []
    numbers = [_whole_number(one) for one in marked] if isinstance(marked, list) else [None]
    if any(number is None or number < 1 for number in numbers):
        hint = "a list of step numbers from 1"
        raise InputError(f"error_steps {marked!r} are no steps", where=where, hint=hint)
    wrong = sorted({number - 1 for number in numbers if number and number <= len(steps)})
    key = f"{group}/{text_of(row, 'idx', where)}"
    return MarkedSolution(key, group, text_of(row, "modified_question", where), steps, tuple(wrong))


def _texts(row: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = row.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise InputError(f"no list of steps under {key!r}", where=where)
    return tuple(value)


def _whole_number(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
