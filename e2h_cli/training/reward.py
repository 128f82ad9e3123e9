"""The work of ``e2h train-rm``: labelled solutions of easy problems to a reward model."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.table import Table
from rich.text import Text
from transformers import PreTrainedTokenizerFast

from e2h_cli import solution
from e2h_cli.console import console
from e2h_cli.errors import InputError
from e2h_cli.files import fingerprint, read_jsonl, write_jsonl
from e2h_cli.grading import get_grader
from e2h_cli.models.loading import load_tokenizer
from e2h_cli.models.reward import new_reward_model
from e2h_cli.pipeline import Work
from e2h_cli.problems.store import part_file, read_part
from e2h_cli.sampling import read_samples
from e2h_cli.settings import TrainRMSettings
from e2h_cli.supervision.labels import labelled, read_rows, step_checker
from e2h_cli.tokens import encode
from e2h_cli.training.losses import token_loss
from e2h_cli.training.trainer import NO_LOSS, Row, train_stage

ROWS = "rows.jsonl"
_LAST_TOKENS = {"every-token": None, "last-three": 3, "separator": 1}
_SHOWN_ROWS = 3


def run(work: Work) -> dict[str, Any]:
    """Label, print what is labelled, train, save."""
    settings = work.settings
    assert isinstance(settings, TrainRMSettings)
    rows, used = _rows(work, settings)
    write_jsonl(work.folder / ROWS, rows)
    tokenizer = load_tokenizer(work.place("model"))
    kept, too_long = [], 0
    for row in rows:
        encoded = reward_row(tokenizer, row, settings.loss_on)
        if len(encoded.input_ids) > settings.max_length:
            too_long += 1
        elif encoded.trained:
            kept.append(encoded)
    _print_statistics(rows, kept, too_long, settings)
    if settings.show_tokens:
        show(work)
    if not kept:
        raise InputError(
            f"no labelled row fits into {settings.max_length} tokens", hint="raise --max-length"
        )
    model = new_reward_model(work.place("model"), settings.kind)
    counts = train_stage(work, model, tokenizer, kept, token_loss)
    return {**counts, "too_long": too_long, **used}


def reward_row(tokenizer: PreTrainedTokenizerFast, row: dict[str, Any], loss_on: str) -> Row:
    """One training sequence of a labelled solution.

    The tokens of a step, up to the one where its score is read, carry its label; see
    ``tokens.encode`` for which tokens those are.
    """
    steps, labels = row["completions"], row["labels"]
    finished = steps[-1].startswith(solution.ANSWER_HEADER)
    text = solution.SEPARATOR.join(steps)
    if not finished:
        text += solution.SEPARATOR  # so that the last step is closed and can be read
    encoded = encode(tokenizer, row["prompt"], text, finished=finished)
    if len(encoded.step_tokens) != len(steps) - finished:
        raise InputError(
            f"{len(steps) - finished} steps are read back as {len(encoded.step_tokens)}",
            where=row["id"],
        )
    targets: list[float] = [NO_LOSS] * len(encoded.ids)
    last = _LAST_TOKENS[loss_on]
    for step, label in enumerate(labels):
        if label is None:
            continue
        tokens = encoded.tokens_of_step(step)
        for token in tokens if last is None else tokens[-last:]:
            targets[token] = float(label)
    return Row(encoded.ids, targets)


def show(work: Work) -> None:
    """Print the tokens of some rows with their labels: green is right, red wrong, dim no loss."""
    settings = work.settings
    assert isinstance(settings, TrainRMSettings)
    tokenizer = load_tokenizer(work.place("model"))
    for _, row in list(read_jsonl(work.folder / ROWS))[:_SHOWN_ROWS]:
        encoded = reward_row(tokenizer, row, settings.loss_on)
        line = Text()
        for token, label in zip(encoded.input_ids, encoded.labels, strict=True):
            style = "dim" if label == NO_LOSS else "green" if label >= 0.5 else "red"
            mark = "" if label == NO_LOSS else f":{label:g}"
            shown = tokenizer.decode([token]).replace("\n", "\\n")
            line.append(f"{shown}{mark}", style=style).append(" ")
        console.print(Text(f"{row['id']}: ", style="bold"), line)


def _rows(work: Work, settings: TrainRMSettings) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    if work.inputs.get("rows"):
        path = work.path("rows")
        return read_rows(path), {"read": {path.name: fingerprint(path)}}
    place = work.path("problems")
    problems = {p.id: p for p in read_part(place, "easy")}
    checker = step_checker(problems.values())
    if checker is None and settings.kind != "orm":
        raise InputError(
            f"these problems have no oracle of steps to train a {settings.kind} with",
            where=place,
            hint="give step labels with --rows FILE, or train on final answers with --kind orm",
        )
    samples = read_samples(work.path("samples"))
    pairs = [
        (key, text)
        for key, text, finish in zip(
            samples["id"].to_pylist(),
            samples["text"].to_pylist(),
            samples["finish_reason"].to_pylist(),
            strict=True,
        )
        if finish == "stop"
    ]
    # Whatever was sampled, only easy training problems are trained on.
    foreign = sum(key not in problems for key, _ in pairs)
    with get_grader(settings.grader, cache=work.grading_cache) as grader:
        rows, counts = labelled(
            [(key, text) for key, text in pairs if key in problems],
            problems,
            grader,
            kind=settings.kind,
            checker=checker,
        )
    if not rows:
        raise InputError(
            "no sample of an easy training problem has an answer", where=work.place("samples")
        )
    file = part_file(place, "easy")
    return rows, {
        **counts,
        "not easy training problems": foreign,
        "read": {file.name: fingerprint(file)},
    }


def _print_statistics(
    rows: list[dict[str, Any]], kept: list[Row], too_long: int, settings: TrainRMSettings
) -> None:
    steps: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for row in rows:
        for step, label in zip(row["completions"], row["labels"], strict=True):
            name = "unlabelled" if label is None else "right" if label >= 0.5 else "wrong"
            (outcomes if step.startswith(solution.ANSWER_HEADER) else steps)[name] += 1
    table = Table(title=f"Labels of {len(rows):,} solutions", title_justify="left")
    for column in ("", "right", "wrong", "unlabelled"):
        table.add_column(column, justify="right" if column else "left")
    for name, counter in (("steps", steps), ("outcomes", outcomes)):
        table.add_row(name, *(f"{counter[c]:,}" for c in ("right", "wrong", "unlabelled")))
    console.print(table)
    tokens = sum(len(row.input_ids) for row in kept)
    trained = sum(row.trained for row in kept)
    console.print(
        f"Loss on {settings.loss_on}: {trained:,} of {tokens:,} tokens; "
        f"{too_long:,} rows are over {settings.max_length} tokens and were left out."
    )
