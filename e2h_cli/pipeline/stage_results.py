"""Accuracies that other stages of the run have measured of a stage, for its card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2h_cli.evaluation.voting import BEST_AGGREGATE
from e2h_cli.pipeline.run_folder import StageFolder
from e2h_cli.reports.result_files import RESULTS, read_results
from e2h_cli.reports.results import MAIN_GROUPS
from e2h_cli.reports.tidy_metrics import METRICS, read_metrics

# Commands that make the generators, and inputs that name a stage that is measured.
_SUBJECTS = {"sample": ("model",), "rerank": ("samples", "reward_model", "imported")}


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Mean accuracy over a group of problems in percent, with its interval over problems.

    ``samples``: the sample or rerank stage that was measured.
    """

    samples: str
    group: str
    method: str
    n: int
    value: float
    low: float
    high: float
    problems: int
    grader: str


def accuracies_of(stage: StageFolder) -> list[Accuracy]:
    """Accuracies at the largest N, of greedy decoding at 1: of easy, hard and all problems.

    Of the samples of a generator and the votes on them, of the votes with a reward model, of
    samples themselves, of a rerank or eval stage its own. Read from finished rerank and eval
    stages of the same run whose inputs are what they were.
    """
    others = list(_finished(stage.path.parent))
    if stage.record["command"] == "eval":
        return _largest_n(_of_eval(stage, None))
    subjects = {stage.path.name: stage}
    for command in ("sample", "rerank"):
        for other in others:
            if other.record["command"] == command and any(
                _reads(other, name, one)
                for name in _SUBJECTS[command]
                for one in [*subjects.values()]
            ):
                subjects[other.path.name] = other
    found: dict[tuple[Any, ...], Accuracy] = {}
    for one in subjects.values():
        if one.record["command"] == "rerank" and (one.path / RESULTS).is_file():
            for m in read_results(one.path).metrics:
                about = (one.path.name, m.group, _label(m.method, m.aggregate), m.n)
                if _is_main(m.method, m.aggregate):
                    found[about] = Accuracy(*about, m.accuracy, m.low, m.high, m.problems, m.grader)
    for other in others:
        if other.record["command"] == "eval":
            for accuracy in _of_eval(other, subjects):
                key = (accuracy.samples, accuracy.group, accuracy.method, accuracy.n)
                found.setdefault(key, accuracy)
    return _largest_n(found.values())


def _finished(run_dir: Path) -> Iterator[StageFolder]:
    for path in sorted(run_dir.iterdir()):
        folder = StageFolder(path)
        if path.is_dir() and folder.status == "finished":
            yield folder


def _reads(reader: StageFolder, name: str, stage: StageFolder) -> bool:
    """Whether an input of a stage is another one as it is now."""
    return any(
        Path(given["path"]).name == stage.path.name and given["fingerprint"] == stage.fingerprint
        for given in reader.record["inputs"].get(name, [])
    )


def _of_eval(stage: StageFolder, subjects: dict[str, StageFolder] | None) -> Iterator[Accuracy]:
    """Accuracies that an eval stage has measured, of all its inputs or of some stages."""
    if not (stage.path / METRICS).is_file():
        return
    for row in read_metrics(stage.path).rows:
        name = row["stage"]
        if subjects is not None:
            subject = subjects.get(name)
            if subject is None or not any(
                _reads(stage, given, subject) for given in ("samples", "votes")
            ):
                continue
        if row["metric"] == "accuracy" and row["n"] and _is_main(row["method"], row["aggregate"]):
            yield Accuracy(
                name, row["group"], _label(row["method"], row["aggregate"]), row["n"],
                row["value"], row["low"], row["high"], row["problems"], row["grader"],
            )  # fmt: skip


def _is_main(method: str, aggregate: str | None) -> bool:
    return method != "pass" and (aggregate or "") in ("", BEST_AGGREGATE.get(method, ""))


def _label(method: str, aggregate: str | None) -> str:
    return f"{method} ({aggregate})" if aggregate else method


def _largest_n(accuracies: Iterable[Accuracy]) -> list[Accuracy]:
    """Of each stage, group and method that at the largest N; in the order of the groups."""
    best: dict[tuple[str, str, str], Accuracy] = {}
    for one in accuracies:
        key = (one.samples, one.method, one.group)
        if one.group in MAIN_GROUPS and (key not in best or one.n > best[key].n):
            best[key] = one
    return sorted(best.values(), key=lambda a: (a.samples, MAIN_GROUPS.index(a.group), a.method))
