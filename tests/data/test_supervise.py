"""``e2h supervise``: published data to training rows, with every row accounted for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2h_cli.common.errors import InputError
from e2h_cli.data import math_shepherd, metamath, official_format, prm800k
from e2h_cli.data.decontamination import Near, Questions
from e2h_cli.data.external_rows import read_records
from e2h_cli.data.problem import Problem, read
from e2h_cli.data.problem import write as write_problems
from e2h_cli.data.seen import Seen
from tests.conftest import Cli

PROMPT = "# Question\n\nq?\n\n# Solution\n\n"


def step(*rated: tuple[str, int | None], chosen: int | None = 0, human: str | None = None) -> dict:
    return {
        "completions": [{"text": t, "rating": r, "flagged": False} for t, r in rated],
        "human_completion": None if human is None else {"text": human, "rating": None},
        "chosen_completion": chosen,
    }  # fmt: skip


def record(*steps: dict, question: str = "q?") -> dict:
    return {"question": {"problem": question}, "label": {"steps": list(steps)}}


WALK = record(
    step(("One.", 1), ("Uno.", 1), ("Eins.", -1)),
    step(("Two.", 0)),
    step(("Wrong.", -1), ("Bad.", -1), chosen=None, human="Three."),
    step(("Four.", 1)),
    step(("Five.\n\n# Answer\n\n5", 1), ("# Answer\n\n6", -1), ("Unrated.", None)),
)


def prm(walk: dict, neutral: Any = "positive") -> list[tuple[list[str], list[bool | None]]]:
    rows = prm800k.prm_rows("k", walk, neutral, "w")
    return [(row["completions"], row["labels"]) for row in rows]


def test_prm800k_reward_rows_by_hand() -> None:
    path = ["One.", "Two.", "Three.", "Four."]
    assert prm(WALK) == [
        (["Uno."], [True]),
        (["Eins."], [False]),
        (["One.", "Two.", "Wrong."], [None, None, False]),
        (["One.", "Two.", "Bad."], [None, None, False]),
        ([*path, "# Answer\n\n6"], [None, None, None, None, False]),
        ([*path, "Five.", "# Answer\n\n5"], [True, True, None, True, True, True]),
    ]
    assert prm(WALK, "negative")[-1][1] == [True, False, None, True, True, True]
    assert prm(WALK, "unlabelled")[-1][1] == [True, None, None, True, True, True]


def test_prm800k_tuning_rows_by_hand() -> None:
    """Only +1 is trained on; what stands between is part of the prompt."""
    rows = [(r["prompt"], r["completion"]) for r in prm800k.sft_rows("k", WALK, "w")]
    before = PROMPT + "One.\n\nTwo.\n\nThree.\n\n"
    assert rows == [
        (PROMPT, "Uno."),
        (PROMPT, "One."),
        (before, "Four.\n\nFive.\n\n# Answer\n\n5"),
    ]


def test_a_walk_ends_where_nobody_went_on() -> None:
    two = record(step(("A.", -1), ("B.", 1), chosen=None), step(("never reached", 1)))
    assert prm(two) == [(["A."], [False]), (["B."], [True])]
    only = record(step(("A.", -1), chosen=None), step(("B.", 1)))
    assert prm(only) == [(["A.", "B."], [False, True])]


def test_a_title_ends_no_step() -> None:
    walk = record(step(("We ask Mr.", 1)), step(("Jones.", 1), ("Smith.", -1)))
    assert prm(walk) == [(["We ask Mr. Smith."], [False]), (["We ask Mr. Jones."], [True])]


@pytest.mark.parametrize("bad", [{}, {"question": {"problem": "q"}, "label": {"steps": [{}]}}])
def test_what_is_no_prm800k_is_said(bad: dict) -> None:
    with pytest.raises(InputError, match="file:3: not a record of PRM800K"):
        prm800k.walk(bad, "file:3")


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=30)
rated = st.lists(st.tuples(texts, st.sampled_from([1, 0, -1, None])), min_size=1, max_size=4)


@given(st.lists(rated, min_size=1, max_size=6), st.data())
def test_every_rating_is_trained_on_exactly_once(walk: list, data: st.DataObject) -> None:
    """Whatever was chosen: each rated completion up to the end of the walk has one label."""
    steps = [step(*many, chosen=data.draw(st.integers(0, len(many) - 1))) for many in walk]
    made = record(*steps)
    _, places = prm800k.walk(made, "w")
    expected = sum(
        len(piece.blocks) for pieces, _ in places for piece in pieces if piece.rating is not None
    )
    rows = prm(made)
    labels = sum(label is not None for _, marks in rows for label in marks)
    # What was cut after "Mr." is one step of two ratings.
    glued = sum(block.endswith(prm800k.TITLES) for p, _ in places for x in p for block in x.blocks)
    assert expected - glued <= labels <= expected
    assert all(len(texts) == len(marks) for texts, marks in rows)


MARKED = {
    "input": "How many? Step 1: We add. ки\nStep 2: So 1 + 1 = 2. The answer is: 2 ки",
    "label": "How many? Step 1: We add. +\nStep 2: So 1 + 1 = 2. The answer is: 2 -",
    "task": "MATH",
}


def test_math_shepherd_by_hand() -> None:
    assert math_shepherd.parse(MARKED, "w") == (
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
    assert math_shepherd.parse({**MARKED, **change}, "w") is None


def test_metamath_by_hand() -> None:
    row = {
        "query": "q?",
        "response": "We add. Then $x = 2.$ So we stop.\n#### 2\nThe answer is: 2",
    }
    assert metamath.sft_row("k", row, "w") == {
        "id": "k",
        "prompt": PROMPT,
        "completion": "We add.\n\nThen $x = 2.$\n\nSo we stop.\n\n# Answer\n\n2",
    }
    assert metamath.sft_row("k", {"query": "q?", "response": "No idea."}, "w") is None
    with pytest.raises(InputError, match="w: no text under 'response'"):
        metamath.sft_row("k", {"query": "q?"}, "w")


def test_at_most_three_solutions_per_question_by_seed() -> None:
    queries = [(i, f"q{i % 10}") for i in range(80)]
    kept = metamath.chosen(queries, 3, 0)
    assert len(kept) == 30
    assert {i % 10 for i in kept} == set(range(10))
    assert kept == metamath.chosen(iter(queries), 3, 0) != metamath.chosen(queries, 3, 1)
    assert metamath.chosen(queries, 8, 0) == set(range(80))


def test_official_rows_by_hand() -> None:
    tuned = {"prompt": PROMPT + "A.\n\n", "completion": "B.\n\nC.\n\n# Answer\n\n5"}
    assert list(official_format.sft(tuned)) == [
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
    assert list(official_format.reward(row)) == [
        {"input": "q?", "output_prefix": "A.\n\n", "output": "B.\n\n# Answer\n\n5", "label": 1}
    ]


def test_near_duplicates_are_found_and_others_not() -> None:
    base = "A train travels 60 miles in 2 hours and then rests. How far does it go in 5 hours?"
    near = Near([Problem("p", base, 1, "s", "t"), Problem("o", "What is 2 + 2?", 1, "s", "t")])
    found = near.find(base.replace("5 hours", "7 hours"))
    assert found is not None
    assert found[0].id == "p"
    assert 0.6 <= found[1] < 1
    assert near.find("A completely different question about triangles and their areas.") is None


@given(st.lists(st.binary(max_size=3), max_size=400))
def test_what_was_seen_is_known_again(texts: list[bytes]) -> None:
    seen, known = Seen(), set()
    seen._table = seen._table[:8].copy()  # so that it must grow, and texts must share places
    for text in texts:
        assert seen.add(text) == (text not in known)
        known.add(text)


def test_records_of_every_form(tmp_path: Path) -> None:
    rows = [{"a": i, "text": 'é "]}, [{' * i} for i in range(5)]
    lines, array = tmp_path / "a.jsonl", tmp_path / "a.json"
    lines.write_text("\n".join(json.dumps(row) for row in rows))
    array.write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    for file in (lines, array):
        assert [row for _, row in read_records(str(file))] == rows
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train.jsonl").write_text(lines.read_text())
    array.write_text(json.dumps(rows)[:-8])
    with pytest.raises(InputError, match="not valid JSON after 4 rows"):
        list(read_records(str(array)))
    array.write_text("[1, 2]")
    with pytest.raises(InputError, match="row 1: not a JSON object"):
        list(read_records(str(array)))


def test_arrays_longer_than_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("e2h_cli.data.external_rows._CHUNK", 7)
    rows = [{"n": i, "s": "x" * i, "l": [i, [i]]} for i in range(30)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert [row for _, row in read_records(str(tmp_path / "a.json"))] == rows


@pytest.fixture
def split(tmp_path: Path) -> Path:
    folder = tmp_path / "split"
    questions = {
        "easy": ["How much is one and one?", "How many sides has a square of side two?"],
        "hard": ["Find the last digit of seven to the power of one hundred."],
        "validation": ["How much is two and two?"],
        "test": ["How much is three and three?"],
    }
    for part, many in questions.items():
        level = 5 if part == "hard" else 1
        problems = [Problem(f"{part}-{i}", q, level, "s", "math", "2") for i, q in enumerate(many)]
        write_problems(folder / f"{part}.jsonl", problems)
    return folder


def test_questions_find_their_part(split: Path) -> None:
    questions = Questions(split)
    assert questions.place("how much is ONE  and one?")[0] == "easy"
    assert questions.place("Find the first digit of seven.") == ("unknown", None)
    assert questions.place_by_prefix("How much is four and four?") == "easy"
    assert questions.place_by_prefix("Find the last digit of two.") == "hard"
    with pytest.raises(InputError, match="not a split"):
        Questions(split / "easy.jsonl")


def supervise(cli: Cli, split: Path, *options: str | Path) -> tuple[dict[str, list[dict]], dict]:
    done = cli("supervise", "--run-dir", "run", "--problems", split, "--force", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = split.parent / "run/supervise"
    rows = {f.stem: [json.loads(line) for line in f.open()] for f in folder.glob("*.jsonl")}
    return rows, json.loads((folder / "stage.json").read_text())["counts"]


def test_prm800k_from_the_command_line(cli: Cli, split: Path, tmp_path: Path) -> None:
    questions = [
        "How much is one and one?",
        "How much is one and one?",
        "Find the last digit of seven to the power of one hundred.",
        "How much is two and two?",
        "How much is three and three?",
        "A question that nobody knows the level of",
    ]
    records = [{**WALK, "question": {"problem": q}} for q in questions]
    file = tmp_path / "phase1.jsonl"
    file.write_text("\n".join(json.dumps(r) for r in records))
    rows, counts = supervise(cli, split, "--source", "prm800k", "--data", file, "--official")
    assert {name: len(many) for name, many in rows.items() if "official" not in name} == {
        "sft": 3, "prm": 6, "prm-validation": 6,
    }  # fmt: skip
    assert {row["id"] for row in rows["prm"]} == {"easy-0"}
    assert {row["id"] for row in rows["prm-validation"]} == {"validation-0"}
    assert counts["records"] == 6
    for reason in ("hard problems", "of test problems", "of unknown level"):
        assert counts[reason] == 1
    assert counts["rows"]["repeated rows"] == 9
    assert len(rows["official-prm"]) == 5 + 4
    assert all(row["label"] in (0, 1) for row in rows["official-prm"])
    hard, _ = supervise(cli, split, "--source", "prm800k", "--data", file, "--levels", "hard")
    assert "prm-validation" not in hard
    assert {row["id"] for row in hard["prm"]} == {"hard-0"}
    more, _ = supervise(
        cli, split, "--source", "prm800k", "--data", file, "--levels", "all", "--unknown-levels",
        "keep", "--neutral", "unlabelled",
    )  # fmt: skip
    assert {row["id"] for row in more["prm"]} == {"easy-0", "hard-0", "prm800k/5"}


def test_math_shepherd_and_metamath_from_the_command_line(
    cli: Cli, split: Path, tmp_path: Path
) -> None:
    def marked(question: str, task: str = "MATH") -> dict:
        return {k: v.replace("How many?", question) for k, v in MARKED.items()} | {"task": task}

    shepherd = [
        marked("How much is one and one?"), marked("How much is three and three?"),
        marked("Janet has two ducks. How many?", "GSM8K"), marked("How much is four and four?"),
        {**MARKED, "label": "torn"},
    ]  # fmt: skip
    file = tmp_path / "shepherd.jsonl"
    file.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in shepherd))
    rows, counts = supervise(cli, split, "--source", "math-shepherd", "--data", file)
    assert [row["id"] for row in rows["prm"]] == ["easy-0"]
    assert rows["prm"][0]["labels"] == [True, False, False]
    assert (counts["of GSM8K"], counts["malformed"]) == (1, 1)
    assert (counts["of test problems"], counts["of unknown level"]) == (1, 1)
    rows, _ = supervise(
        cli, split, "--source", "math-shepherd", "--data", file, "--match", "official"
    )
    assert [row["id"] for row in rows["prm"]] == ["easy-0", "math-shepherd/3"]

    response = "We add. We stop.\nThe answer is: 2"
    meta = [
        {
            "query": f"one and one? {i % 2}", "response": response.replace("add", f"add{i}"),
            "type": "MATH_Rephrased", "original_question": "How much is one and one?",
        }
        for i in range(10)
    ] + [
        {"query": "x", "response": response, "type": kind, "original_question": original}
        for kind, original in [
            ("GSM_AnsAug", "ducks"),
            ("MATH_AnsAug", "How much is three and three?"),
            ("MATH_AnsAug", "How much is two and two?"),
        ]
    ]  # fmt: skip
    array = tmp_path / "meta.json"
    array.write_text(json.dumps(meta))
    rows, counts = supervise(cli, split, "--source", "metamath", "--data", array)
    assert len(rows["sft"]) == 6
    assert counts["over the solutions per question"] == 4
    assert counts["of validation problems"] == 1
    kept, _ = supervise(cli, split, "--source", "metamath", "--data", array, "--gsm8k", "keep")
    assert len(kept["sft"]) == 7


def test_mistakes_are_one_line(cli: Cli, split: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"question": 1}\n')
    for options, message in [
        (("--source", "prm800k", "--data", "bad.jsonl"), "bad.jsonl:1: not a record of PRM800K"),
        (("--source", "metamath", "--data", "none.jsonl"), "no stage of this recipe, no file"),
    ]:
        done = cli("supervise", "--run-dir", "run", "--problems", split, "--force", *options)
        assert done.returncode == 2, done.stdout
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not list((tmp_path / "run/supervise").glob("*.jsonl"))


@pytest.fixture(scope="session")
def real_rows() -> Path:
    place = Path(os.environ.get("E2H_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (place / "prm800k").is_dir():
        pytest.skip(f"no rows of PRM800K in {place}; set E2H_DATA to a folder that has them")
    return place


def test_real_prm800k_rows_are_all_accounted_for(real_rows: Path) -> None:
    """Six released records, counted by hand from the file."""
    total = {"rated": 0, "labels": 0, "sft": 0}
    for where, row in read_records(str(real_rows / "prm800k/sample.jsonl")):
        _, places = prm800k.walk(row, where)
        for pieces, _ in places:
            total["rated"] += sum(len(p.blocks) for p in pieces if p.rating is not None)
        total["labels"] += sum(
            label is not None
            for made in prm800k.prm_rows("k", row, "positive", where)
            for label in made["labels"]
        )
        total["sft"] += sum(1 for _ in prm800k.sft_rows("k", row, where))
    assert total["labels"] == total["rated"] > 0
    assert total["sft"] >= 6


def test_real_math_shepherd_rows_are_all_read(real_rows: Path) -> None:
    file = real_rows / "math_shepherd/sample.jsonl"
    found = [math_shepherd.parse(row, where) for where, row in read_records(str(file))]
    assert len(found) == 7
    assert all(found)
    question, steps, labels = found[0] or ("", [], [])
    assert question.startswith("Janet pays $40/hour")
    assert question.endswith("in a year?")
    assert len(steps) == 6
    assert labels == [True, True, True, True, False, False]
    assert steps[-1] == "# Answer\n\n13520"


def test_no_test_problem_of_real_math_nearly_trains(math_data: Path) -> None:
    near = Near(read(math_data / "test.jsonl")[:200])
    train = read(math_data / "train.jsonl")[:1500]
    found = [pair for p in train if (pair := near.find(p.problem))]
    # MATH has families of questions; they are reported, not dropped.
    assert len(found) < 0.05 * len(train)
