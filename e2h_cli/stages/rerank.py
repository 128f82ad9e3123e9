"""``e2h rerank``: score the samples, choose one answer of N by each method, measure accuracy.

Reads samples and their problems, or a file of another project (``--import``), and a reward model.
Writes scores/, predictions.jsonl, accuracy.parquet and results.{json,csv,md,tex}; with ``--import``
also imported-samples.parquet.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from rich.text import Text

from e2h_cli.common import parquet_store
from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.common.tracking import Tracker
from e2h_cli.data.external_samples import (
    ImportedSamples,
    import_samples,
    match_problems,
    read_as,
)
from e2h_cli.data.hub_data import title_of
from e2h_cli.data.problem import Problem
from e2h_cli.data.prompt_styles import style_of_metadata
from e2h_cli.data.split_files import PAPER_MAX_LEVEL, max_level, read_answered_problems
from e2h_cli.evaluation.measurements import (
    contrasts,
    measure,
    predictions,
    values_of_n,
    voting_methods,
)
from e2h_cli.evaluation.sample_groups import group_samples
from e2h_cli.evaluation.score_tables import require_probabilities, sigmoid
from e2h_cli.inference import scoring
from e2h_cli.inference.engine_stats import sum_engine_stats
from e2h_cli.inference.sampling import read_samples
from e2h_cli.models.reward_formats import kind_of, open_reward_model
from e2h_cli.pipeline.shards import finish_shard, refuse_unfinished, share_of_job, start_shard
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.reports.result_files import (
    IMPORTED,
    SCORES,
    write_accuracy,
    write_predictions,
    write_results,
)
from e2h_cli.reports.results import (
    MAIN_GROUPS,
    Results,
    label,
    problem_groups,
    summarise,
    with_holm,
)
from e2h_cli.reports.tables import result_tables
from e2h_cli.settings.rerank import RerankSettings
from e2h_cli.stages.judging import judging

logger = logging.getLogger(__name__)


def run(context: StageContext[RerankSettings]) -> dict[str, Any] | None:
    """Score the samples, vote for each N, write accuracy per problem and the results.

    With --shard only the scores of a shard are computed, and nothing is returned: the stage is not
    finished.
    """
    settings = context.settings
    candidates = _candidates(context)
    job = _scoring_job(context, candidates)
    if settings.shard is not None:
        if job is None:
            raise InputError("--shard shares the scoring", hint="give --reward-model")
        start_shard(context)
        scoring.score_missing(share_of_job(context, job), settings)
        finish_shard(context)
        return None
    if job is not None:
        missing = sum(map(len, job.missing().values()))
        refuse_unfinished(context, missing, job.samples, "scores")
    with context.tracker() as tracker:
        results, counts = _score_and_vote(context, candidates, job)
        _track(results, tracker)
    return counts


def _score_and_vote(
    context: StageContext[RerankSettings],
    candidates: _Candidates,
    job: scoring.ScoringJob | None,
) -> tuple[Results, dict[str, Any]]:
    settings = context.settings
    method: str = settings.method
    if candidates.imported is not None:
        method = _keep_imported(context, candidates.imported)
    with judging(context, candidates.problems.values()) as grader:
        groups = group_samples(candidates.samples, candidates.problems, grader)
    ns = values_of_n(groups[0].size, settings.ks)
    scores, orm = _scores(context, candidates, job, [g.problem.id for g in groups])
    methods = voting_methods(
        groups, scores, method=method, aggregates=settings.aggregate, only_outcome=orm
    )
    measurements = measure(
        groups,
        methods,
        ns,
        draws=settings.draws,
        seed=settings.seed,
        generator=candidates.generator,
        reward_model=candidates.reward_model,
        with_pass_at_n=settings.method == "all",
    )
    problems = [group.problem for group in groups]
    write_predictions(context.output_dir, predictions(groups, methods))
    write_accuracy(context.output_dir, [problem.id for problem in problems], measurements)
    results = summarise(
        measurements,
        contrasts(measurements),
        problem_groups(problems, candidates.max_level),
        grader=f"{grader.name} {grader.version}",
        confidence=settings.confidence,
    )
    results = with_holm(results)
    tables = result_tables(results, context.made_at, settings.confidence)
    for table in tables:
        console.print(table)
    about = {"scale": context.scale, "samples_per_problem": groups[0].size, "draws": settings.draws}
    write_results(context.output_dir, results, about, tables)
    return results, {
        "problems": len(groups),
        "samples_per_problem": groups[0].size,
        "scored": 0 if scores is None else scores.num_rows,
        "score_scale": "probability" if candidates.imported is None else candidates.imported.scale,
        **sum_engine_stats(context.output_dir / SCORES),
    }


def _track(results: Results, tracker: Tracker) -> None:
    """Accuracy by group and method: curves with N as the step, and the last point as a summary."""
    shown = [m for m in results.metrics if m.group in MAIN_GROUPS]
    points: dict[int, dict[str, float]] = {}
    for m in shown:
        points.setdefault(m.n, {})[f"{m.group}/{label(m)}"] = m.accuracy
    for n, accuracies in sorted(points.items()):
        tracker.log(n, accuracies)
    tracker.finish({f"{m.group}/{label(m)}/N={m.n}": m.accuracy for m in shown})


def show_tokens(context: StageContext[RerankSettings]) -> None:
    """Print the tokens of the first sample, with position and score where they are scored."""
    settings = context.settings
    candidates = _candidates(context)
    first = candidates.samples.slice(0, 1).to_pylist()[0]
    problem = candidates.problems[first["id"]]
    path = context.model_or_path("reward_model")
    model = open_reward_model(path, settings.family, settings.precision)
    finished = first["finish_reason"] == "stop"
    scored = scoring.token_scores(model, problem.problem, first["text"], finished)
    line = Text(f"{problem.id} ({model.family}): ", style="bold")
    for position, (token, score) in enumerate(scored):
        shown = "" if score is None else f"[{position}]={score:.3f}"
        style = "dim" if score is None else "bold cyan"
        line.append(token.replace("\n", "\\n") + f"{shown} ", style=style)
    console.print(line)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The samples to choose from, and the problems that they solve.

    ``imported``: the file of another project that they are from, with its scores;
    ``generator``, ``reward_model``: names in tables; ``max_level``: the last easy level.
    """

    problems: dict[str, Problem]
    samples: pa.Table
    imported: ImportedSamples | None
    generator: str
    reward_model: str
    max_level: int


