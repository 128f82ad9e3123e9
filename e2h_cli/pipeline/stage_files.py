"""Which files of a finished stage are shared: what others can use, and nothing that is hidden."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Literal

from e2h_cli.common.errors import InputError
from e2h_cli.data.split_files import HIDDEN_ANSWERS, max_level
from e2h_cli.pipeline.lineage import SEEN, input_path, level_range
from e2h_cli.pipeline.run_folder import StageFolder

RepoType = Literal["model", "dataset"]

_MODELS = ("pretrain", "sft", "rl", "train-rm")
_WEIGHTS = ".safetensors"
# Tokenizers of all kinds, configs, and the log with its plot. No pickles, no training rows.
_MODEL_FILES = {
    "config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json",
    "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja", "log.jsonl", "training.png",
}  # fmt: skip
_DATA_SUFFIXES = {".json", ".jsonl", ".parquet", ".csv", ".md", ".tex", ".png", ".svg"}


def repo_type(command: str) -> RepoType:
    """What a stage of a command becomes on the Hub."""
    return "model" if command in _MODELS else "dataset"


def shared_files(stage: StageFolder, *, with_hidden_answers: bool) -> dict[str, Path]:
    """Name in the repository -> file of a finished stage.

    Only outputs that its record names, of a model the weights, tokenizer, configs and log; no
    checkpoints, caches, records of this machine, or answers of hard training problems.

    Args:
        stage: its folder.
        with_hidden_answers: share answers of hard training problems, too.

    Raises:
        InputError: the stage is not finished or was changed since, leads out of its folder, holds
            no weights as safetensors, or holds rows with labels of hard problems.
    """
    record, name = stage.record, stage.path.name
    if record.get("status") != "finished":
        status = record.get("status", "missing")
        raise InputError(f"{name} is {status}, not finished", where=stage.path)
    if altered := stage.altered_outputs():
        raise InputError(f"{name}: {altered[0]} since the stage was finished", where=stage.path)
    model = repo_type(record["command"]) == "model"
    wanted = _of_model if model else _of_data
    files = {one: stage.path / one for one in record["outputs"] if wanted(PurePosixPath(one))}
    if not with_hidden_answers:
        files.pop(HIDDEN_ANSWERS, None)
        if not model:
            _refuse_hard_labels(stage, record)
    inside = stage.path.resolve()
    for file in files.values():
        if not file.resolve().is_relative_to(inside):
            raise InputError("leads out of the folder of the stage", where=file)
    if model and not any(one.endswith(_WEIGHTS) for one in files):
        raise InputError("holds no weights as safetensors, and nothing else is shared",
                         where=stage.path)  # fmt: skip
    return files


def _of_model(name: PurePosixPath) -> bool:
    return len(name.parts) == 1 and (name.suffix == _WEIGHTS or name.name in _MODEL_FILES)


def _of_data(name: PurePosixPath) -> bool:
    # Beside the files of the stage itself the scores of a rerank stage; other folders are caches.
    scores = name.parts[0] == "scores" and name.suffix == ".parquet"
    return (len(name.parts) == 1 and name.suffix in _DATA_SUFFIXES) or scores


def _refuse_hard_labels(stage: StageFolder, record: dict[str, Any]) -> None:
    """Raise InputError for training rows whose labels or solutions are of hard problems."""
    split = input_path(stage.path, "problems")
    seen = record.get("counts", {}).get(SEEN, {})
    if record["command"] != "supervise" or split is None:
        return
    last_easy = max_level(split)
    hard = {level for kind in ("labels", "answers") for level in seen.get(kind, [])
            if level > last_easy}  # fmt: skip
    if hard:
        raise InputError(
            f"these rows hold labels or solutions of hard problems ({level_range(hard)})",
            where=stage.path,
            hint="--with-hidden-answers shares them",
        )
