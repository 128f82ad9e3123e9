"""Programming problems of APPS (Hendrycks et al., 2021): published files, tests, the test set.

The rows have ``problem_id``, ``question``, ``solutions`` and ``input_output`` (JSON texts),
``difficulty`` and ``starter_code``. The files of the test split have 1.3 GB and are read row by
row; only problems that are drawn are kept.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from e2h_cli.common.errors import InputError, reason_of
from e2h_cli.common.files import read_jsonl
from e2h_cli.data.hub_data import hub_file, load_data_set
from e2h_cli.data.problem import Problem
from e2h_cli.data.program_tests import ProgramTests

logger = logging.getLogger(__name__)

# Its main branch also has a loading script, which the library of data sets refuses.
DEFAULT_APPS = "codeparrot/apps"
LEVELS = {"introductory": 1, "interview": 2, "competition": 3}
# Test problems per level (paper p.10).
PAPER_COUNTS = (100, 300, 100)

_KINDS = ("*.jsonl", "*.jsonl.gz", "*.parquet")
# Where the files lie in a copy of the Hub's Parquet branches.
_FOLDERS = ("", "all", "data")

Row = tuple[str, dict[str, Any]]  # where it stands, and the JSON object


def apps_problems(
    data: str | None, test_counts: Sequence[int] = PAPER_COUNTS, seed: int = 0
) -> tuple[list[Problem], list[Problem], dict[str, int]]:
    """(train, test, numbers of problems left out by reason) of APPS.

    Training problems are all those with tests and a solution. Of one file without parts, they are
    those that are not drawn for the test set.

    Args:
        data: a folder with ``train*`` and ``test*`` files, JSON lines or Parquet; one file; or a
            data set of the Hub. By default ``codeparrot/apps``.
        test_counts: test problems per level, from level 1.
        seed: of the draw.

    Raises:
        InputError: a missing file, a malformed row, a data set that cannot be loaded, or fewer
            problems than are to be drawn.
    """
    name = data or DEFAULT_APPS
    left_out: Counter[str] = Counter()
    if Path(name).is_file():
        problems = list(_problems(_file_rows(Path(name)), "", left_out))
        test = draw_test(problems, test_counts, seed)
        drawn = {problem.id for problem in test}
        rest: Iterable[Problem] = (p for p in problems if p.id not in drawn)
    else:
        train_rows, test_rows = _rows(name, "train"), _rows(name, "test")
        test = draw_test(_problems(test_rows, "test/", left_out), test_counts, seed)
        rest = _problems(train_rows, "train/", left_out)
    train = []
    for problem in rest:
        if problem.solution is None:
            left_out["train: no solution"] += 1
        else:
            train.append(problem)
    for reason, count in sorted(left_out.items()):
        logger.info(f"{name}: {count:,} problems are left out: {reason}")
    return train, test, dict(sorted(left_out.items()))


def draw_test(problems: Iterable[Problem], counts: Sequence[int], seed: int) -> list[Problem]:
    """Draw so many problems of level 1, 2, ... at random, sorted by level.

    One pass, which keeps only what may be drawn; the draw depends on ids, not on their order.
    Raises InputError if there are too few.
    """
    if len(counts) > len(LEVELS):
        raise InputError(f"test_counts has {len(counts)} numbers; APPS has levels 1 to 3")
    heaps: list[list[tuple[int, int, Problem]]] = [[] for _ in counts]
    for position, problem in enumerate(problems):
        if problem.level > len(counts):
            continue
        heap, count = heaps[problem.level - 1], counts[problem.level - 1]
        digest = hashlib.blake2b(f"{seed} {problem.id}".encode(), digest_size=8).digest()
        entry = (-int.from_bytes(digest, "big"), position, problem)
        if len(heap) < count:
            heapq.heappush(heap, entry)
        elif count:
            heapq.heappushpop(heap, entry)
    for level, (heap, count) in enumerate(zip(heaps, counts, strict=True), 1):
        if len(heap) < count:
            has = f"{count} test problems of level {level}, but only {len(heap)} have tests"
            raise InputError(has, where="test_counts", hint="ask for fewer")
    return [problem for heap in heaps for _, _, problem in sorted(heap, key=lambda one: one[1])]


def apps_tests(found: object) -> ProgramTests:
    """The tests of an ``input_output``, a JSON text or object.

    Raises:
        ValueError: they are missing or broken; the message is the reason, the same for all such.
    """
    if isinstance(found, str):
        if not found.strip():
            raise ValueError("no tests")
        try:
            found = json.loads(found)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError("tests are not JSON") from error
        except ValueError as error:
            raise ValueError("integers of more digits than Python reads") from error
    if not isinstance(found, dict):
        raise ValueError("tests are not an object")
    inputs, outputs = found.get("inputs"), found.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise ValueError("inputs or outputs are not a list")
    if not inputs and not outputs:
        raise ValueError("no tests")
    if len(inputs) != len(outputs):
        raise ValueError("unequal numbers of inputs and outputs")
    function = found.get("fn_name")
    if function is None:
        return ProgramTests(tuple(map(_text, inputs)), tuple(map(_text, outputs)))
    if not isinstance(function, str) or not function.isidentifier():
        raise ValueError("'fn_name' is not a name")
    for arguments in inputs:
        if not isinstance(arguments, list):
            raise ValueError("arguments are not a list")
        # The harness of APPS makes these keys numbers again, which JSON cannot hold.
        if arguments and isinstance(arguments[0], dict) and any(map(_is_number, arguments[0])):
            raise ValueError("an argument has numbers as keys")
    return ProgramTests(tuple(map(_json, inputs)), tuple(map(_json, outputs)), function)


def _text(value: object) -> str:
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if not isinstance(value, str):
        raise ValueError("inputs or outputs are not texts")
    return value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_number(key: str) -> bool:
    return key.removeprefix("-").isdecimal()


def _problems(rows: Iterable[Row], part: str, left_out: Counter[str]) -> Iterator[Problem]:
    """The problems with tests; the others are counted by the reason why they have none."""
    seen: set[str] = set()
    for where, row in rows:
        try:
            tests = apps_tests(row.get("input_output") or "")
        except ValueError as error:
            left_out[f"{part.rstrip('/') or 'all'}: {error}"] += 1
            continue
        problem = _problem(row, tests, part, where)
        if problem.id in seen:
            raise InputError(f"duplicate id {problem.id!r}", where=where)
        seen.add(problem.id)
        yield problem


def _problem(row: dict[str, Any], tests: ProgramTests, part: str, where: str) -> Problem:
    question, starter = row.get("question"), row.get("starter_code") or ""
    level = LEVELS.get(str(row.get("difficulty")))
    if not isinstance(question, str) or not isinstance(starter, str) or "problem_id" not in row:
        hint = "rows of APPS have problem_id, question, difficulty, input_output and solutions"
        raise InputError("no row of APPS", where=where, hint=hint)
    if level is None:
        hint = f"one of {', '.join(LEVELS)}"
        raise InputError(f"unknown difficulty {row.get('difficulty')!r}", where=where, hint=hint)
    # The prompt of APPS says "Use Standard Input format" or "Use Call-Based format" here.
    task = "Use standard input and output."
    if tests.function is not None:
        task = f"Write the function {tests.function}."
    shown = _shown(question, tests)
    return Problem(
        id=f"apps/{part}{row['problem_id']}",
        problem="\n".join(text for text in (question.strip(), starter.strip(), task) if text),
        level=level,
        subject="standard input" if tests.function is None else "function",
        source="apps",
        answer=tests.text(),
        solution=_first_solution(row.get("solutions"), where),
        public_tests=tests.public(shown).text() if shown else None,
    )


def _first_solution(found: object, where: str) -> str | None:
    if isinstance(found, str) and found.strip():
        try:
            found = json.loads(found)
        except (ValueError, RecursionError) as error:
            raise InputError(f"'solutions' is not JSON ({error})", where=where) from error
    first = found[0] if isinstance(found, list) and found else None
    return first if isinstance(first, str) and first.strip() else None


def _shown(question: str, tests: ProgramTests) -> list[int]:
    """The first places of inputs that the question shows.

    Of standard input these are whole lines, of functions calls as ``add(1, [2])``.
    """
    if tests.function is None:
        page, written = f"\n{_lines(question)}\n", [f"\n{_lines(t)}\n" for t in tests.inputs]
    else:
        page = _tight(question)
        written = [_tight(f"{tests.function}({text[1:-1]})") for text in tests.inputs]
    places: dict[str, int] = {}
    for index, text in enumerate(written):
        if text.strip() and text in page:
            places.setdefault(text, index)
    return list(places.values())


def _lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().split("\n"))


def _tight(text: str) -> str:
    return "".join(text.split()).replace("'", '"')


def _rows(name: str, part: str) -> Iterator[Row]:
    """The rows of the part "train" or "test" of a folder or a data set."""
    if Path(name).is_dir():
        files = _part_files(Path(name), part)
    elif name == DEFAULT_APPS:
        files = [hub_file(name, f"{part}.jsonl")]
    else:
        [(_, splits)] = load_data_set(name)
        if part not in splits:
            raise InputError(f"data set has no {part} split", where=name)
        return ((f"{name} {part}/{i}", row) for i, row in enumerate(splits[part]))
    return (row for file in files for row in _file_rows(file))


def _part_files(folder: Path, part: str) -> list[Path]:
    for inner in _FOLDERS:
        for kind in _KINDS:
            if files := sorted((folder / inner).glob(f"{part}{kind}")):
                return files
    raise InputError(f"no {part}*.jsonl or {part}*.parquet here", where=folder)


def _file_rows(file: Path) -> Iterator[Row]:
    if file.suffix != ".parquet":
        yield from ((f"{file}:{number}", row) for number, row in read_jsonl(file))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as table:
            number = 0
            for batch in table.iter_batches(batch_size=16):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{file}:{number}", row
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read this Parquet: {reason_of(error)}", where=file) from error
