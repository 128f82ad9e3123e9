"""Data sets by their names on the Hub: what files give, and one line without network.

The data sets lie in the library's cache, and the library is offline.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from e2h_cli.common.errors import InputError
from e2h_cli.data.decontamination import QuestionIndex
from e2h_cli.data.external_rows import read_file_or_hub
from e2h_cli.data.external_samples import import_samples
from e2h_cli.data.hub_data import load_data_set
from e2h_cli.data.published_rows import PublishedRows
from e2h_cli.data.sources import data_set_problems, math_problems
from e2h_cli.settings.supervise import SuperviseSettings
from tests.data.published_records import MARKED, RATED, write_small_split
from tests.hub_cache import cache_data_set

Cache = Callable[..., None]


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Puts a data set into an empty cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))

    def put(name: str, config: str = "default", **splits: list[dict[str, Any]]) -> None:
        cache_data_set(tmp_path / "cache", name, config, splits)

    return put


@pytest.mark.parametrize(
    ("source", "name", "record"),
    [
        ("prm800k", "tasksource/PRM800K", RATED),
        ("math-shepherd", "peiyi9979/Math-Shepherd", MARKED),
    ],
)
def test_published_labels_by_name_are_those_of_the_file(
    source: str, name: str, record: dict[str, Any], cached: Cache, tmp_path: Path
) -> None:
    question = "How much is one and one?"
    record = json.loads(json.dumps(record).replace("q?", question).replace("How many?", question))
    cached(name, train=[record, record])
    file = tmp_path / "published.jsonl"
    file.write_text(f"{json.dumps(record)}\n" * 2)
    index = QuestionIndex(write_small_split(tmp_path))
    settings = SuperviseSettings(source=source)
    by_name, by_file = ([*PublishedRows([one], index, settings)] for one in (name, str(file)))
    assert by_name == by_file
    assert len(by_name) > 1


def math_row(i: int, level: str = "Level 2", **more: str) -> dict[str, str]:
    solution = f"So \\boxed{{{i}}}."
    return {"problem": f"What is {i}?", "level": level, "solution": solution} | more


def test_math_by_name(cached: Cache) -> None:
    cached("nlile/hendrycks-MATH-benchmark", train=[math_row(1)], test=[math_row(2)])
    for name in (None, "nlile/hendrycks-MATH-benchmark"):
        train, test = math_problems(name)
        assert [(p.id, p.answer, p.level) for p in train] == [("train/0", "1", 2)]
        assert [p.answer for p in test] == ["2"]


def test_all_subjects_of_math_are_one_data_set(cached: Cache) -> None:
    subjects = (
        "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory",
        "prealgebra", "precalculus",
    )  # fmt: skip
    for i, subject in enumerate(subjects):
        rows = [math_row(i, type=subject), math_row(i + 10, "Level ?", type=subject)]
        cached("EleutherAI/hendrycks_math", subject, train=rows, test=[math_row(i + 20)])
    train, test = math_problems("EleutherAI/hendrycks_math")
    assert [p.id for p in train] == [f"{subject}/train/0" for subject in subjects]
    assert [p.subject for p in train] == [*subjects]
    assert len(test) == 7
    only, _ = math_problems("EleutherAI/hendrycks_math:geometry")
    assert [p.answer for p in only] == ["2"]


def test_a_data_set_with_a_test_split_alone_is_for_problems(cached: Cache) -> None:
    cached("HuggingFaceH4/MATH-500", test=[math_row(1, unique_id="test/algebra/1.json")])
    assert [p.id for p in data_set_problems("HuggingFaceH4/MATH-500")] == ["test/algebra/1.json"]
    with pytest.raises(InputError, match=r"MATH-500: data set has no train split; .*--problems"):
        math_problems("HuggingFaceH4/MATH-500")


def test_samples_by_name_are_those_of_the_file(cached: Cache, tmp_path: Path) -> None:
    row = {
        "problem": "What is 2?",
        "answer": "2",
        "level": 5,
        "completions": ["so \\boxed{2}", "so \\boxed{3}"],
        "scores": [[0.9, 0.8], [0.1]],
        "completion_tokens": [4, 5],
    }
    (tmp_path / "samples.jsonl").write_text(json.dumps(row))
    cached("owner/samples", "n-2--seed-0", train=[row])
    cached("owner/samples", "n-2--seed-1", train=[row, row])
    by_name = import_samples("search-and-learn", "owner/samples:n-2--seed-0")
    assert by_name == import_samples("search-and-learn", tmp_path / "samples.jsonl")
    with pytest.raises(InputError, match=r"owner/samples: .*n-2--seed-\d, n-2--seed-\d") as caught:
        import_samples("search-and-learn", "owner/samples")
    assert "give owner/samples:CONFIG" in caught.value.line
    # A folder with the files of one configuration.
    folder = tmp_path / "cache" / "made" / "samples" / "n-2--seed-0"
    assert import_samples("search-and-learn", folder) == by_name
    assert [record.number for record in read_file_or_hub(str(folder))] == [1]


@pytest.mark.parametrize("config", ["", ":seed-0"])
def test_without_network_one_line_says_what_to_fetch(cached: Cache, config: str) -> None:
    with pytest.raises(InputError) as caught:
        load_data_set(f"owner/samples{config}")
    include = " --include '*seed-0*'" * bool(config)
    assert "\n" not in caught.value.line
    assert caught.value.line.startswith(f"owner/samples{config}: cannot load this data set: ")
    assert f"(hf download owner/samples --repo-type dataset{include} --local-dir FOLDER)" in (
        caught.value.line
    )
    assert "give FOLDER or a file of it in place of the name" in caught.value.line
