"""Random mistakes in recipes, run folders and command lines: one clear line, or the same numbers.

``pytest -s`` prints how often each outcome occurs. A failure names its seed.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import MINI, Done, e2h
from tests.mistakes import damaged_folder, edited_recipe, fresh, garbled_arguments, sentinels

FEW, MANY = range(20), range(20, 200)
SEEDS = [pytest.param(FEW, id="few"), pytest.param(MANY, marks=pytest.mark.slow, id="many")]
# A command that hangs fails the test instead.
SECONDS = 120
# Differ from run to run.
OWN = ("stage.json", "engines.jsonl", ".lock", ".lock-conditions")
COMMON = ("--recipe", str(MINI), "--run-dir", "run")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder to work in, beside one that no command may change."""
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "file").write_text("mine")
    (outside / "folder/file.jsonl").write_text("mine, too")
    (tmp_path / "work").mkdir()
    return tmp_path


@contextmanager
def time_limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError("this command hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def call(place: Path, *arguments: str | Path) -> Done:
    with time_limit():
        return e2h(*arguments, cwd=place / "work")


def complaints(done: Done) -> list[str]:
    """What is wrong with how a command ended: anything but success, or one line and its code."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode == 0:
        return [] if not lines else [f"exit 0 and {lines}"]
    found = []
    if done.returncode not in (1, 2) or len(lines) != 1 or not lines[0].startswith("error: "):
        found.append(f"exit {done.returncode}: {lines}")
    if done.stderr.startswith("error: unexpected ") or "Traceback" in done.stdout + done.stderr:
        found.append(done.stderr)
    if any(character in done.stdout + done.stderr for character in "\x00\x07\x1b"):
        found.append(f"control characters: {done.stderr!r}")
    return found


def outcome(done: Done) -> str:
    if done.returncode:
        return "refused" if done.returncode == 2 else "failed"
    anew = "made anew" in done.stdout or " done in " in done.stdout
    return "made anew" if anew else "up to date"


def judged(done: Done, place: Path, before: object, counts: Counter[str]) -> list[str]:
    """Count the outcome; what is wrong with it, and with the files around the run folder."""
    counts[outcome(done)] += 1
    wrong = complaints(done)
    if sentinels(place / "outside") != before:
        wrong.append("files outside of the run folder were changed")
    return wrong


def report(what: str, counts: Counter[str], failures: list[str]) -> None:
    print(f"\n{what}: " + ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("seeds", SEEDS)
def test_recipes(seeds: range, place: Path, mini_run: Path) -> None:
    """Every tenth one runs a few stages, the others the split."""
    text = MINI.read_text()
    counts: Counter[str] = Counter()
    failures: list[str] = []
    recipe = place / "recipe.yaml"
    before = sentinels(place / "outside")
    for seed in seeds:
        edited, what = edited_recipe(text, random.Random(f"recipe {seed}"))
        recipe.write_bytes(edited.encode("utf-8", "surrogatepass"))
        work = fresh(place / "work")
        if far := seed % 10 == 5:
            shutil.copytree(mini_run, work / "run")
        last = () if far else ("--until", "split")
        done = call(place, "run", recipe, "--run-dir", "run", *last)
        wrong = judged(done, place, before, counts)
        if beside := {p.name for p in work.iterdir()} - {"run"}:
            wrong.append(f"files beside the run folder: {sorted(beside)}")
        failures += [f"{seed} ({what}): {one}" for one in wrong]
    report("recipes", counts, failures)


def content(file: Path) -> object:
    return pq.read_table(file).to_pylist() if file.suffix == ".parquet" else file.read_bytes()


def differences(run: Path, mini_run: Path, folders: tuple[str, ...]) -> list[str]:
    """Files of stages, and the results, that are not those of the run that nothing happened to."""
    names = [
        file.relative_to(mini_run)
        for folder in folders
        for file in sorted((mini_run / folder).rglob("*") if folder else mini_run.glob("*.*"))
        if file.is_file() and file.name not in OWN
    ]
    return [
        f"exit 0, but {name} differs"
        for name in names
        if not (run / name).is_file() or content(run / name) != content(mini_run / name)
    ]


# Commands, and the folders whose content they answer for; "" is the run folder itself.
CHECKED = {
    ("run", str(MINI), "--run-dir", "run"): (
        "", "split", "pretrain", "sft", "rm-samples", "supervise", "train-rm", "sample", "greedy",
        "rerank", "eval",
    ),
    ("rerank", *COMMON): ("rerank",),
    ("eval", *COMMON): ("eval", ""),
    ("sample", *COMMON): ("sample",),
    ("split", *COMMON): ("split",),
    ("rerank", *COMMON, "--force"): ("rerank",),
    ("eval", *COMMON, "--force"): ("eval", ""),
}  # fmt: skip


@pytest.mark.parametrize("seeds", SEEDS)
def test_run_folders(seeds: range, place: Path, mini_run: Path) -> None:
    """After damage a command refuses, or what it leaves is what the untouched run has."""
    counts: Counter[str] = Counter()
    failures: list[str] = []
    before = sentinels(place / "outside")
    for seed in seeds:
        rng = random.Random(f"folder {seed}")
        work = fresh(place / "work")
        shutil.copytree(mini_run, work / "run")
        what = damaged_folder(work / "run", place / "outside/file", rng)
        arguments, folders = rng.choice(list(CHECKED.items()))
        done = call(place, *arguments)
        wrong = judged(done, place, before, counts)
        if done.returncode == 0:
            wrong += differences(work / "run", mini_run, folders)
        failures += [f"{seed} ({what}; {' '.join(arguments[:1])}): {one}" for one in wrong]
    report("run folders", counts, failures)


LINES = (
    ("split", *COMMON, "--max-level", "3", "--validation-size", "10"),
    ("sample", *COMMON, "--n", "8", "--top-k", "20", "--no-make-inputs", "--problems", "split"),
    ("sft", *COMMON, "--no-make-inputs", "--epochs", "1", "--model", "pretrain"),
    ("train-rm", *COMMON, "--no-make-inputs", "--kind", "prm", "--rows", "supervise"),
    ("rerank", *COMMON, "--no-make-inputs", "--method", "all", "--ks", "1,2,4", "--force"),
    ("rerank", *COMMON, "--import", "qwen", "pairs.jsonl", "--grader", "exact", "--force"),
    ("eval", *COMMON, "--no-make-inputs", "--confidence", "0.9", "--samples", "greedy", "--force"),
    ("run", str(MINI), "--run-dir", "run", "--scale", "tiny", "--until", "split"),
    ("grade", "--in", "pairs.jsonl", "--out", "v.jsonl", "--grader", "exact", "--timeout", "5"),
    ("grade", "--in", "pairs.jsonl", "--out", "v.jsonl", "--grader", "prm800k"),
)


@pytest.mark.parametrize("seeds", SEEDS)
def test_command_lines(seeds: range, place: Path, mini_run: Path) -> None:
    counts: Counter[str] = Counter()
    failures: list[str] = []
    before = sentinels(place / "outside")
    for seed in seeds:
        rng = random.Random(f"line {seed}")
        work = fresh(place / "work")
        shutil.copytree(mini_run, work / "run")
        (work / "file").write_text("a file")
        (work / "pairs.jsonl").write_text('{"gold": "1", "pred": "1"}\n')
        (work / "folder").mkdir()
        arguments = garbled_arguments(rng.choice(LINES), rng)
        done = call(place, *arguments)
        wrong = judged(done, place, before, counts)
        failures += [f"{seed} ({arguments!r}): {one}" for one in wrong]
    report("command lines", counts, failures)
