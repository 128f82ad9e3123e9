"""The files of a split: which part lies where, and who may read the hidden answers."""

from __future__ import annotations

from pathlib import Path

from e2h_cli.errors import InputError
from e2h_cli.files import read_json
from e2h_cli.problems.problem import Problem, read
from e2h_cli.workspace import RECORD

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


def read_known(place: Path) -> dict[str, Problem]:
    """Every problem with a gold answer that may be looked at: test, validation and easy, by id."""
    parts = (
        [place]
        if place.is_file()
        else [part_file(place, p) for p in ("test", "validation", "easy")]
    )
    return {p.id: p for part in parts if part.stat().st_size for p in read(part)}


def max_level(place: Path) -> int:
    """The last easy level of a split; the paper's for a plain file of problems."""
    record = place / RECORD
    if not record.is_file():
        return PAPER_MAX_LEVEL
    return int(read_json(record)["settings"]["max_level"])
