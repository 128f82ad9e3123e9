"""``e2h split`` on real MATH."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from tests.conftest import Cli


def test_real_math_is_split_as_in_the_paper(cli: Cli, math_data: Path, tmp_path: Path) -> None:
    """500 test problems, and a validation set with their proportions by subject and level."""
    done = cli(
        "split", "--source", "math", "--data", math_data, "--validation-size", "100",
        "--run-dir", "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run/split"
    parts = {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").open()]
        for name in ("easy", "hard", "validation", "test")
    }
    levels = {name: Counter(row["level"] for row in rows) for name, rows in parts.items()}
    assert levels["test"] == {1: 43, 2: 90, 3: 105, 4: 128, 5: 134}
    assert levels["validation"] == {1: 8, 2: 18, 3: 21, 4: 27, 5: 26}
    assert levels["easy"].keys() == {1, 2, 3}
    assert levels["hard"].keys() == {4, 5}
    shape = {
        name: Counter((row["subject"], row["level"]) for row in parts[name])
        for name in ("test", "validation")
    }
    assert len(shape["test"]) == 35  # 7 subjects, 5 levels
    # Each stratum has its exact share of 100, rounded up or down.
    assert all(abs(shape["validation"][key] - n / 5) < 1 for key, n in shape["test"].items())
    assert shape["validation"].total() == 100
    counts = json.loads((folder / "stage.json").read_text())["counts"]
    assert (counts["test_easy"], counts["test_hard"]) == (238, 262)
    assert (counts["easy"], counts["hard"]) == (290, 310)
    assert counts["leaks"] == counts["repeats"] == []
    ids = [row["id"] for rows in parts.values() for row in rows]
    assert len(ids) == len({*ids}) == 1200
    assert all("answer" not in row and "solution" not in row for row in parts["hard"])
    info = json.loads((folder / "split.json").read_text())
    assert info == {
        "source": "math",
        "max_level": 3,
        "sizes": {"easy": 290, "hard": 310, "validation": 100, "test": 500},
    }
    assert re.search(r"\n\W*all\W+290\W+310\W+100\W+500\W", done.stdout)


def test_leaks_are_left_out_and_said(cli: Cli, tmp_path: Path) -> None:
    rows = [{"problem": f"What is {i} + 1?", "level": 1, "answer": "1"} for i in range(5)]
    train = [*rows, {**rows[0], "problem": "what is  0+1?"}, rows[3]]
    for name, problems in (("train", train), ("test", rows[:1])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, problems)))
    options = ("--source", "math", "--data", ".", "--validation-size", "0")
    done = cli("split", *options, "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    counts = json.loads((tmp_path / "run/split/stage.json").read_text())["counts"]
    assert counts["leaks"] == ["train/1", "train/6"]
    assert counts["repeats"] == ["train/7"]
    assert counts["easy"] == 4
    assert "2 training problems are also test problems: left out" in done.stdout
    assert "1 training problems were duplicates" in done.stdout
