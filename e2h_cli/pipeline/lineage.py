"""What the training behind a stage has seen, by the records of all stages that it was made from.

Stages that read problems for training record the levels of what they read as ``seen`` in
``stage.json``. Nothing is inferred from the last stage alone, or from names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

from e2h_cli.data.problem import Problem
from e2h_cli.pipeline.iteration import made_by
from e2h_cli.pipeline.run_folder import StageFolder
from e2h_cli.reports.spec import REWARD_FACETS

SEEN = "seen"
ReadsHard = Literal["train", "choice", "unknown", "no"]

# Commands whose record tells what they read. The others learn from their inputs alone.
_RECORDING = ("pretrain", "sft", "supervise", "rl")
# Inputs of problems; what a stage read of them stands in its own record.
_PROBLEMS = ("problems", "data")


@dataclass(frozen=True, slots=True)
class Lineage:
    """What the training of a stage, and of everything behind it, has seen.

    Attributes:
        seen: levels of the problems by what was seen of them: "questions" whose solutions were
            trained on; "labels" of steps and outcomes, and reference solutions; gold "answers";
            "choice", gold answers that chose a checkpoint; "documents" of pre-training. Level 0 is
            a problem without a level.
        bases: models that training started from, and whose own training is not recorded.
        unknown: other inputs of which nothing is known.
        tags: those of the recipe; of two with one key the nearer stage's, then the first input's.
        stages: folders of all stages, each after those that it was made from.
    """

    seen: dict[str, frozenset[int]]
    bases: frozenset[str]
    unknown: frozenset[str]
    tags: dict[str, str]
    stages: tuple[Path, ...]

    def levels(self, *kinds: str) -> frozenset[int]:
        """Levels of these kinds together."""
        return frozenset().union(*(self.seen.get(kind, ()) for kind in kinds))

    @property
    def answers_seen(self) -> frozenset[int]:
        """Levels of all labels and gold answers that were used."""
        return self.levels("labels", "answers", "choice")

    def reads_hard_answers(self, max_level: int) -> ReadsHard:
        """Whether labels or gold answers above ``max_level`` were used, and what for."""
        if max(self.levels("labels", "answers"), default=0) > max_level:
            return "train"
        if max(self.answers_seen, default=0) > max_level:
            return "choice"
        return "unknown" if self.unknown or 0 in self.answers_seen else "no"


def seen_levels(**problems: Iterable[Problem]) -> dict[str, list[int]]:
    """The entry ``seen`` of a record: kind -> levels of these problems."""
    return {kind: sorted({p.level for p in read}) for kind, read in problems.items()}


def seen_in_rows(
    rows: Iterable[Mapping[str, Any]], problems: Iterable[Problem]
) -> dict[str, list[int]]:
    """The entry ``seen`` of rows with labels or solutions of some of these problems, by ``id``."""
    ids = {row["id"] for row in rows}
    used = [problem for problem in problems if problem.id in ids]
    return seen_levels(questions=used, labels=used, answers=used)


def level_range(levels: Iterable[int]) -> str:
    """``levels 1-3``, ``level 5`` or ``levels 1, 3``."""
    ordered = sorted(levels)
    if len(ordered) > 1 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"levels {ordered[0]}-{ordered[-1]}"
    return f"level{'s' * (len(ordered) > 1)} {', '.join(map(str, ordered))}"


def lineage_of(stage: Path) -> Lineage:
    """The lineage of a stage's folder."""
    walk = _Walk()
    walk.visit(stage)
    return walk.result


def facets_of(stage: Path, max_level: int) -> dict[str, str]:
    """Facets of a sample or rerank stage in tables, by the tags of the stages behind it.

    Those of the generator and of its samples, but not of a reward model that it learned from;
    ``reward_model`` and ``reward_size`` of the scores; and ``reads_hard``: whether the generator or
    the reward model used answers above ``max_level``.
    """
    votes = StageFolder(stage).record.get("command") == "rerank"
    generator = lineage_of_input(stage, "samples") if votes else lineage_of(stage)
    facets = {key: tag for key, tag in generator.tags.items() if key not in REWARD_FACETS}
    reads = [generator.reads_hard_answers(max_level)]
    if votes and input_path(stage, "reward_model") is not None:
        reward = lineage_of_input(stage, "reward_model")
        facets |= {key: tag for key, tag in reward.tags.items() if key in REWARD_FACETS}
        reads.append(reward.reads_hard_answers(max_level))
    order: list[ReadsHard] = ["train", "choice", "unknown", "no"]
    return {**facets, "reads_hard": min(reads, key=order.index)}


def lineage_of_input(stage: Path, name: str) -> Lineage:
    """The lineage of one input of a stage."""
    walk = _Walk()
    walk.visit(*walk.made_from(stage, StageFolder(stage).record, name))
    return walk.result


class _Walk:
    """Collects what the stages behind a stage have seen."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, set[int]] = defaultdict(set)
        self._bases: set[str] = set()
        self._unknown: set[str] = set()
        self._tags: dict[str, str] = {}
        self._visited: dict[Path, list[Path]] = {}

    @property
    def result(self) -> Lineage:
        seen = {kind: frozenset(levels) for kind, levels in self._seen.items() if levels}
        names = frozenset(self._bases), frozenset(self._unknown)
        order = TopologicalSorter(self._visited).static_order()
        return Lineage(seen, *names, self._tags, tuple(order))

    def visit(self, *stages: Path) -> None:
        """Visit stages and what they are made from, the nearest first."""
        queue = list(stages)
        for stage in queue:
            if stage in self._visited:
                continue
            self._visited[stage] = []
            record = StageFolder(stage).record
            seen = record.get("counts", {}).get(SEEN)
            inputs = [name for name, given in record.get("inputs", {}).items() if given]
            if seen is None and record.get("command") in _RECORDING and "rows" not in inputs:
                self._unknown.add(stage.name)
            for kind, levels in (seen or {}).items():
                self._seen[kind].update(levels)
            self._tags = record.get("tags", {}) | self._tags
            for name in inputs:
                self._visited[stage] += self.made_from(stage, record, name)
            queue += self._visited[stage]

    def made_from(self, stage: Path, record: Mapping[str, Any], name: str) -> Iterator[Path]:
        """The stages behind an input. What is known of no stage is noted, but for problems."""
        for given in record.get("inputs", {}).get(name, []):
            maker, ending = made_by(_resolve(stage, given))
            made = maker.record
            # A stage that was made anew since is not what this one was made from.
            if made and made.get("fingerprint", "") + ending == given["fingerprint"]:
                yield maker.path
            elif not made and name == "model":
                self._bases.add(given["path"])
            elif name not in _PROBLEMS:
                self._unknown.add(given["path"])


def input_path(stage: Path, name: str) -> Path | None:
    """The path of an input of a stage folder, or None where the record names none."""
    recorded = StageFolder(stage).record.get("inputs", {}).get(name)
    return _resolve(stage, recorded[0]) if recorded else None


def input_record(stage: Path, name: str) -> dict[str, Any]:
    """The record of the stage that made an input; empty where that is not known."""
    path = input_path(stage, name)
    return {} if path is None else made_by(path)[0].record


def _resolve(stage: Path, given: dict[str, str]) -> Path:
    # A stage of the same run is recorded by its name, anything else by its path or Hub name.
    same_run = stage.parent / given["path"]
    return same_run if same_run.is_dir() else Path(given["path"])
