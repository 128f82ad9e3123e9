"""Which rows may be shown as few-shot examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2h_cli.data import template
from e2h_cli.data.few_shot import choose_examples, level_in_split
from e2h_cli.data.problem import Problem
from e2h_cli.data.split_files import HIDDEN_ANSWERS, write_split
from e2h_cli.data.splitting import Split


def problem(key: str, level: int) -> Problem:
    return Problem(key, f"How much is {key}?", level, "s", "t", answer="1", solution="It is 1.")


def row(question: str, key: str = "other", completion: str = "a\n\n# Answer\n\n1") -> dict:
    return {"id": key, "prompt": template.prompt(question), "completion": completion}


@pytest.fixture
def split(tmp_path: Path) -> Path:
    parts = {"easy": [problem("e", 2)], "hard": [problem("h4", 4), problem("h5", 5)],
             "validation": [problem("v", 1)], "test": [problem("t", 1)]}  # fmt: skip
    write_split(tmp_path, Split(parts, [], [], 3), source="t")
    (tmp_path / HIDDEN_ANSWERS).unlink()  # which nothing here may read
    return tmp_path


@pytest.mark.parametrize(
    ("shots_from", "shown"),
    [
        ("easy", {"e": 2}),
        ("hard", {"h4": 4, "h5": 5}),
        ("hardest", {"h5": 5}),
        ("all", {"e": 2, "h4": 4, "h5": 5}),
    ],
)
def test_known_rows_are_of_the_wanted_levels(
    split: Path, shots_from: str, shown: dict[str, int]
) -> None:
    keys = ("e", "h4", "h5", "v", "t")
    level_of = level_in_split(split, shots_from)
    by_question = choose_examples([row(f"how much is  {key}?") for key in keys], 9, level_of)
    assert {e.question.split()[-1][:-1]: e.level for e in by_question} == shown
    by_id = choose_examples([row(f"In other words, {key}", key) for key in keys], 9, level_of)
    assert {e.question.split()[-1]: e.level for e in by_id} == shown
    # A test question under the id of a training problem is one.
    assert choose_examples([row("How much is t?", next(iter(shown)))], 9, level_of) == []
    assert [e.level for e in choose_examples([row("Something else")], 9, level_of)] == [0]


def test_only_whole_solutions_of_different_questions_are_shown(split: Path) -> None:
    part = row("x")
    part["prompt"] += "First.\n\n"
    rows = [row("q", completion="no answer"), row("q"), row("Q"), part, row("y"), row("z")]
    found = choose_examples(rows, 3, level_in_split(split, "easy"))
    assert [(e.question, e.steps) for e in found] == [
        ("q", ["a"]), ("x", ["First.", "a"]), ("y", ["a"]),
    ]  # fmt: skip
    bare = {"prompt": "How much?", "completion": "a\n\n# Answer\n\n1"}
    assert choose_examples([bare], 1, level_in_split(split, "easy"))[0].question == "How much?"


def test_problems_of_a_file_are_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text('{"id": "1", "problem": "How much?", "level": 1}')
    level_of = level_in_split(file, "easy")
    assert [e.question for e in choose_examples([row("how much?"), row("b")], 2, level_of)] == ["b"]
