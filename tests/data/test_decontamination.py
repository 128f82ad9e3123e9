"""Which part of a split a question belongs to, and near-duplicates of test problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data.decontamination import NearDuplicateIndex, QuestionIndex
from e2h_cli.data.problem import Problem, read_problems
from tests.data.published_records import write_small_split


def test_near_duplicates_are_found_and_others_not() -> None:
    base = "A train travels 60 miles in 2 hours and then rests. How far does it go in 5 hours?"
    problems = [Problem("p", base, 1, "s", "t"), Problem("o", "What is 2 + 2?", 1, "s", "t")]
    index = NearDuplicateIndex(problems)
    found = index.find(base.replace("5 hours", "7 hours"))
    assert found is not None
    assert found[0].id == "p"
    assert 0.6 <= found[1] < 1
    assert index.find("A completely different question about triangles and their areas.") is None


def test_similarity_is_the_share_of_common_5_grams() -> None:
    index = NearDuplicateIndex([Problem("p", "a b c d e f g h", 1, "s", "t")])
    # Of 4 and 4 5-grams 3 are common; of 4 and 5, 4; of 4 and 4, 2.
    assert index.find("a b c d e f g x") == (index.find("a b c d e f g h")[0], 3 / 5)  # type: ignore[index]
    assert index.find("a b c d e f g h i")[1] == 4 / 5  # type: ignore[index]
    assert index.find("a b c d e f x y") is None


def test_near_duplicates_of_math_are_these(math_data: Path) -> None:
    """MATH has variants of one question in both parts; a test problem in disguise is found, too."""
    test, train = (read_problems(math_data / f"{part}.jsonl") for part in ("test", "train"))
    index = NearDuplicateIndex(test)
    found = [pair for p in train if (pair := index.find(p.problem))]
    assert [round(similarity, 3) for _, similarity in found] == [0.679, 0.667, 0.923, 0.778]
    assert all(len(p.problem.split()) > 9 for p, _ in found)
    # A test problem whose last word differs, and one with a sentence in front of it.
    long = [p for p in test if len(p.problem.split()) > 25]
    assert len(long) > 200
    for problem in long:
        for text in (
            " ".join([*problem.problem.split()[:-1], "now"]),
            f"Solve this. {problem.problem}",
        ):
            near = index.find(text)
            assert near is not None
            assert near[0].id == problem.id


def test_questions_find_their_part(tmp_path: Path) -> None:
    split = write_small_split(tmp_path / "split")
    index = QuestionIndex(split)
    part, problem = index.find("how much is ONE  and one?")
    assert part == "easy"
    assert problem is not None
    assert problem.id == "easy-0"
    assert index.find("Find the first digit of seven.") == ("unknown", None)
    assert index.part_by_prefix("How much is four and four?") == "easy"
    assert index.part_by_prefix("Find the last digit of two.") == "hard"
    near = index.near_duplicate("A train goes 3 miles in 5 hours. How far does it go in 9 hours?")
    assert near is not None
    assert near[0].id == "validation-1"
    with pytest.raises(InputError, match="not a split"):
        QuestionIndex(split / "easy.jsonl")
