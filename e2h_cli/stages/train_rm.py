"""The work of ``e2h train-rm``: labelled solutions of easy problems to a reward model."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import read_jsonl, write_jsonl
from e2h_cli.data import template
from e2h_cli.data.rm_labels import read_rows
from e2h_cli.evaluation.rm_metrics import roc_auc
from e2h_cli.inference.batching import score_batches
from e2h_cli.models.loading import load_tokenizer
from e2h_cli.models.reward_formats import EncodedSolution
from e2h_cli.models.reward_model import new_reward_model
from e2h_cli.models.token_spans import Encoded, encode
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.train_rm import TrainRMSettings
from e2h_cli.stages.supervise import Kind, rows_file
from e2h_cli.training.early_stopping import Validation
from e2h_cli.training.reward_losses import pair_loss, token_loss
from e2h_cli.training.trainer import NO_LOSS, Row, train_model

TOO_LONG = "too-long.jsonl"
_LAST_TOKENS = {"every-token": None, "last-three": 3, "separator": 1}
_KINDS: dict[str, tuple[Kind, ...]] = {"prm": ("prm",), "orm": ("orm",), "oprm": ("prm", "orm")}
_SHOWN_ROWS = 3
_MOST_VALIDATION_ROWS = 2000
_VALIDATION_BATCH_TOKENS = 16384


def run(context: StageContext[TrainRMSettings]) -> dict[str, Any]:
    """Read labelled rows, print what is labelled, train, save."""
    settings = context.settings
    tokenizer = load_tokenizer(context.model_or_path("model"))
    if settings.loss == "pairwise":
        return _run_pairs(context, settings, tokenizer)
    used, held = Used(), []
    held_out = _held_out(settings)
    kept = []
    for row in rows_of(context.inputs["rows"], settings.kind):
        if held_out(row["id"]):
            held.append(row)
            continue
        encoded = reward_row(tokenizer, row, settings.loss_on)
        if used.see(row, encoded, settings.max_length):
            kept.append(encoded)
    used.print(settings)
    if used.too_long:
        write_jsonl(context.output_dir / TOO_LONG, ({"id": key} for key in used.too_long))
    if not kept:
        raise InputError(
            f"no labelled row fits into {settings.max_length} tokens", hint="raise --max-length"
        )
    validation = None
    if settings.patience:
        held += validation_rows(context.inputs["rows"], settings.kind)
        validation = _validation(held, tokenizer, settings)
    model = new_reward_model(context.model_or_path("model"), settings.kind)
    counts = train_model(
        model,
        tokenizer,
        kept,
        settings,
        output_dir=context.output_dir,
        scratch_dir=context.scratch_dir,
        title=context.stage,
        max_steps=settings.max_steps,
        loss=token_loss,
        validation=validation,
    )
    return {**counts, **used.counts}


def rows_of(places: Iterable[str], kind: str) -> Iterator[dict[str, Any]]:
    """Labelled rows for a kind of reward model, out of supervise stages and files, one by one.

    Raises:
        InputError: no stage has rows of a kind that is needed, or a file holds none.
    """
    paths = [Path(place) for place in places]
    folders = [path for path in paths if path.is_dir()]
    for path in paths:
        if not path.is_dir():
            yield from ({**row, "kind": "prm"} for row in read_rows(path))
    for needed in _KINDS[kind] if folders else ():
        having = [folder for folder in folders if (folder / f"{needed}.jsonl").is_file()]
        for folder in having or folders[:1]:
            yield from ({**row, "kind": needed} for row in read_rows(rows_file(folder, needed)))


def validation_rows(places: Iterable[str], kind: str) -> list[dict[str, Any]]:
    """Labelled rows of validation problems, where the stages have any."""
    files = [(Path(p) / f"{k}-validation.jsonl", k) for p in places for k in _KINDS[kind]]
    return [{**row, "kind": k} for file, k in files if file.is_file() for row in read_rows(file)]


def reward_row(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any], loss_on: str) -> Row:
    """One training sequence of a labelled solution.

    The tokens of a step, up to the one where its score is read, carry its label; see
    ``tokens.encode`` for which tokens those are.
    """
    encoded = _encoded(tokenizer, row)
    targets = np.full(len(encoded.ids), NO_LOSS, dtype=np.float32)
    last = _LAST_TOKENS[loss_on]
    for step, label in enumerate(row["labels"]):
        if label is None:
            continue
        tokens = encoded.tokens_of_step(step)
        targets[list(tokens if last is None else tokens[-last:])] = float(label)
    return Row(np.array(encoded.ids, dtype=np.int32), targets)


def _encoded(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any]) -> Encoded:
    steps = row["completions"]
    finished = _is_finished(row)
    text = template.SEPARATOR.join(steps)
    if not finished:
        text += template.SEPARATOR  # so that the last step is closed and can be read
    encoded = encode(tokenizer, row["prompt"], text, finished=finished)
    if len(encoded.step_tokens) != len(steps) - finished:
        raise InputError(
            f"{len(steps) - finished} steps are read back as {len(encoded.step_tokens)}",
            where=row["id"],
        )
    return encoded


def _is_finished(row: dict[str, Any]) -> bool:
    return bool(row["completions"][-1].startswith(template.ANSWER_HEADER))


@dataclass
class Used:
    """What became of the rows."""

    rows: int = 0
    tokens: int = 0
    trained: int = 0
    unlabelled: int = 0
    too_long: list[str] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    def see(self, row: dict[str, Any], encoded: Row, max_length: int) -> bool:
        """Count a row; say whether it is trained on."""
        self.rows += 1
        for step, label in zip(row["completions"], row["labels"], strict=True):
            name = "unlabelled" if label is None else "right" if label >= 0.5 else "wrong"
            of_answer = step.startswith(template.ANSWER_HEADER)
            (self.outcomes if of_answer else self.steps)[name] += 1
        if len(encoded.input_ids) > max_length:
            self.too_long.append(row["id"])
            return False
        if not encoded.trained:
            self.unlabelled += 1
            return False
        self.tokens += len(encoded.input_ids)
        self.trained += encoded.trained
        return True

    def print(self, settings: TrainRMSettings) -> None:
        """Labels by kind, and what was left out."""
        table = Table(title=f"Labels of {self.rows:,} solutions", title_justify="left")
        columns = ("right", "wrong", "unlabelled")
        for column in ("", *columns):
            table.add_column(column, justify="right" if column else "left")
        for name, counter in (("steps", self.steps), ("outcomes", self.outcomes)):
            table.add_row(name, *(f"{counter[column]:,}" for column in columns))
        console.print(table)
        console.print(
            f"Loss on {settings.loss_on}: {self.trained:,} of {self.tokens:,} tokens; left out: "
            f"{len(self.too_long):,} rows over {settings.max_length} tokens, "
            f"{self.unlabelled:,} without a label."
        )

    @property
    def counts(self) -> dict[str, int]:
        """For the stage's record."""
        labels = sum((self.steps + self.outcomes).values())
        labels -= self.steps["unlabelled"] + self.outcomes["unlabelled"]
        return {
            "labels": labels,
            "tokens": self.tokens,
            "too_long": len(self.too_long),
            "unlabelled": self.unlabelled,
        }


