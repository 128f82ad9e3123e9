"""The files of a split: which part lies where, and who may read the hidden answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from e2h_cli.common.errors import InputError
from e2h_cli.common.files import fingerprint, read_json, read_jsonl
from e2h_cli.data.problem import Problem, read
from e2h_cli.pipeline.run_folder import STAGE_RECORD

PAPER_MAX_LEVEL = 3  # paper p.4
# Answers and solutions of the hard training problems. No stage reads them unless its settings say
# that it trains on hard answers (the rows with a dagger in the paper's Table 5).
HIDDEN = "hard-answers.jsonl"


def part_file(place: Path, part: str) -> Path:
    """The file that holds a part: inside a split folder, or the place itself if it is a file.

    Raises:
        InputError: a folder that is no split.
    """
    if place.is_file():
        return place
    file = place / f"{part}.jsonl"
    if not file.is_file():
        raise InputError(f"no {part}.jsonl here", where=place, hint="make it with: e2h split")
    return file


def read_part(place: Path, part: str) -> list[Problem]:
    """The problems of a part of a split folder, or of a file of the user's own."""
    return read(part_file(place, part))


def read_problems_with_answers(place: Path) -> dict[str, Problem]:
    """Every problem with a gold answer that may be looked at: test, validation and easy, by id."""
    parts = (
        [place]
        if place.is_file()
        else [part_file(place, p) for p in ("test", "validation", "easy")]
    )
    return {p.id: p for part in parts if part.stat().st_size for p in read(part)}


def read_training_problems(
    place: Path, levels: str, *, hidden: bool = True
) -> tuple[list[Problem], dict[str, str]]:
    """Training problems with solutions, and fingerprints of the files that were read.

    Args:
        place: a split folder, or a file of problems, which is then all that is read.
        levels: "easy", "hard" or "all"; the last two read the hidden answers of hard problems.
        hidden: False leaves them hidden, and their file closed.
    """
    parts = ("easy", "hard") if levels == "all" and place.is_dir() else (levels,)
    problems, read = [], {}
    for part in parts:
        file = part_file(place, part)
        read[file.name] = fingerprint(file)
        problems += read_part(place, part)
    if hidden and levels != "easy" and place.is_dir():
        answers = {row["id"]: row for _, row in read_jsonl(place / HIDDEN)}
        read[HIDDEN] = fingerprint(place / HIDDEN)
        problems = [
            replace(p, answer=a["answer"], solution=a["solution"])
            if (a := answers.get(p.id))
            else p
            for p in problems
        ]
    return problems, read


def max_level(place: Path) -> int:
    """The last easy level of a split; the paper's for a plain file of problems."""
    record = place / STAGE_RECORD
    if not record.is_file():
        return PAPER_MAX_LEVEL
    return int(read_json(record)["settings"]["max_level"])
