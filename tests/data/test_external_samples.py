"""Files in the layouts of other projects, written here field by field as they write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2h_cli.common import parquet_store
from e2h_cli.common.errors import InputError
from e2h_cli.data.external_formats import ImportFormat
from e2h_cli.data.external_samples import LOWEST_SCORE, import_samples, match_problems
from e2h_cli.data.problem import Problem
from e2h_cli.evaluation.score_tables import aggregate_rows

QWEN = {
    "idx": 7,
    "question": "What is 1 + 2?",
    "gt_cot": "It is $\\boxed{3}$.",
    "gt": "3",
    "level": "Level 2",
    "type": "Algebra",
    "solution": "It is $\\boxed{3}$.",
    "code": ["So \\boxed{3}.", "So \\boxed{4}.", "Hm"],
    "pred": ["3", "4", ""],
    "report": [None, None, None],
    "score": [True, False, False],
    "pred_score": [[2.5], [-1.25], [0.5]],
}
LEARN = {
    "problem": "What is 1 + 2?",
    "solution": "It is $\\boxed{3}$.",
    "answer": "3",
    "subject": "Algebra",
    "level": 4,
    "unique_id": "test/algebra/1.json",
    "completions": ["1 + 2\n\nso \\boxed{\\frac{9}{3}}", "\\boxed{4}", "no idea"],
    "scores": [[0.5, 0.25], [0.75], [0.125]],
    "pred": "\\boxed{4}",
    "completion_tokens": [12, -1, 2],
}
FLOW = {
    "prompt": "What is 1 + 2?",
    "answers": ["1 + 2 = 3 ки\nThe answer is: 3 ки", "so \\boxed{4}", "so \\boxed{3}"],
    "label": [1, 0, 1],
    "step_scores": [[0.5, 0.25], [0.75], [0.125]],
}


def official(idx: int, sample: int, output: str, **more: Any) -> dict[str, Any]:
    prompt = f"# Question\n\nWhat is {idx} + 2?\n\n# Solution\n\n"
    return {"idx": idx, "sample_idx": sample, "prompt": prompt, "output": output, **more}


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    if file.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), file)
    elif file.suffix == ".json":
        file.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_qwen(tmp_path: Path) -> None:
    done = import_samples("qwen", write(tmp_path / "out.jsonl", [QWEN]))
    (problem,) = done.problems
    assert (problem.id, problem.level, problem.subject) == ("qwen/7", 2, "Algebra")
    assert (problem.problem, problem.answer) == ("What is 1 + 2?", "3")
    assert done.samples.schema == parquet_store.SAMPLE_SCHEMA
    assert done.samples["answer"].to_pylist() == ["3", "4", None]
    assert done.samples["sample"].to_pylist() == [0, 1, 2]
    assert done.samples["finish_reason"].to_pylist() == ["stop", "stop", "unknown"]
    assert done.scores is not None
    assert done.scores.schema == parquet_store.SCORE_SCHEMA
    assert done.scores["step_scores"].to_pylist() == [[], [], []]
    assert done.scores["outcome_score"].to_pylist() == [2.5, -1.25, 0.5]
    assert done.scale == "unknown"
    assert done.counts["samples without answer"] == 1


def test_qwen_without_reward_model_or_extracted_answers(tmp_path: Path) -> None:
    row = {key: QWEN[key] for key in ("idx", "question", "answer", "code") if key in QWEN}
    done = import_samples("qwen", write(tmp_path / "out.jsonl", [{**row, "answer": 3}]))
    assert done.scores is None
    assert done.samples["answer"].to_pylist() == ["3", "4", None]
    assert done.problems[0].answer == "3"
    assert (done.problems[0].level, done.problems[0].subject) == (0, "unknown")
    assert done.counts["problems without level"] == 1


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_search_and_learn_in_every_container(tmp_path: Path, suffix: str) -> None:
    done = import_samples("search-and-learn", write(tmp_path / f"data{suffix}", [LEARN]))
    (problem,) = done.problems
    assert (problem.id, problem.level, problem.answer) == ("test/algebra/1.json", 4, "3")
    assert done.samples["answer"].to_pylist() == ["\\frac{9}{3}", "4", None]
    assert done.samples["tokens"].to_pylist() == [12, None, 2]
    assert done.scores is not None
    assert done.scores["step_scores"].to_pylist() == [[0.5], [], []]
    assert done.scores["outcome_score"].to_pylist() == [0.25, 0.75, 0.125]
    assert done.scale == "probability"


def test_aggregates_are_those_of_the_file(tmp_path: Path) -> None:
    done = import_samples("search-and-learn", write(tmp_path / "data.jsonl", [LEARN]))
    assert done.scores is not None
    for how, expected in {"prod": [0.125, 0.75, 0.125], "mean": [0.375, 0.75, 0.125]}.items():
        np.testing.assert_allclose(aggregate_rows(done.scores, how)[:3], expected)


def test_scores_that_are_no_probabilities_are_called_unknown(tmp_path: Path) -> None:
    row = {**LEARN, "scores": [[0.5, 1.5], [0.75], [0.125]]}
    done = import_samples("search-and-learn", write(tmp_path / "data.jsonl", [row]))
    assert done.scale == "unknown"


def test_rlhflow_takes_the_gold_answer_from_the_labels(tmp_path: Path) -> None:
    hopeless = {**FLOW, "prompt": "And 2 + 2?", "label": [0, 0, 0]}
    done = import_samples("rlhflow", write(tmp_path / "save_data.jsonl", [FLOW, hopeless]))
    assert [p.id for p in done.problems] == ["rlhflow/1", "rlhflow/2"]
    assert [p.answer for p in done.problems] == ["3", None]
    assert done.samples["answer"].to_pylist()[:3] == ["3", "4", "3"]
    assert done.counts["problems without gold answer"] == 1
    assert done.scale == "probability"


def test_rlhflow_readme_spelling_of_labels(tmp_path: Path) -> None:
    row = {**{k: v for k, v in FLOW.items() if k != "label"}, "labels": [0, 1, 0]}
    done = import_samples("rlhflow", write(tmp_path / "save_data.jsonl", [row]))
    assert done.problems[0].answer == "4"


def test_official_is_ordered_and_padding_is_left_out(tmp_path: Path) -> None:
    rows = [
        official(1, 1, "a\n\n# Answer\n\n9", reward=[1.5, -2.0]),
        official(0, 0, "a\n\nb\n\n# Answer\n\n2", reward=[3.0, 0.5]),
        official(1, 1, "padding\n\n# Answer\n\n8", reward=[7.0]),
        official(1, 0, "# Answer\n\n3", reward=[]),
        official(0, 1, "a \\boxed{5}", reward=[0.25]),
    ]
    done = import_samples("official", write(tmp_path / "rewards.jsonl", rows))
    assert [p.id for p in done.problems] == ["official/0", "official/1"]
    assert done.problems[0].problem == "What is 0 + 2?"
    assert done.problems[0].answer is None
    assert done.samples["id"].to_pylist() == ["official/0"] * 2 + ["official/1"] * 2
    assert done.samples["sample"].to_pylist() == [0, 1, 0, 1]
    # Without "# Answer" there is no answer in this format, boxed or not.
    assert done.samples["answer"].to_pylist() == ["2", None, "3", "9"]
    assert done.scores is not None
    assert done.scores["sample"].to_pylist() == [0, 1, 0, 1]
    assert done.scores["step_scores"].to_pylist() == [[3.0], [], [], [1.5]]
    assert done.scores["outcome_score"].to_pylist() == [0.5, 0.25, LOWEST_SCORE, -2.0]
    assert done.scale == "logit"
    assert done.counts["repeated rows left out"] == 1
    assert done.counts["samples without score"] == 1


def test_official_before_scoring(tmp_path: Path) -> None:
    done = import_samples("official", write(tmp_path / "samples.jsonl", [official(0, 0, "a")]))
    assert done.scores is None


def test_an_unscored_sample_among_probabilities_gets_zero(tmp_path: Path) -> None:
    row = {**LEARN, "scores": [[], [0.75], [0.125]]}
    done = import_samples("search-and-learn", write(tmp_path / "data.jsonl", [row]))
    assert done.scores is not None
    assert done.scores["outcome_score"].to_pylist() == [0.0, 0.75, 0.125]
    for how in ("min", "prod", "last", "mean_logit"):
        assert aggregate_rows(done.scores, how)[:3].argmin() == 0


def test_half_characters_become_question_marks(tmp_path: Path) -> None:
    row = {**LEARN, "completions": ["cut \ud83d", "\\boxed{\ud83d}", "b"]}
    done = import_samples("search-and-learn", write(tmp_path / "data.jsonl", [row]))
    assert done.samples["text"].to_pylist()[0] == "cut ?"
    assert done.samples["answer"].to_pylist()[1] == "?"


def test_match_brings_ids_levels_and_gold_answers(tmp_path: Path) -> None:
    rows = [official(1, 0, "a", reward=[1.0]), official(0, 0, "b", reward=[2.0])]
    done = import_samples("official", write(tmp_path / "rewards.jsonl", rows))
    known = [
        Problem(f"test/{i}", f"What is  {i} + 2?", 3 + i, "Algebra", "math", str(i + 2))
        for i in range(3)
    ]
    matched = match_problems(done, known)
    assert matched.problems == known[:2]
    assert matched.samples["id"].to_pylist() == ["test/0", "test/1"]
    assert matched.samples["text"].to_pylist() == ["b", "a"]
    assert matched.scores is not None
    assert matched.scores["id"].to_pylist() == ["test/0", "test/1"]
    assert matched.scores.schema == parquet_store.SCORE_SCHEMA
    with pytest.raises(InputError, match=r"1 of 2 imported problems .*'official/1' first"):
        match_problems(done, known[:1])


def test_match_refuses_two_problems_with_one_question(tmp_path: Path) -> None:
    again = {**LEARN, "unique_id": "other"}
    done = import_samples("search-and-learn", write(tmp_path / "data.jsonl", [LEARN, again]))
    with pytest.raises(InputError, match="two imported problems"):
        match_problems(done, [Problem("x", LEARN["problem"], 1, "Algebra", "math", "3")])


@pytest.mark.parametrize(
    ("layout", "rows", "message"),
    [
        ("qwen", [{**QWEN, "code": None}], r":1: no list under 'code'"),
        ("qwen", [{**QWEN, "question": " "}], r":1: no text under 'question'"),
        ("qwen", [{**QWEN, "pred": ["3"]}], r":1: 1 entries under 'pred', but 3 solutions"),
        ("qwen", [{**QWEN, "code": ["a", 1, "b"]}], r":1: 'code' is not a list of texts"),
        ("qwen", [QWEN, QWEN], r":2: duplicate problem 'qwen/7'"),
        ("qwen", [QWEN, {**QWEN, "idx": 8, "pred_score": None}], r":2: some rows have scores"),
        ("qwen", [{**QWEN, "level": "hardish"}], r":1: level 'hardish' is not a number"),
        ("search-and-learn", [{**LEARN, "scores": [[0.5]]}], r":1: 1 entries under 'scores'"),
        (
            "search-and-learn",
            [{**LEARN, "scores": [[0.5], ["high"], [1]]}],
            r":1: scores of sample 1 are not finite numbers",
        ),
        (
            "search-and-learn",
            [{**LEARN, "scores": [[0.5], [1], [float("nan")]]}],
            r":1: scores of sample 2 are not finite numbers",
        ),
        ("rlhflow", [{**FLOW, "label": 1}], r":1: no list under 'label'"),
        ("official", [official(0, 0, "a", reward=0.5)], r":1: no list under 'reward'"),
        (
            "official",
            [{"idx": 0, "prompt": "a", "output": "b"}],
            r":1: no number under 'sample_idx",
        ),
        (
            "official",
            [official(0, 0, "a"), {**official(1, 0, "b"), "idx": 0}],
            r":2: problem 'official/0' has another question",
        ),
        ("official", [], "no rows"),
    ],
)
def test_bad_rows_are_named(
    tmp_path: Path, layout: ImportFormat, rows: list[dict[str, Any]], message: str
) -> None:
    file = write(tmp_path / "in.jsonl", rows)
    with pytest.raises(InputError, match=message) as caught:
        import_samples(layout, file)
    assert str(file) in caught.value.line
    assert "\n" not in caught.value.line


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"[{]", "not valid JSON"),
        ("a.json", b"[1]", "row 1: not a JSON object"),
        ("a.json", b"[]", "no rows"),
        ("a.jsonl", b"{}\n{", ":1: no list under 'code'"),
        ("a.jsonl", b"\xff\xfe", "cannot read|not UTF-8"),
        ("a.parquet", b"no parquet", "cannot read"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        import_samples("qwen", file)
    assert str(file) in caught.value.line


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        import_samples("qwen", tmp_path / "nowhere.jsonl")