def _held_out(settings: TrainRMSettings) -> Any:
    """Whether the rows of a problem are kept from training, for validation."""
    share = settings.validation_share if settings.patience else 0.0
    return lambda key: random.Random(f"hold out {settings.seed} {key}").random() < share


def _validation(
    rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, settings: TrainRMSettings
) -> Validation:
    """ROC AUC on held-out rows: of steps for a PRM, of outcomes for an ORM, the mean for both."""
    if len(rows) > _MOST_VALIDATION_ROWS:
        rows = random.Random(f"validation {settings.seed}").sample(rows, _MOST_VALIDATION_ROWS)
    both = [(row, _encoded(tokenizer, row)) for row in rows]
    both = [(row, e) for row, e in both if len(e.ids) <= settings.max_length]
    rows, encoded = [row for row, _ in both], [e for _, e in both]
    readings = [EncodedSolution(e.ids, e.step_tokens, e.last) for e in encoded]

    def measure(model: PreTrainedModel) -> float:
        steps: list[tuple[float, bool]] = []
        outcomes: list[tuple[float, bool]] = []
        found = score_batches(
            lambda **batch: model(**batch).logits,
            lambda logits: logits[..., 0].float().sigmoid(),
            readings,
            _VALIDATION_BATCH_TOKENS,
            device=model.device,
            pad=tokenizer.pad_token_id or 0,
        )
        for batch, scores in found:
            for index, score in zip(batch, scores, strict=True):
                labels = rows[index]["labels"]
                values = [*score.steps, *([score.outcome] if _is_finished(rows[index]) else [])]
                for place, (value, label) in enumerate(zip(values, labels, strict=True)):
                    if label is not None:
                        if place == len(score.steps):
                            outcomes.append((value, label >= 0.5))
                        elif rows[index]["kind"] == "prm":  # others' steps carry the outcome
                            steps.append((value, label >= 0.5))
        kinds = {"prm": [steps], "orm": [outcomes], "oprm": [steps, outcomes]}[settings.kind]
        return float(np.mean([_auc(pairs) for pairs in kinds]))

    return Validation(measure, every=settings.eval_steps, patience=settings.patience)