def _candidates(context: StageContext[RerankSettings]) -> _Candidates:
    """Read the samples of a stage or of the file under --import, and their problems."""
    settings = context.settings
    settings.refuse_unused()
    problems: dict[str, Problem] = {}
    levels = PAPER_MAX_LEVEL
    if context.inputs["problems"]:
        problems = read_answered_problems(context.input_path("problems"))
        levels = max_level(context.input_path("problems"))
    reward_model = context.input_name("reward_model") if context.inputs["reward_model"] else ""
    if not context.inputs["imported"]:
        if settings.prompt != "e2h":
            raise InputError(
                f"--prompt {settings.prompt}: samples of e2h tell by themselves how they were "
                "asked for",
                hint="leave it out",
            )
        samples = read_samples(context.input_path("samples"))
        if not problems:
            raise InputError(f"{context.stage} needs problems", hint="give --problems")
        generator = context.input_name("samples")
        return _Candidates(problems, samples, None, generator, reward_model, levels)
    assert settings.import_format is not None
    file = context.input_path("imported")
    imported = import_samples(settings.import_format, file)
    if settings.prompt != "e2h":
        imported = read_as(imported, style_of_metadata(_wording(settings), file))
    if problems:
        imported = match_problems(imported, problems.values())
    problems = {problem.id: problem for problem in imported.problems}
    names = title_of(file), reward_model or title_of(file)
    return _Candidates(problems, imported.samples, imported, *names, levels)


def _wording(settings: RerankSettings) -> dict[str, str]:
    """How imported samples were asked for; empty if they are taken as the file has them."""
    wording = settings.model_dump(mode="json", include={"prompt", "step_separator"})
    return {} if settings.prompt == "e2h" else wording


def _keep_imported(context: StageContext[RerankSettings], imported: ImportedSamples) -> str:
    """Say what was imported, keep the samples, and return the method that fits their scores."""
    settings, method = context.settings, str(context.settings.method)
    console.print(", ".join(f"{count:,} {what}" for what, count in imported.counts.items()))
    if not context.inputs["reward_model"] and settings.transform != "sigmoid":
        if method == "all" and imported.scale != "probability":
            method = "best-of-n"
            logger.warning(
                "weighted voting is left out: it needs probabilities, and these scores are of "
                f"{imported.scale} scale; give --transform sigmoid if they are logits"
            )
        require_probabilities(imported.scale, method, settings.aggregate or ())
    parquet_store.write_table(context.output_dir / IMPORTED, imported.samples)
    return method


def _scoring_job(
    context: StageContext[RerankSettings], candidates: _Candidates
) -> scoring.ScoringJob | None:
    """What the reward model scores, or None without one.

    Scores are kept in scores/, and used again while their conditions stay the same.
    """
    settings, fingerprints = context.settings, context.input_fingerprints
    if not context.inputs["reward_model"]:
        return None
    return scoring.scoring_job(
        candidates.samples,
        candidates.problems,
        context.model_or_path("reward_model"),
        context.output_dir / SCORES,
        conditions={
            "samples": fingerprints["samples"] or fingerprints["imported"],
            "reward_model": fingerprints["reward_model"],
            "precision": settings.precision,
            "family": settings.family,
            **_wording(settings),
            # Named where it is given only: scores of the default engine have none.
            **({"engine_arg": settings.engine_arg} if settings.engine_arg else {}),
        },
        family=settings.family,
        batch_tokens=settings.batch_tokens,
        precision=settings.precision,
        engine=settings.engine,
        engine_args=settings.engine_arg,
        flush_seconds=settings.flush_seconds,
    )


def _scores(
    context: StageContext[RerankSettings],
    candidates: _Candidates,
    job: scoring.ScoringJob | None,
    problems: Sequence[str],
) -> tuple[pa.Table | None, bool]:
    """Scores of the samples, or None, and whether they are known to be of an ORM."""
    settings, fingerprints = context.settings, context.input_fingerprints
    imported, folder = candidates.imported, context.output_dir / SCORES
    if job is not None:
        scoring.score_missing(job, settings)
        scores = scoring.merge_scores(job, problems)
        return scores, kind_of(job.reward_model, settings.family) == "orm"
    if imported is not None and imported.scores is not None:
        transform = settings.transform
        scores = sigmoid(imported.scores) if transform == "sigmoid" else imported.scores
        conditions = {name: fingerprints[name] for name in ("imported", "problems")}
        scoring.write_scores(scores, folder, {**conditions, "transform": transform})
        return scores, False
    if settings.method != "majority":
        hint = "give --reward-model, or take --method majority"
        raise InputError("the samples have no scores", hint=hint)
    return None, False
