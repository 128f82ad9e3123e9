"""Published records to training rows: PRM800K, Math-Shepherd, MetaMath, by hand and as released."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2h_cli.common.errors import InputError
from e2h_cli.data import math_shepherd, metamath, prm800k
from e2h_cli.data.decontamination import QuestionIndex
from e2h_cli.data.external_rows import read_records
from e2h_cli.data.published_rows import PublishedRows
from e2h_cli.data.training_rows import official_reward_rows, official_sft_rows
from e2h_cli.settings.supervise import SuperviseSettings
from tests.conftest import DATA
from tests.data.published_records import MARKED, RATED, record, step, write_small_split

PROMPT = "# Question\n\nq?\n\n# Solution\n\n"


def prm(record: dict, neutral: Any = "positive") -> list[tuple[list[str], list[bool | None]]]:
    rows = prm800k.prm_rows("k", prm800k.parse_record(record, "w"), neutral)
    return [(row["completions"], row["labels"]) for row in rows]


def test_prm800k_reward_rows_by_hand() -> None:
    path = ["One.", "Two.", "Three.", "Four."]
    assert prm(RATED) == [
        (["Uno."], [True]),
        (["Eins."], [False]),
        (["One.", "Two.", "Wrong."], [None, None, False]),
        (["One.", "Two.", "Bad."], [None, None, False]),
        ([*path, "# Answer\n\n6"], [None, None, None, None, False]),
        ([*path, "Five.", "# Answer\n\n5"], [True, True, None, True, True, True]),
    ]
    assert prm(RATED, "negative")[-1][1] == [True, False, None, True, True, True]
    assert prm(RATED, "unlabelled")[-1][1] == [True, None, None, True, True, True]


def test_prm800k_tuning_rows_by_hand() -> None:
    """Only +1 is trained on; what stands between is part of the prompt."""
    solution = prm800k.parse_record(RATED, "w")
    rows = [(row["prompt"], row["completion"]) for row in prm800k.sft_rows("k", solution)]
    before = PROMPT + "One.\n\nTwo.\n\nThree.\n\n"
    assert rows == [
        (PROMPT, "Uno."),
        (PROMPT, "One."),
        (before, "Four.\n\nFive.\n\n# Answer\n\n5"),
    ]


def test_a_solution_ends_where_no_completion_was_chosen() -> None:
    two = record(step(("A.", -1), ("B.", 1), chosen=None), step(("never reached", 1)))
    assert prm(two) == [(["A."], [False]), (["B."], [True])]
    only = record(step(("A.", -1), chosen=None), step(("B.", 1)))
    assert prm(only) == [(["A.", "B."], [False, True])]


def test_a_header_that_is_glued_to_a_step_is_a_header() -> None:
    """As for the released builder, which takes any text with the header for the end."""
    solution = prm800k.parse_record(record(step(("So it is 5.# Answer\n\n5", 1))), "here")
    (row,) = prm800k.sft_rows("q", solution)
    assert row["completion"] == "So it is 5.\n\n# Answer\n\n5"
    (row,) = prm800k.prm_rows("q", solution, "positive")
    assert row["completions"] == ["So it is 5.", "# Answer\n\n5"]


def test_a_title_ends_no_step() -> None:
    titled = record(step(("We ask Mr.", 1)), step(("Jones.", 1), ("Smith.", -1)))
    assert prm(titled) == [(["We ask Mr. Smith."], [False]), (["We ask Mr. Jones."], [True])]


@pytest.mark.parametrize("bad", [{}, {"question": {"problem": "q"}, "label": {"steps": [{}]}}])
def test_what_is_no_prm800k_is_said(bad: dict) -> None:
    with pytest.raises(InputError, match="file:3: not a record of PRM800K"):
        prm800k.parse_record(bad, "file:3")


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=30)
rated = st.lists(st.tuples(texts, st.sampled_from([1, 0, -1, None])), min_size=1, max_size=4)


@given(st.lists(rated, min_size=1, max_size=6), st.data())
def test_every_rating_is_trained_on_exactly_once(ratings: list, data: st.DataObject) -> None:
    """Whatever was chosen: each rated completion up to the end of the solution has one label."""
    steps = [step(*many, chosen=data.draw(st.integers(0, len(many) - 1))) for many in ratings]
    made = record(*steps)
    completions = [c for s in prm800k.parse_record(made, "w").steps for c in s.completions]
    expected = sum(len(c.blocks) for c in completions if c.rating is not None)
    rows = prm(made)
    labels = sum(label is not None for _, marks in rows for label in marks)
    # What was cut after "Mr." is one step of two ratings.
    glued = sum(block.endswith(prm800k.TITLES) for c in completions for block in c.blocks)
    assert expected - glued <= labels <= expected
    assert all(len(texts) == len(marks) for texts, marks in rows)


def test_math_shepherd_by_hand() -> None:
    assert math_shepherd.parse_record(MARKED, "w") == (
        "How many?",
        ["We add.", "So 1 + 1 = 2.", "# Answer\n\n2"],
        [True, False, False],
    )


@pytest.mark.parametrize(
    "change",
    [
        {"label": MARKED["label"].replace("+", "?", 1)},
        {"label": MARKED["label"][:20]},
        {"input": MARKED["input"].replace("ки", "")},
        {"input": MARKED["input"] + " more"},
        {"input": "How many? ки", "label": "How many? +"},
    ],
)
def test_malformed_math_shepherd_rows_are_seen(change: dict) -> None:
    assert math_shepherd.parse_record({**MARKED, **change}, "w") is None


def test_metamath_by_hand() -> None:
    response = "We add. Then $x = 2.$ So we stop.\n#### 2\nThe answer is: 2"
    row = {"type": "MATH_AnsAug", "original_question": "o?", "query": "q?", "response": response}
    parsed = metamath.parse_record(row, "w")
    assert parsed.question == "o?"
    assert metamath.sft_row("k", parsed) == {
        "id": "k",
        "prompt": PROMPT,
        "completion": "We add.\n\nThen $x = 2.$\n\nSo we stop.\n\n# Answer\n\n2",
    }
    assert metamath.sft_row("k", parsed._replace(response="No idea.")) is None
    del row["response"]
    with pytest.raises(InputError, match="w: no text under 'response'"):
        metamath.parse_record(row, "w")


def test_at_most_three_solutions_per_question_by_seed() -> None:
    queries = [(i, f"q{i % 10}") for i in range(80)]
    kept = metamath.limit_per_query(queries, 3, 0)
    assert len(kept) == 30
    assert {i % 10 for i in kept} == set(range(10))
    assert metamath.limit_per_query(iter(queries), 3, 0) == kept
    assert metamath.limit_per_query(queries, 3, 1) != kept
    assert metamath.limit_per_query(queries, 8, 0) == set(range(80))


def test_published_files_must_be_given(tmp_path: Path) -> None:
    index = QuestionIndex(write_small_split(tmp_path))
    with pytest.raises(InputError, match="--source prm800k needs the published files; give them"):
        PublishedRows([], index, SuperviseSettings(source="prm800k"))


def test_official_rows_by_hand() -> None:
    tuned = {"prompt": PROMPT + "A.\n\n", "completion": "B.\n\nC.\n\n# Answer\n\n5"}
    assert list(official_sft_rows(tuned)) == [
        {"input": "q?", "output_prefix": "A.", "output": "\n\nB.", "is_eos": False},
        {
            "input": "q?",
            "output_prefix": "A.\n\nB.",
            "output": "\n\nC.\n\n# Answer\n\n5",
            "is_eos": True,
        },
    ]
    row = {
        "prompt": PROMPT,
        "completions": ["A.", "B.", "# Answer\n\n5"],
        "labels": [None, True, False],
    }
    assert list(official_reward_rows(row)) == [
        {"input": "q?", "output_prefix": "A.\n\n", "output": "B.\n\n# Answer\n\n5", "label": 1}
    ]


def test_released_prm800k_records_are_all_accounted_for() -> None:
    """Six released records, counted by hand from the file."""
    rated, labels, sft = [], [], []
    for found in read_records(DATA / "published/prm800k.jsonl"):
        solution = prm800k.parse_record(found.row, found.where)
        completions = [c for s in solution.steps for c in s.completions]
        rated.append(sum(len(c.blocks) for c in completions if c.rating is not None))
        rows = list(prm800k.prm_rows("k", solution, "positive"))
        labels.append(sum(label is not None for row in rows for label in row["labels"]))
        sft.append(sum(1 for _ in prm800k.sft_rows("k", solution)))
    assert labels == rated == [16, 10, 17, 14, 13, 13]
    assert sft == [5, 5, 6, 4, 1, 1]


MARKED_SOLUTIONS = [
    (
        "Tom buys 3 pens for $2 each and a book for $7. How much does he pay?",
        ["The pens cost 3*2 = $<<3*2=6>>6.", "Altogether 6+7 = $<<6+7=13>>13."],
        "13",
        "++",
    ),
    (
        "Compute $1 + 2 + 3$.\n\n[asy]\ndraw((0,0)--(1,1));\n[/asy]",
        ["First $1 + 2 = 3$.", "Then $3 + 3 = 5$.", "So the sum is $5$."],
        "$5$",
        "+--",
    ),
    ("Let $x = \\frac{1}{2}$. Find $4x$.", ["We get $4x = 2$."], "2", "+"),
    (
        "What is Step by step? 2 + 2?",
        [f"We count to {i}." for i in range(1, 12)],
        "\\frac{8}{2}",
        "+++++++++-+",
    ),
]


def test_math_shepherd_rows_in_the_released_form() -> None:
    """Questions of several lines, formulas, calculator marks and numbers of two digits are kept."""
    for question, steps, answer, labels in MARKED_SOLUTIONS:
        ends = [""] * (len(steps) - 1) + [f" The answer is: {answer}"]
        text = "\n".join(
            f"Step {i}: {s}{e} @" for i, (s, e) in enumerate(zip(steps, ends, strict=True), 1)
        )
        marks = iter(labels)
        row = {
            "input": f"{question} {text}".replace("@", math_shepherd.STEP_MARK),
            "label": "".join(next(marks) if c == "@" else c for c in f"{question} {text}"),
            "task": "MATH",
        }
        expected = [label == "+" for label in labels]
        assert math_shepherd.parse_record(row, "w") == (
            question,
            [*steps, f"# Answer\n\n{answer}"],
            [*expected, expected[-1]],
        )
