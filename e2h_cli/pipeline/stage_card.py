"""The card of a shared stage: what it is, how it was made, and what was measured of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from e2h_cli.common.files import read_json
from e2h_cli.data.hub_data import HUB_NAME
from e2h_cli.data.split_files import max_level
from e2h_cli.pipeline.lineage import Lineage, level_range, lineage_of
from e2h_cli.pipeline.recipe_file import Scale, scale_in_words
from e2h_cli.pipeline.run_folder import RunFolder, StageFolder
from e2h_cli.pipeline.stage_files import repo_type
from e2h_cli.pipeline.stage_history import commands, shown, stage_table
from e2h_cli.pipeline.stage_results import Accuracy, accuracies_of

_PAPER = (
    "[Easy-to-Hard Generalization](https://arxiv.org/abs/2403.09472) (Sun et al., NeurIPS 2024)"
)
_WHAT = {
    "pretrain": "a base language model, trained from random weights on solutions of chain "
    "arithmetic",
    "sft": "a generator: a language model fine-tuned to solve math problems step by step",
    "rl": "a generator: a language model trained by reinforcement learning to solve math problems",
    "split": "math problems, split by level into easy, hard, validation and test",
    "supervise": "training rows: labelled solutions of math problems",
    "sample": "solutions of math problems, sampled from a generator",
    "rerank": "scores of sampled solutions, and the answers that voting chose",
    "eval": "accuracies on math problems, with intervals and tests",
}
_REWARD_MODELS = {
    "prm": "a process reward model: it gives every step of a solution a probability of being right",
    "orm": "an outcome reward model: it gives a solution a probability of being right",
    "oprm": "a reward model of steps and outcomes: it gives every step and the whole solution a "
    "probability of being right",
}
# How the first sentence begins, and what the numbers are worth.
_SCALES = {
    "tiny": (
        "Of **tiny scale**, and no model or data of the paper",
        "Tiny scale is a toy setting that shows how the method works; its numbers say nothing "
        "about MATH or about models of a useful size.",
    ),
    "small": (
        "Of small scale",
        "The models of small scale are smaller than the paper's.",
    ),
    "paper": (
        "Of the scale of the paper, made anew",
        "It follows the settings of the paper, was made by `e2h`, and is not by its authors.",
    ),
    "own": (
        "Of own models or data, not those of the paper",
        "Its numbers do not compare with the paper's.",
    ),
}
_SOURCES = {"chains": "chain arithmetic", "math": "MATH"}
_SEEN = {
    "questions": "questions whose solutions were trained on",
    "labels": "labels of steps and outcomes, and reference solutions",
    "answers": "gold answers",
    "choice": "gold answers that chose a checkpoint",
    "documents": "documents of pre-training",
}
_TAGS = ("e2h", "easy-to-hard-generalization", "math")


@dataclass(frozen=True, slots=True)
class StageCard:
    """What the card of a stage is made of.

    Attributes:
        stage: its folder.
        repo: the name on the Hub.
        files: names of the shared files.
        license: an identifier of the Hub; empty where it is not known.
    """

    stage: StageFolder
    repo: str
    files: tuple[str, ...]
    license: str

    @property
    def text(self) -> str:
        """Metadata in YAML, and the card in Markdown."""
        lineage = lineage_of(self.stage.path)
        accuracies = accuracies_of(self.stage)
        parts = [
            self._head(),
            self._use(),
            stage_table(lineage),
            commands(self.stage.path, lineage),
            _seen(lineage),
            self._results(accuracies),
            self._limits(lineage),
            _versions(self.stage.record),
        ]
        return f"---\n{self._metadata(lineage, accuracies)}\n---\n\n" + "\n\n".join(parts) + "\n"

    @property
    def scale(self) -> Scale:
        """Scale of the run."""
        return cast("Scale", self._about.get("scale", "own"))

    @property
    def _about(self) -> dict[str, Any]:
        return RunFolder(self.stage.path.parent).about

    @property
    def _is_model(self) -> bool:
        return repo_type(self.stage.record["command"]) == "model"

    def _metadata(self, lineage: Lineage, accuracies: Iterable[Accuracy]) -> str:
        from huggingface_hub import DatasetCardData, EvalResult, ModelCardData

        record = self.stage.record
        tags = [*_TAGS, f"e2h-{record['command']}", f"{self.scale}-scale"]
        known: dict[str, Any] = {"language": "en", "tags": tags}
        if self.license:
            known["license"] = self.license
        if not self._is_model:
            configs = [
                {"config_name": _config_name(name), "data_files": name}
                for name in self.files
                if name.endswith((".jsonl", ".parquet"))
            ]
            if configs:
                known["configs"] = configs
            return DatasetCardData(**known).to_yaml()
        reward_model = record["command"] == "train-rm"
        known["library_name"] = "transformers"
        known["pipeline_tag"] = "token-classification" if reward_model else "text-generation"
        if bases := [name for name in lineage.bases if HUB_NAME.fullmatch(name)]:
            known["base_model"] = sorted(bases)
        if data := _hub_data(lineage):
            known["datasets"] = data
        task = _task(lineage)
        results = [
            EvalResult(
                task_type="text-generation",
                dataset_type=task.lower().replace(" ", "-"),
                dataset_name=f"{task}, {scale_in_words(self.scale)}",
                metric_type="accuracy",
                metric_name=f"{a.method}, {a.group} problems, N = {a.n} ({a.samples})",
                metric_value=round(a.value, 2),
            )
            for a in accuracies
        ]
        if results:
            known |= {"eval_results": results, "model_name": self._short_name}
        return ModelCardData(**known).to_yaml()

    @property
    def _short_name(self) -> str:
        return self.repo.rpartition("/")[2]

    def _head(self) -> str:
        record = self.stage.record
        what, (begin, worth) = _what(record), _SCALES[self.scale]
        scale = scale_in_words(self.scale)
        return (
            f"# {self._short_name} ({scale})\n\n"
            f"{begin}. {what[0].upper()}{what[1:]}. {worth}\n\n"
            f"Stage `{self.stage.path.name}` (`e2h {record['command']}`) of experiment "
            f"`{self._about.get('experiment', '')}`, recipe `{record.get('recipe', '')}`, {scale}, "
            f"seed {self._about.get('seed', 0)}. Made by `e2h`, which reproduces {_PAPER}."
        )

    def _use(self) -> str:
        command = self.stage.record["command"]
        if command == "train-rm":
            code = f"e2h rerank --reward-model {self.repo}"
        elif self._is_model:
            code = f"e2h sample --model {self.repo}"
        else:
            names = [_config_name(n) for n in self.files if n.endswith((".jsonl", ".parquet"))]
            loads = [f'load_dataset("{self.repo}", "{name}", split="train")' for name in names]
            code = "\n".join(["from datasets import load_dataset", "", *loads])
        return f"## Use\n\n```\n{code}\n```"

    def _results(self, accuracies: list[Accuracy]) -> str:
        tables = self.stage.path / "results.md"
        title = "## Results\n\n"
        seed = self._about.get("seed", 0)
        if not self._is_model and tables.is_file():
            text = re.sub(r"^## ", "### ", tables.read_text(encoding="utf-8"), flags=re.MULTILINE)
            return f"{title}One training run, seed {seed}.\n\n{text.strip()}"
        if not accuracies:
            return f"{title}No stage of this run has measured it."
        rows = [
            f"| {a.samples} | {a.group} | {a.method} | {a.n} | {a.value:.1f} | "
            f"{a.low:.1f} to {a.high:.1f} | {a.problems} |"
            for a in accuracies
        ]
        return (
            f"{title}Accuracy in percent at {scale_in_words(self.scale)}, "
            f"graded by {accuracies[0].grader}. One training run, seed {seed}: intervals are over "
            "problems, and say nothing about other trainings.\n\n"
            "| stage | problems | method | N | accuracy | interval | number |\n"
            "| --- | --- | --- | --- | --- | --- | --- |\n" + "\n".join(rows)
        )

    def _limits(self, lineage: Lineage) -> str:
        lines = [_SCALES[self.scale][1]]
        task = _task(lineage)
        if self._is_model and task == _SOURCES["chains"]:
            lines.append("It knows chain arithmetic only.")
        if self.stage.record["command"] == "train-rm":
            lines.append(
                "Its scores are probabilities for solutions as its training rows have them; for "
                "other wordings and longer solutions they are not calibrated."
            )
        elif self._is_model:
            lines.append("Its solutions are often wrong, and read as if they were right.")
        if lineage.bases:
            bases = ", ".join(map(shown, sorted(lineage.bases)))
            lines.append(f"It started from {bases}, of whose training nothing is recorded.")
        if not self.license:
            lines.append("No licence is stated: that of what it was made from is not known.")
        return "## Limitations\n\n" + "\n".join(f"* {line}" for line in lines)


def _what(record: Mapping[str, Any]) -> str:
    if record["command"] == "train-rm":
        return _REWARD_MODELS[record["settings"]["kind"]]
    if record["command"] == "rl":
        return f"{_WHAT['rl']} ({record['settings']['algo']})"
    return _WHAT[record["command"]]


def _task(lineage: Lineage) -> str:
    """What the problems are: "chain arithmetic", "MATH"; "math problems" where that is not told."""
    for path in reversed(lineage.stages):
        info = path / "split.json"
        if info.is_file():
            source = str(read_json(info).get("source", ""))
            return _SOURCES.get(source, _SOURCES["math"] if source == "math" else "math problems")
    return "math problems"


def _seen(lineage: Lineage) -> str:
    """Levels of the problems by what the training has seen of them."""
    rows = [
        f"| {_SEEN[kind]} | {level_range(lineage.seen[kind])} |"
        for kind in _SEEN
        if kind in lineage.seen
    ]
    text = "Nothing was trained on, or nothing of it is recorded."
    if rows:
        text = "| seen in training | of problems |\n| --- | --- |\n" + "\n".join(rows)
    splits = [path for path in lineage.stages if (path / "split.json").is_file()]
    if splits:
        text += f"\n\nProblems up to level {max_level(splits[-1])} are easy, the others hard."
    if lineage.unknown:
        names = ", ".join(map(shown, sorted(lineage.unknown)))
        text += f"\n\nNothing is known of what stands behind {names}."
    return f"## What it has seen\n\n{text}"


def _versions(record: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"## Versions\n\n{listed}. Finished {record.get('finished', '')}."


def _hub_data(lineage: Lineage) -> list[str]:
    """Data sets of the Hub that a stage has read."""
    found: set[str] = set()
    for path in lineage.stages:
        record = StageFolder(path).record
        for name in ("data", "problems", "rows", "examples"):
            for given in record.get("inputs", {}).get(name, []):
                if given["fingerprint"].startswith("hub:"):
                    found.add(given["path"].partition(":")[0])
    return sorted(found)


def _config_name(file: str) -> str:
    return re.sub(r"\W", "_", Path(file).stem)
