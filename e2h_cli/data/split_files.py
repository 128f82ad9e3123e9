"""The files of a split, and who may read the hidden answers.

A split folder holds a JSONL file of problems for each part, ``split.json`` and a file with the
answers of the hard training problems, which the hard part itself does not have.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import fingerprint, read_json, read_jsonl, write_json, write_jsonl
from e2h_cli.data.hub_data import is_data_set
from e2h_cli.data.problem import Problem, read_problems, write_problems
from e2h_cli.data.sources import data_set_problems
from e2h_cli.data.splitting import Split

PAPER_MAX_LEVEL = 3  # paper p.4
# How the split was made: source, last easy level, size of each part.
SPLIT_INFO = "split.json"
# Answers and solutions of the hard training problems. No stage reads them unless its settings say
# that it trains on hard answers (the rows with a dagger in the paper's Table 5).
HIDDEN_ANSWERS = "hard-answers.jsonl"


def write_split(folder: Path, split: Split, *, source: str) -> None:
    """Write the files of a split. ``source`` is where the problems come from."""
    for part, problems in split.parts.items():
        shown = [p.hidden() for p in problems] if part == "hard" else problems
        write_problems(folder / f"{part}.jsonl", shown)
    hard = split.parts["hard"]
    hidden = ({"id": p.id, "answer": p.answer, "solution": p.solution} for p in hard)
    write_jsonl(folder / HIDDEN_ANSWERS, hidden)
    sizes = {part: len(problems) for part, problems in split.parts.items()}
    info = {"source": source, "max_level": split.max_level, "sizes": sizes}
    write_json(folder / SPLIT_INFO, info)


def max_level(path: Path) -> int:
    """The last easy level of a split; the paper's for a file of problems."""
    info = path / SPLIT_INFO
    return int(read_json(info)["max_level"]) if info.is_file() else PAPER_MAX_LEVEL


def split_file(path: Path, part: str) -> Path:
    """The file of a part of a split folder; a file stands for itself. Raises InputError."""
    if path.is_file():
        return path
    file = path / f"{part}.jsonl"
    if not file.is_file():
        raise InputError(f"no {part}.jsonl here", where=path, hint="make it with: e2h split")
    return file


def read_split(path: Path, part: str) -> list[Problem]:
    """The problems of a part of a split folder, of the user's own file, or of a data set."""
    if not path.exists() and is_data_set(str(path)):
        return data_set_problems(str(path))
    return read_problems(split_file(path, part))


def read_answered_problems(path: Path) -> dict[str, Problem]:
    """The problems whose gold answers are not hidden (test, validation, easy), by id.

    Those of a split folder, of a file, or of a data set of the Hub.
    """
    if not path.exists() and is_data_set(str(path)):
        return {p.id: p for p in data_set_problems(str(path))}
    parts = ("test", "validation", "easy") if path.is_dir() else ("test",)
    files = [split_file(path, part) for part in parts]
    return {p.id: p for file in files if file.stat().st_size for p in read_problems(file)}


def read_training_problems(
    path: Path, levels: str, *, hard_answers: bool = True
) -> tuple[list[Problem], dict[str, str]]:
    """Training problems with their solutions, and fingerprints of the files that were read.

    Of a split folder those of ``levels`` ("easy", "hard" or "all"), of a file all. Without
    ``hard_answers`` the file with the hidden answers of hard problems is not opened.
    """
    parts = ("easy", "hard") if levels == "all" and path.is_dir() else (levels,)
    files = [split_file(path, part) for part in parts]
    problems = [problem for file in files for problem in read_problems(file)]
    if hard_answers and levels != "easy" and path.is_dir():
        files.append(path / HIDDEN_ANSWERS)
        answers = {row["id"]: row for _, row in read_jsonl(files[-1])}
        problems = [replace(p, **answers.get(p.id, {})) for p in problems]
    return problems, {file.name: fingerprint(file) for file in files}
