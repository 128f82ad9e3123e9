"""``e2h supervise``: published data, or own samples, to training rows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.table import Table

from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import write_jsonl
from e2h_cli.common.parquet_store import clear_if_changed
from e2h_cli.data.decontamination import QuestionIndex
from e2h_cli.data.problem import Problem, solved_by_programs
from e2h_cli.data.published_rows import PublishedRows
from e2h_cli.data.rm_labels import (
    Grade,
    ParsedSample,
    Row,
    StepChecker,
    balance_outcomes,
    grade_samples,
    label_samples,
    parse_samples,
    step_checker,
)
from e2h_cli.data.rollout_labels import (
    agreement,
    choose_solutions,
    hard_labels,
    roll_out,
)
from e2h_cli.data.split_files import read_training_problems
from e2h_cli.data.training_rows import ROW_KINDS, TrainingRow, TrainingRowWriter
from e2h_cli.grading import refuse_unjudged
from e2h_cli.inference.completions import Completer
from e2h_cli.inference.engine_stats import append_engine_stats, sum_engine_stats
from e2h_cli.inference.sampling import read_samples, read_style
from e2h_cli.pipeline.lineage import SEEN, seen_in_rows
from e2h_cli.pipeline.shards import finish_shard, refuse_unfinished, share_of, start_shard
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.base import EngineSettings
from e2h_cli.settings.supervise import SuperviseSettings
from e2h_cli.stages.judging import judging

NEAR_DUPLICATES = "near-duplicates.jsonl"
COMPLETIONS = "completions"


def run(context: StageContext[SuperviseSettings]) -> dict[str, Any] | None:
    """Write training rows; print what was kept, and what was dropped and why.

    Reads: ``problems`` (a split); ``samples`` of its training problems, and for rollouts the
    ``model`` that completes them; or ``data``, published files or names on the Hub.
    Writes: ``sft.jsonl``, ``prm.jsonl``, ``orm.jsonl`` and ``*-validation.jsonl`` where there are
    such rows; ``official-*.jsonl`` with --official; ``near-duplicates.jsonl``; the completions of
    rollouts. With --shard only part files of completions, and nothing is returned: the stage is not
    finished.
    """
    settings, folder = context.settings, context.output_dir
    if settings.shard is not None or settings.merge:
        if settings.source != "rollouts":
            raise InputError("--shard shares rollouts", hint="add --source rollouts")
        if settings.shard is not None:
            _draw_shard(context)
            return None
    about: dict[str, Any] = {}
    near_duplicates: list[dict[str, Any]] = []
    rows: Iterable[TrainingRow]
    own = settings.source in ("samples", "rollouts")
    if own:
        rows, counts, about = _label_samples(context)
    else:
        index = QuestionIndex(context.input_path("problems"))
        rows = published = PublishedRows(context.inputs["data"], index, settings, context.stage)
        counts, near_duplicates = published.counts, published.near_duplicates
    # Repeated samples of our own were dropped before.
    with TrainingRowWriter(folder, official=settings.official, unique=not own) as writer:
        for row in rows:
            writer.write(row)
    if not any(writer.counts[kind] for kind in ROW_KINDS):
        reasons = ", ".join(f"{n:,} {what}" for what, n in counts.items())
        raise InputError(f"not one training row came of it ({reasons})", where=folder)
    if isinstance(rows, PublishedRows):
        levels = sorted(rows.levels)
        about[SEEN] = {"questions": levels, "labels": levels, "answers": levels}
    written = dict(writer.counts)
    if near_duplicates:
        written["near-duplicates"] = write_jsonl(folder / NEAR_DUPLICATES, near_duplicates)
    _print(counts, written)
    return {"rows": written, **counts, **about}


def _draw_shard(context: StageContext[SuperviseSettings]) -> None:
    """Draw the completions of a shard: of every n-th problem that has solutions to label."""
    settings = context.settings
    context.model_or_path("model")
    problems, _ = read_training_problems(context.input_path("problems"), settings.levels)
    samples, _ = _parsed_samples(context, {p.id: p for p in problems})
    chosen = choose_solutions(samples, settings.max_solutions, settings.seed)
    own = {*share_of(context, list(dict.fromkeys(s.problem.id for s in chosen)))}
    start_shard(context)
    with judging(context, problems) as grader:
        roll_out(
            [sample for sample in chosen if sample.problem.id in own],
            _completer(context).complete,
            lambda pairs: [verdict.right for verdict in grader.grade(pairs)],
            until_first_mistake=settings.until_first_mistake,
        )
    finish_shard(context)


def _label_samples(
    context: StageContext[SuperviseSettings],
) -> tuple[list[TrainingRow], Counter[str], dict[str, Any]]:
    """Rows of samples, counts, and what was read: files and fingerprints, levels.

    Step labels come from rollouts, or from the oracle, which only chain arithmetic has; outcome
    labels from the grader. Right solutions are rows to fine-tune on (rejection sampling).
    """
    settings = context.settings
    if settings.source == "rollouts":
        context.model_or_path("model")  # a missing one is told before the samples are read
    elif context.optional_input("model"):
        raise InputError(
            "only rollouts need a model", hint="leave --model out, or add --source rollouts"
        )
    problems, read = read_training_problems(context.input_path("problems"), settings.levels)
    by_id = {p.id: p for p in problems}
    if settings.source == "rollouts" and solved_by_programs(problems):
        raise InputError("rollouts label steps, which programs do not have", hint="leave it out")
    samples, counts = _parsed_samples(context, by_id)
    about: dict[str, Any] = {"read": read}
    with judging(context, problems) as grader:

        def grade(pairs: Sequence[tuple[str, str]]) -> list[bool]:
            verdicts = grader.grade(pairs)
            refuse_unjudged(verdicts)
            return [verdict.right for verdict in verdicts]

        verdicts = grade_samples(samples, grade)
        labelled = samples
        if settings.source == "rollouts":
            labelled = choose_solutions(samples, settings.max_solutions, settings.seed)
            counts["samples over the solutions per question"] = len(samples) - len(labelled)
            steps, outcomes, about["rollouts"] = _label_by_rollouts(
                context, labelled, step_checker(problems), grade
            )
        else:
            steps, outcomes = label_samples(samples, verdicts, step_checker(problems))
    right = {(s.problem.id, s.completion): s for s, ok in zip(samples, verdicts, strict=True) if ok}
    tuned = choose_solutions([*right.values()], settings.max_solutions, settings.seed)
    kept = balance_outcomes(outcomes, settings.ratio, random.Random(f"ratio {settings.seed}"))
    counts["samples labelled"] = len(labelled)
    counts["outcome rows over the ratio"] = len(outcomes) - len(kept)
    kinds = {"sft": [sample.sft_row() for sample in tuned], "prm": steps, "orm": kept}
    rows = [TrainingRow(kind, row) for kind in kinds for row in kinds[kind]]
    about[SEEN] = seen_in_rows((row for _, row in rows), problems)
    return rows, counts, about


def _parsed_samples(
    context: StageContext[SuperviseSettings], problems: Mapping[str, Problem]
) -> tuple[list[ParsedSample], Counter[str]]:
    """Distinct finished solutions of these problems, and counts of samples."""
    context.input_path("samples")  # a missing input is told in one line
    samples = pa.concat_tables(read_samples(Path(path)) for path in context.inputs["samples"])
    counts = Counter({"samples": samples.num_rows})
    finished = []
    columns = (samples[name].to_pylist() for name in ("id", "text", "finish_reason"))
    for key, text, finish_reason in zip(*columns, strict=True):
        # Whatever was sampled, only these training problems are trained on.
        if key not in problems:
            counts["samples of other problems"] += 1
        elif problems[key].answer is None:
            counts["samples of problems without a gold answer"] += 1
        elif finish_reason != "stop":
            counts["samples cut at the token limit"] += 1
        else:
            finished.append((key, text))
    parsed, dropped = parse_samples(finished, problems)
    counts.update(dropped)
    return parsed, counts


def _label_by_rollouts(
    context: StageContext[SuperviseSettings],
    chosen: Sequence[ParsedSample],
    checker: StepChecker | None,
    grade: Grade,
) -> tuple[list[Row], list[Row], dict[str, Any]]:
    """Rows of step labels and of outcome labels, and counts of rollouts."""
    settings = context.settings
    if not chosen:
        return [], [], {}
    completer = _completer(context)
    rollouts = roll_out(
        chosen, completer.complete, grade, until_first_mistake=settings.until_first_mistake
    )
    soft = [rollouts.shares(sample) for sample in chosen]
    hard = [hard_labels(shares) for shares in soft]
    sampled = completer.stats.counts
    about = {
        "solutions": len(chosen),
        "steps": sum(label is not None for row in hard for label in row),
        "right_steps": sum(label is True for row in hard for label in row),
        "distinct_prefixes": len(rollouts.completions),
        "completions": sampled["samples"],
        "tokens": sampled["tokens"],
        "without_answer": sampled["without_answer"],
        "right_share": round(rollouts.right.total() / rollouts.completions.total(), 4),
        **sum_engine_stats(context.output_dir),
    }
    if checker:
        both = {"hard": agreement(hard, chosen, checker), "soft": agreement(soft, chosen, checker)}
        about["oracle"] = {name: asdict(agreed) for name, agreed in both.items()}
    _print_rollouts(about)
    labels: Sequence[Sequence[float | None]] = hard if settings.estimation == "hard" else soft
    verdicts = grade_samples(chosen, grade)
    steps = [s.row(row, right) for s, row, right in zip(chosen, labels, verdicts, strict=True)]
    outcomes = [s.outcome_row(right) for s, right in zip(chosen, verdicts, strict=True)]
    return steps, outcomes, about


def _completer(context: StageContext[SuperviseSettings]) -> Completer:
    """What completes solutions; completions on disk are kept as long as they would be the same."""
    settings, folder = context.settings, context.output_dir / COMPLETIONS
    wording, *others = (read_style(Path(path)) for path in context.inputs["samples"])
    if any(other.settings != wording.settings for other in others):
        raise InputError(
            "rollouts of samples with different prompts", hint="make rows of each by themselves"
        )
    conditions = {
        **wording.settings,
        **{name: context.input_fingerprints[name] for name in ("problems", "model")},
        **settings.model_dump(mode="json", include=set(EngineSettings.model_fields)),
    }
    clear_if_changed(folder, conditions)
    return Completer(
        model=context.model_or_path("model"),
        settings=settings,
        count=settings.rollouts_per_step,
        target=folder / f"{COMPLETIONS}.parquet",
        folder=context.scratch_dir,
        title=context.stage,
        wording=wording,
        shard=settings.shard_name,
        before_drawing=partial(refuse_unfinished, context, what="completions"),
        on_engine=partial(append_engine_stats, context.output_dir),
    )


def _print_rollouts(about: Mapping[str, Any]) -> None:
    console.print(
        f"{about['completions']:,} completions of {about['distinct_prefixes']:,} distinct "
        f"beginnings of {about['solutions']:,} solutions, {about['tokens']:,} tokens; "
        f"{about['right_share']:.1%} are right; {about['right_steps']:,} of {about['steps']:,} "
        "steps have a right one"
    )
    for name, agreed in about.get("oracle", {}).items():
        shares = {k: "none" if v is None else f"{v:.1%}" for k, v in agreed.items()}
        console.print(
            f"{name} labels agree with the oracle on {shares['accuracy']} of "
            f"{agreed['steps']:,} steps: on {shares['right_found']} of the right and "
            f"{shares['wrong_found']} of the wrong ones"
        )


def _print(counts: Counter[str], written: dict[str, int]) -> None:
    table = Table(title="Supervision", title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("how many", justify="right")
    for what, number in counts.items():
        table.add_row(what, f"{number:,}")
    table.add_section()
    for what, number in sorted(written.items()):
        is_rows = what.split("-")[0] in ROW_KINDS
        table.add_row(f"rows: {what}" if is_rows else what, f"{number:,}")
    console.print(table)
