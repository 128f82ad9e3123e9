"""``e2h supervise``: published data to training rows, with every record accounted for."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from e2h_cli.common.parquet_store import SAMPLE_SCHEMA
from e2h_cli.pipeline.lineage import lineage_of
from tests.conftest import MINI, Cli, copy_stages, e2h
from tests.data.published_records import MARKED, RATED, write_small_split


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write_small_split(tmp_path / "split")


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
    records = [{**RATED, "question": {"problem": q}} for q in questions]
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


def test_near_duplicates_of_held_out_problems_are_reported(
    cli: Cli, split: Path, tmp_path: Path
) -> None:
    near = "A train goes 3 miles in 5 hours. How far does it go in 9 hours?"
    held_out = near.replace("9", "8")
    questions = [near, near.upper(), held_out, "How much is one and one?"]
    records = [{**RATED, "question": {"problem": q}} for q in questions]
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps(r) for r in records))
    rows, counts = supervise(
        cli, split, "--source", "prm800k", "--data", "data.jsonl", "--unknown-levels", "keep"
    )
    assert rows["near-duplicates"] == [
        {"question": near, "id": "validation-1", "problem": held_out, "similarity": 0.647}
    ]
    assert counts["rows"]["near-duplicates"] == 1
    assert {row["id"] for row in rows["prm"]} == {"prm800k/0", "prm800k/1", "easy-0"}


def own_samples(tmp_path: Path, cli: Cli, texts: list[str], *options: str) -> dict[str, str]:
    """The files of rows of an easy problem's own samples, whose answer is 2."""
    problem = {"id": "p", "problem": "a3 b+4 c*6", "level": 1, "source": "chains", "answer": "2"}
    (tmp_path / "own.jsonl").write_text(json.dumps(problem))
    rows = [
        {"id": "p", "sample": i, "text": text, "answer": None, "finish_reason": "stop",
         "tokens": 1, "logprob": None}
        for i, text in enumerate(texts)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, SAMPLE_SCHEMA), tmp_path / "samples.parquet")
    done = cli(
        "supervise", "--run-dir", "run", "--problems", "own.jsonl", "--samples", "samples.parquet",
        "--grader", "exact", "--force", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    files = (tmp_path / "run/supervise").glob("*.jsonl")
    return {file.stem: file.read_text() for file in files}


def test_right_own_solutions_are_rows_to_fine_tune_on(cli: Cli, tmp_path: Path) -> None:
    right = [f"b=3+4=7\n\nc=7*6=2{' ' * i}\n\n# Answer\n\n2" for i in range(2)]
    other = ["b=3+4=8\n\nc=8*6=2\n\n# Answer\n\n2", "c=2\n\n# Answer\n\n2", "d=2\n\n# Answer\n\n2"]
    wrong = "b=3+4=8\n\n# Answer\n\n8"
    files = own_samples(tmp_path, cli, [*right, wrong, "b=3+4=7"])
    prompt = r"# Question\n\na3 b+4 c*6\n\n# Solution\n\n"
    # Two samples that differ in white space are one row.
    assert files["sft"] == (
        f'{{"id": "p", "prompt": "{prompt}", '
        r'"completion": "b=3+4=7\n\nc=7*6=2\n\n# Answer\n\n2"}' + "\n"
    )
    # Labelled rows are as they were.
    head = f'{{"id": "p", "prompt": "{prompt}", "completions": '
    answers = r'"# Answer\n\n2"', r'"# Answer\n\n8"'
    assert files["prm"].splitlines() == [
        *2 * [f'{head}["b=3+4=7", "c=7*6=2", {answers[0]}], "labels": [true, true, true]}}'],
        f'{head}["b=3+4=8", {answers[1]}], "labels": [false, false]}}',
    ]
    assert files["orm"].count("\n") == 3
    drawn = [own_samples(tmp_path, cli, [*right, *other, wrong], "--seed", str(s))["sft"]
             for s in range(4)]  # fmt: skip
    assert {rows.count("\n") for rows in drawn} == {3}
    assert len(set(drawn)) > 1
    many = own_samples(tmp_path, cli, [*right, *other, wrong], "--max-solutions", "9")
    assert many["sft"].count("\n") == 4


def test_a_generator_is_fine_tuned_on_its_own_right_solutions(
    mini_run: Path, tmp_path: Path
) -> None:
    run = copy_stages(mini_run, tmp_path / "run", "split", "pretrain", "rm-samples", "supervise")
    common = ("--recipe", MINI, "--run-dir", run, "--rows", "supervise", "--max-steps", "1")
    done = e2h("sft", *common, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    count = sum(1 for _ in (run / "supervise/sft.jsonl").open())
    assert count > 0
    assert f"{count:,} rows" in done.stdout
    assert lineage_of(run / "sft").levels("answers") <= {1, 2, 3}
    assert lineage_of(run / "sft").reads_hard_answers(3) == "no"
