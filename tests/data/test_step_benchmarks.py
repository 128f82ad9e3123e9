"""Rows of ProcessBench and PRMBench as they are published, and bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data import template
from e2h_cli.data.step_benchmarks import MarkedSolution, read_benchmark

PROCESS = {
    "id": "gsm8k-0", "generator": "some-model", "problem": "1 + 1 + 1?",
    "steps": ["1 + 1 = 2", "2 + 1 = 4"], "final_answer_correct": False, "label": 1,
}  # fmt: skip
PRM = {
    "original_question": "1 + 1?", "modified_question": "1 + 1 + 1?", "question": "1 + 1?",
    "original_process": ["1 + 1 = 2"], "modified_process": ["1 + 1 = 3", "3 + 1 = 4", "So 4."],
    "modified_steps": [1], "error_steps": [1, 2, 9], "reason": "", "idx": "redundency_7",
    "classification": "redundency",
}  # fmt: skip


def written(file: Path, *rows: dict[str, Any]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_rows_of_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = {**PROCESS, "id": "7", "label": -1.0}
    found = read_benchmark("processbench", written(tmp_path / "own.jsonl", PROCESS, other, PROCESS))
    assert [(s.id, s.group, s.wrong) for s in found] == [
        ("gsm8k/gsm8k-0", "gsm8k", (1,)), ("own/7", "own", ()),
    ]  # fmt: skip
    assert found[0].question == "1 + 1 + 1?"
    assert "1 of 3 rows repeat the id of another" in caplog.text

    (found,) = read_benchmark("prmbench", written(tmp_path / "prm.jsonl", PRM))
    # Steps are counted from 1, and there is no ninth.
    assert (found.id, found.group, found.wrong) == ("redundancy/redundency_7", "redundancy", (0, 1))
    assert (found.question, len(found.steps)) == ("1 + 1 + 1?", 3)


def test_a_folder_has_a_split_per_file(tmp_path: Path) -> None:
    (tmp_path / "math.json").write_text(json.dumps([{**PROCESS, "id": "a"}]))
    part = tmp_path / "data/mine-00000-of-00002.parquet"
    part.parent.mkdir()
    pq.write_table(pa.Table.from_pylist([{**PROCESS, "id": "b"}]), part)
    (tmp_path / "README.md").write_text("no data")
    found = read_benchmark("processbench", str(tmp_path))
    assert {(s.id, s.steps) for s in found} == {
        ("math/a", tuple(PROCESS["steps"])), ("mine/b", tuple(PROCESS["steps"])),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("processbench", {"label": 2}, "label 2 is no step"),
        ("processbench", {"label": True}, "label True is no step"),
        ("processbench", {"label": float("nan")}, "label nan is no step"),
        ("processbench", {"steps": "1 + 1 = 2"}, "no list of steps under 'steps'"),
        ("processbench", {"problem": None}, "no text under 'problem'"),
        ("prmbench", {"classification": "typo"}, "no category 'typo'"),
        ("prmbench", {"error_steps": [0]}, "error_steps [0] are no steps"),
        ("prmbench", {"error_steps": "1"}, "error_steps '1' are no steps"),
        ("prmbench", {"modified_process": []}, "no list of steps under 'modified_process'"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(
    tmp_path: Path, name: Any, change: dict[str, Any], words: str
) -> None:
    good = PROCESS if name == "processbench" else PRM
    file = written(tmp_path / "rows.jsonl", good, {**good, **change})
    with pytest.raises(InputError) as error:
        read_benchmark(name, file)
    assert error.value.where == f"{file}:2"
    assert words in error.value.problem


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.json, \.jsonl or \.parquet file"):
        read_benchmark("processbench", str(tmp_path))
    with pytest.raises(InputError, match="hf download Qwen/ProcessBench --repo-type dataset"):
        read_benchmark("processbench", "Qwen/ProcessBench")


def test_every_step_stays_one_step() -> None:
    steps = ("First\n\nand so on.", "  \n", "# Answer\n\n", "Step 2:\n# Answer\n4", "# Answer")
    solution = MarkedSolution("a", "math", "?", steps, ())
    parsed = template.parse(solution.text, finished=False)
    assert [step.text for step in parsed.steps] == [
        "First and so on.", "-", "Answer", "Step 2: # Answer 4", "Answer",
    ]  # fmt: skip
    assert all(step.separator_end is not None for step in parsed.steps)