def _auc(pairs: list[tuple[float, bool]]) -> float:
    value = roc_auc(
        np.array([score for score, _ in pairs]), np.array([right for _, right in pairs], dtype=bool)
    )
    if value != value:
        raise InputError(
            "validation needs right and wrong labels, and one kind is missing",
            hint="raise --validation-share, give rows of validation problems, or --patience 0",
        )
    return value


def _run_pairs(
    context: StageContext[TrainRMSettings],
    settings: TrainRMSettings,
    tokenizer: PreTrainedTokenizerFast,
) -> dict[str, Any]:
    """Bradley-Terry: the reward of the chosen solution above that of the rejected one."""
    if settings.patience:
        raise InputError("--patience: pairs have no validation", hint="take --patience 0")
    kept, too_long = [], []
    for place in context.inputs["rows"]:
        for number, row in read_jsonl(Path(place)):
            where = f"{place}:{number}"
            pair = tuple(_end_row(tokenizer, row, key, where) for key in ("chosen", "rejected"))
            if max(len(side.input_ids) for side in pair) > settings.max_length:
                too_long.append({"id": where})
            else:
                kept.append(pair)
    console.print(
        f"{len(kept):,} pairs; {len(too_long):,} are over {settings.max_length} tokens and left out"
    )
    if too_long:
        write_jsonl(context.output_dir / TOO_LONG, too_long)
    if not kept:
        raise InputError("no pairs to train on", where=context.model_or_path("rows"))
    model = new_reward_model(context.model_or_path("model"), "orm")
    model.config.e2h["loss"] = "pairwise"
    counts = train_model(
        model,
        tokenizer,
        kept,
        settings,
        output_dir=context.output_dir,
        scratch_dir=context.scratch_dir,
        title=context.stage,
        max_steps=settings.max_steps,
        loss=pair_loss,
    )
    return {**counts, "too_long": len(too_long)}


def _end_row(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any], key: str, where: str) -> Row:
    """A side of a pair; its last token is marked 1 if it is chosen and 0 if it is rejected."""
    prompt, text = row.get("prompt"), row.get(key)
    if not isinstance(prompt, str) or not isinstance(text, str):
        raise InputError(f"no text under 'prompt' or {key!r}", where=where)
    if "# Solution" not in prompt:
        prompt = template.prompt(prompt)
    encoded = encode(tokenizer, prompt, text)
    labels = np.full(len(encoded.ids), NO_LOSS, dtype=np.float32)
    labels[encoded.last] = float(key == "chosen")
    return Row(np.array(encoded.ids, dtype=np.int32), labels)


def show_tokens(context: StageContext[TrainRMSettings]) -> None:
    """Print the tokens of some rows with their labels: green is right, red wrong, dim no loss."""
    settings = context.settings
    tokenizer = load_tokenizer(context.model_or_path("model"))
    rows = rows_of(context.inputs["rows"], settings.kind)
    for row, _ in zip(rows, range(_SHOWN_ROWS), strict=False):
        encoded = reward_row(tokenizer, row, settings.loss_on)
        line = Text()
        for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
            style = "dim" if label == NO_LOSS else "green" if label >= 0.5 else "red"
            mark = "" if label == NO_LOSS else f":{label:g}"
            shown = tokenizer.decode([int(token)]).replace("\n", "\\n")
            line.append(f"{shown}{mark}", style=style).append(" ")
        console.print(Text(f"{row['id']}: ", style="bold"), line)
