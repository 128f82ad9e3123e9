"""Rows for training: from reference solutions, from samples, from files."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data import chain_arithmetic
from e2h_cli.data.problem import Problem, read_problems
from e2h_cli.data.reference_solutions import sft_rows, steps_of
from e2h_cli.data.rm_labels import (
    balance_outcomes,
    grade_samples,
    label_samples,
    parse_samples,
    read_rows,
    step_checker,
    until_first_mistake,
)
from e2h_cli.data.template import parse
from e2h_cli.data.training_rows import TrainingRow, TrainingRowWriter, rows_file

CHAIN = Problem("p", "a3 b+4 c*6", 1, "s", "chains", "2", "b=3+4=7\n\nc=7*6=2")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("b=1\n\nc=2", ["b=1", "c=2"]),
        ("We add. Then we stop.", ["We add.", "Then we stop."]),
        ("Mr. Smith has 3.5 apples. He eats.", ["Mr. Smith has 3.5 apples.", "He eats."]),
        ("Let $x = 1.$ Then $y = 2.$", ["Let $x = 1.$", "Then $y = 2.$"]),
        ("So $a. B$ holds, see $c.$", ["So $a. B$ holds, see $c.$"]),
        ("We get\n\\[x = 1. Y\n= 2.\\]\nDone.", ["We get", "\\[x = 1. Y = 2.\\]", "Done."]),
        (
            "Solve\n\\begin{align*}\na &= 1 \\\\\nb &= 2\n\\end{align*}\nso $3$.",
            ["Solve", "\\begin{align*} a &= 1 \\\\ b &= 2 \\end{align*}", "so $3$."],
        ),
        (
            "[asy]\ndraw(A);\n\ndraw(B);\n[/asy]\nSee it.",
            ["[asy] draw(A); draw(B); [/asy]", "See it."],
        ),
        ("", []),
        ("\n \n", []),
    ],
)
def test_prose_to_steps(text: str, steps: list[str]) -> None:
    assert steps_of(text) == steps


def test_no_text_is_lost_in_real_solutions(math_data: Path) -> None:
    problems = read_problems(math_data / "test.jsonl")
    for problem in problems:
        steps = steps_of(problem.solution or "")
        assert "".join(" ".join(steps).split()) == "".join((problem.solution or "").split()), (
            problem.id
        )
    rows = sft_rows(problems)
    assert len(rows) == 500
    for row, problem in zip(rows, problems, strict=True):
        found = parse(row["completion"])
        assert found.answer == " ".join((problem.answer or "").split())
        assert len(found.steps) == len(steps_of(problem.solution or ""))


def test_sft_rows_are_the_template() -> None:
    (row,) = sft_rows([CHAIN, CHAIN.hidden()])
    assert row["prompt"] == "# Question\n\na3 b+4 c*6\n\n# Solution\n\n"
    assert row["completion"] == "b=3+4=7\n\nc=7*6=2\n\n# Answer\n\n2"


SAMPLES = [
    ("p", "b=3+4=7\n\nc=7*6=2\n\n# Answer\n\n2"),
    ("p", "b=3+4=8\n\nc=8*6=8\n\n# Answer\n\n8"),
    ("p", "b=3+4=8\n\nc=8*6=8\n\n# Answer\n\n8"),
    ("p", "b=3+4=8\n\nc=8*6=2\n\n# Answer\n\n2"),
    ("p", "b=3+4=7"),
]


def equal(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    return [gold == answer for gold, answer in pairs]


def test_labels_by_hand() -> None:
    parsed, counts = parse_samples(SAMPLES, {"p": CHAIN})
    verdicts = grade_samples(parsed, equal)
    steps, outcomes = label_samples(parsed, verdicts, chain_arithmetic.check_steps)
    assert [row["labels"] for row in steps] == [
        [True, True, True], [False, None, False], [False, None, True],
    ]  # fmt: skip
    assert [row["labels"] for row in outcomes] == [[True] * 3, [False] * 3, [True] * 3]
    assert steps[0]["completions"] == ["b=3+4=7", "c=7*6=2", "# Answer\n\n2"]
    assert counts == {"samples without answer": 1, "repeated samples": 1}
    assert label_samples(parsed, verdicts, None)[0] == []


def outcome_rows(right: int, wrong: int, key: str = "q") -> list[dict]:
    return [{"id": key, "labels": [i < right]} for i in range(right + wrong)]


@pytest.mark.parametrize(
    ("right", "wrong", "kept"),
    [(2, 3, (2, 3)), (30, 2, (6, 2)), (1, 31, (1, 3)), (32, 0, (0, 0)), (0, 5, (0, 0))],
)
def test_outcomes_are_balanced_per_question(right: int, wrong: int, kept: tuple[int, int]) -> None:
    rows = outcome_rows(right, wrong)
    found = [row["labels"][0] for row in balance_outcomes(rows, 3, random.Random(0))]
    assert (sum(found), len(found) - sum(found)) == kept
    assert balance_outcomes(rows, 3, random.Random(0)) == balance_outcomes(
        rows, 3, random.Random(0)
    )
    assert balance_outcomes(rows, None, random.Random(0)) == rows
    both = balance_outcomes([*rows, *outcome_rows(1, 1, "other")], 3, random.Random(0))
    assert sum(row["id"] == "other" for row in both) == 2


def test_nothing_is_labelled_after_the_first_mistake() -> None:
    assert until_first_mistake([True, False, True, False]) == [True, False, None, None]
    assert until_first_mistake([]) == []


def test_only_worlds_with_an_oracle_have_a_step_checker() -> None:
    assert step_checker([CHAIN]) is chain_arithmetic.check_steps
    assert step_checker([CHAIN, Problem("m", "q", 1, "s", "math")]) is None


def test_rows_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    row = {"prompt": "1+2?", "completions": ["We\nadd.", "# Answer\n\n3"], "labels": [0.5, None]}
    file.write_text(json.dumps(row))
    assert list(read_rows(file)) == [
        {
            "id": "rows/1",
            "prompt": "# Question\n\n1+2?\n\n# Solution\n\n",
            "completions": ["We add.", "# Answer\n\n3"],
            "labels": [0.5, None],
        }
    ]


def test_files_of_rows_appear_only_without_an_error(tmp_path: Path) -> None:
    row = TrainingRow("prm", {"prompt": "p", "completions": ["é\ud83d"], "labels": [True]})
    with pytest.raises(ValueError, match="stop"):  # noqa: SIM117
        with TrainingRowWriter(tmp_path, official=True, unique=True) as writer:
            writer.write(row)
            raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []
    for unique in (True, False):
        with TrainingRowWriter(tmp_path, official=False, unique=unique) as writer:
            for written in (row, row, row._replace(file="prm-validation")):
                writer.write(written)
        assert len((tmp_path / "prm.jsonl").read_text().splitlines()) == (1 if unique else 2)
        assert len((tmp_path / "prm-validation.jsonl").read_text().splitlines()) == 1
        assert writer.counts["repeated rows"] == unique
    assert rows_file(tmp_path, "prm") == tmp_path / "prm.jsonl"
    with pytest.raises(InputError, match="no orm rows here; it holds rows for prm"):
        rows_file(tmp_path, "orm")
    with pytest.raises(InputError, match="no sft rows here; make them with: e2h supervise"):
        rows_file(tmp_path / "none", "sft")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"completions": ["a"], "labels": [True]}, "no text under 'prompt'"),
        ({"prompt": "p", "completions": "a", "labels": [True]}, "'completions' is not a list"),
        ({"prompt": "p", "completions": ["a"], "labels": []}, "'labels' is not a list as long"),
        ({"prompt": "p", "completions": ["a"], "labels": [2]}, "label 2 is not"),
        ({"prompt": "p", "completions": ["a"], "labels": ["yes"]}, "label 'yes' is not"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: dict, message: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row))
    with pytest.raises(InputError, match=r"rows.jsonl:1: ") as error:
        list(read_rows(file))
    assert message in str(error.value)
