"""What ``e2h rerank`` votes on: samples of our own or of another project, and their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import expit

from e2h_cli.common import parquet_store
from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError
from e2h_cli.data.external_formats import Scale
from e2h_cli.data.external_samples import import_samples, match_problems
from e2h_cli.data.problem import Problem
from e2h_cli.data.split_files import PAPER_MAX_LEVEL, max_level, read_answered_problems
from e2h_cli.evaluation.sample_groups import SampleGroup
from e2h_cli.inference import scoring
from e2h_cli.inference.sampling import read_samples
from e2h_cli.models.reward_formats import kind_of
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.settings.rerank import RerankSettings

SCORES = "scores"
IMPORTED = "imported-samples.parquet"


@dataclass(frozen=True, slots=True)
class Candidates:
    """What is voted on: samples, the problems that they solve, and scores if they are there.

    ``scale``: of the scores; ``max_level``: the last easy level.
    """

    problems: dict[str, Problem]
    samples: pa.Table
    scores: pa.Table | None
    scale: Scale
    generator: str
    reward: str
    max_level: int


def find_candidates(context: StageContext[RerankSettings], settings: RerankSettings) -> Candidates:
    """Samples of a stage or of the file under --import, and the problems that they solve.

    Raises:
        InputError: an input is missing, or cannot be read.
    """
    known = (
        read_answered_problems(context.input_path("problems")) if context.inputs["problems"] else {}
    )
    levels = max_level(context.input_path("problems")) if known else PAPER_MAX_LEVEL
    if not context.inputs["imported"]:
        samples = read_samples(context.input_path("samples"))
        reward = context.input_name("reward_model") if context.inputs["reward_model"] else ""
        if not known:
            raise InputError(f"{context.stage} needs problems", hint="give --problems")
        return Candidates(
            known, samples, None, "probability", context.input_name("samples"), reward, levels
        )
    assert settings.import_format is not None
    file = context.input_path("imported")
    done = import_samples(settings.import_format, file)
    if known:
        done = match_problems(done, known.values())
    console.print(", ".join(f"{count:,} {what}" for what, count in done.counts.items()))
    if not context.inputs["reward_model"]:
        check_scale(done.scale, settings)
    parquet_store.write_table(context.output_dir / IMPORTED, done.samples)
    reward = context.input_name("reward_model") if context.inputs["reward_model"] else file.stem
    return Candidates(
        {p.id: p for p in done.problems},
        done.samples,
        None if context.inputs["reward_model"] else done.scores,
        done.scale,
        file.stem,
        reward,
        levels,
    )


def find_scores(
    context: StageContext[RerankSettings],
    settings: RerankSettings,
    candidates: Candidates,
    groups: Sequence[SampleGroup],
) -> tuple[pa.Table | None, str]:
    """Scores of the samples, and the kind of reward model that gave them."""
    if candidates.scores is not None:
        scores = candidates.scores
        if settings.transform == "sigmoid":
            scores = sigmoid(scores)
        conditions = {
            "imported": context.input_fingerprints["imported"],
            "problems": context.input_fingerprints["problems"],
            "transform": settings.transform,
        }
        scoring.write_scores(scores, context.output_dir / SCORES, conditions)
        return scores, ""
    if not context.inputs["reward_model"]:
        if settings.method != "majority":
            raise InputError(
                "the samples have no scores", hint="give --reward-model, or take --method majority"
            )
        return None, ""
    reward = context.model_or_path("reward_model")
    scores = scoring.score_samples(
        candidates.samples,
        {pool.problem.id: pool.problem for pool in groups},
        reward,
        context.output_dir / SCORES,
        conditions={
            "samples": context.input_fingerprints["samples"]
            or context.input_fingerprints["imported"],
            "reward": context.input_fingerprints["reward_model"],
            "precision": settings.precision,
            "family": settings.family,
        },
        family=settings.family,
        batch_tokens=settings.batch_tokens,
        precision=settings.precision,
        title="scoring",
    )
    return scores, kind_of(reward, settings.family)


def check_scale(scale: Scale, settings: RerankSettings) -> None:
    """Refuse votes that need probabilities where scores are none.

    Best-of-n takes any scale; sums of scores, products and odds do not.

    Raises:
        InputError: what needs them, and how to get them.
    """
    if scale == "probability" or settings.transform == "sigmoid":
        return
    odd = sorted({"prod", "mean_logit", "mean_odd"} & {*(settings.aggregate or ())})
    if settings.method in ("all", "weighted-voting"):
        odd = ["weighted voting"]
    elif settings.method == "majority":
        odd = []
    if odd:
        raise InputError(
            f"{', '.join(odd)} needs probabilities, and these scores are of {scale} scale",
            hint="give --transform sigmoid if they are logits, or take --method best-of-n",
        )


def sigmoid(scores: pa.Table) -> pa.Table:
    """Logits to probabilities, rows of ``parts.SCORES``."""
    steps = scores["step_scores"].combine_chunks()
    values = pa.array(expit(np.asarray(steps.flatten(), dtype=np.float64)), pa.float32())
    lengths = np.asarray(steps.value_lengths())
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    outcomes = expit(np.asarray(scores["outcome_score"], dtype=np.float64))
    columns = [
        scores["id"],
        scores["sample"],
        pa.ListArray.from_arrays(offsets, values),
        pa.array(outcomes, pa.float32()),
    ]
    return pa.table(columns, schema=parquet_store.SCORE_SCHEMA)
