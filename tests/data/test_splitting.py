"""The split by level, its validation set, and the files of problems."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data.problem import (
    Problem,
    last_boxed,
    normalize_question,
    problem_from_row,
    read_problems,
)
from e2h_cli.data.split_files import (
    max_level,
    read_answered_problems,
    read_split,
    read_training_problems,
    write_split,
)
from e2h_cli.data.splitting import split, stratified_sample, stratum_sizes


def problem(i: int, level: int, text: str = "", subject: str = "s") -> Problem:
    return Problem(f"p{i}", text or f"question {i}", level, subject, "test", "1", "so 1")


def test_parts_by_level_and_nothing_lost() -> None:
    train = [problem(i, 1 + i % 5) for i in range(50)]
    test = [problem(100 + i, 1 + i % 5) for i in range(10)]
    done = split(train, test, max_level=3, validation=10, seed=0)
    assert {p.level for p in done.parts["easy"]} == {1, 2, 3}
    assert {p.level for p in done.parts["hard"]} == {4, 5}
    assert Counter(p.level for p in done.parts["validation"]) == dict.fromkeys(range(1, 6), 2)
    ids = [p.id for p in (*done.parts["easy"], *done.parts["hard"], *done.parts["validation"])]
    assert sorted(ids) == sorted(p.id for p in train)


def test_validation_is_no_training_problem_and_depends_on_the_seed_alone() -> None:
    train = [problem(i, 1 + i % 5) for i in range(100)]
    test = train[:10]
    one, same, other = (
        [p.id for p in stratified_sample(train, test, 10, seed)] for seed in (1, 1, 2)
    )
    assert one == same != other


def test_leaks_and_duplicates_are_set_aside() -> None:
    test = [problem(0, 1, "What is $x + 1$?")]
    train = [
        problem(1, 1, "what is $x+1$ ?"),
        problem(2, 1, "What  is\n$x\\, + 1$?"),
        problem(3, 2, "same"),
        problem(4, 2, "Same"),
        problem(5, 2, "other"),
    ]
    done = split(train, test, max_level=3, validation=0, seed=0)
    assert [p.id for p in done.leaks] == ["p1", "p2"]
    assert [p.id for p in done.duplicates] == ["p4"]
    assert [p.id for p in done.parts["easy"]] == ["p3", "p5"]


def test_stratum_sizes_are_largest_remainders() -> None:
    strata = Counter({("a", 1): 5, ("b", 1): 3, ("c", 1): 2})
    assert stratum_sizes(strata, 5) == {("a", 1): 3, ("b", 1): 1, ("c", 1): 1}
    assert sum(stratum_sizes(strata, 7).values()) == 7
    assert stratum_sizes(Counter(), 3) == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Find  $x$.", "find $x$"),
        (r"Compute $\dfrac{1}{2}.$", r"Compute $\frac{1}{2}$."),
        (r"Let $4^{a}=5$, $5^{b}=6.$", r"Let $4^a = 5$, $5^b = 6$."),
        ("At $(1, 2)$.  Then", "At $(1,2)$. Then"),
        (r"$\left( x \right)$", "$(x)$"),
    ],
)
def test_copies_of_a_question(one: str, other: str) -> None:
    assert normalize_question(one) == normalize_question(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"Compute $\tan 22.5^\circ.$", r"Compute $\tan 225^\circ$."),
        ("Find $x = .5$.", "Find $x = 5$."),
        ("At (1,2).", "At (12)."),
        (r"$\frac{1}{2}$", "${1}{2}$"),
        (r"$a \leftarrow b$", r"$a \rightarrow b$"),
        ("Find x+1", "Find x-1"),
    ],
)
def test_other_questions(one: str, other: str) -> None:
    assert normalize_question(one) != normalize_question(other)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{3}", "3"),
        (r"\boxed{1} then \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        ("none", None),
        (r"\boxed{open", None),
    ],
)
def test_last_boxed(text: str, answer: str | None) -> None:
    assert last_boxed(text) == answer


def test_rows_of_other_sources_are_read() -> None:
    row = {"problem": "q", "level": "Level 3", "type": "Algebra", "solution": r"\boxed{7}"}
    found = problem_from_row(row, default_id="x/1", source="hub", where="here")
    assert (found.id, found.level, found.subject, found.answer) == ("x/1", 3, "Algebra", "7")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"problem": "q", "level": "hard"}'], "f.jsonl:1: level 'hard' is not a number"),
        (['{"problem": "q", "level": 1}', "{broken"], "f.jsonl:2: not valid JSON"),
        (['{"level": 1}'], "f.jsonl:1: no text under 'problem'"),
        (["[1]"], "f.jsonl:1: not a JSON object"),
        (
            ['{"id": "a", "problem": "q", "level": 1}'] * 2,
            "f.jsonl:2: duplicate id 'a' (first in line 1)",
        ),
        ([], "f.jsonl: no problems"),
    ],
)
def test_bad_files_are_refused_with_their_line(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"f\.jsonl") as error:
        read_problems(file)
    assert message in str(error.value)


def test_hard_answers_are_read_only_on_request(tmp_path: Path) -> None:
    train = [problem(i, 1 + i % 5) for i in range(50)]
    test = [problem(100 + i, 1 + i % 5) for i in range(10)]
    done = split(train, test, max_level=2, validation=5, seed=0)
    write_split(tmp_path, done, source="math")
    assert max_level(tmp_path) == 2
    assert read_split(tmp_path, "easy") == done.parts["easy"]
    hidden = [p.hidden() for p in done.parts["hard"]]
    assert read_split(tmp_path, "hard") == hidden
    for levels, hard_answers, expected in [
        ("easy", True, done.parts["easy"]),
        ("hard", True, done.parts["hard"]),
        ("hard", False, hidden),
        ("all", True, done.parts["easy"] + done.parts["hard"]),
    ]:
        found, files = read_training_problems(tmp_path, levels, hard_answers=hard_answers)
        assert found == expected
        assert ("hard-answers.jsonl" in files) == (levels != "easy" and hard_answers)
    answered = read_answered_problems(tmp_path)
    assert not {p.id for p in hidden} & answered.keys()
    assert len(answered) == len(train) + len(test) - len(hidden)


def test_a_file_of_problems_has_the_level_of_the_paper(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text('{"problem": "q", "level": 4, "answer": "1"}')
    assert max_level(file) == max_level(tmp_path) == 3
    assert [p.level for p in read_split(file, "test")] == [4]
    assert list(read_answered_problems(file)) == ["own/1"]
    with pytest.raises(InputError, match=r"no test\.jsonl here; make it with: e2h split"):
        read_split(tmp_path, "test")
