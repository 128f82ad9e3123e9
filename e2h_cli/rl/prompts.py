"""What all algorithms need: the questions, whose answers may be looked at, and the validation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from e2h_cli.common import distributed
from e2h_cli.common.errors import InputError
from e2h_cli.common.files import fingerprint
from e2h_cli.data.problem import Problem
from e2h_cli.data.split_files import max_level, read_split, read_training_problems, split_file
from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.engines.base import SamplingParameters
from e2h_cli.inference.engines.select import sampling_parameters
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.reports.result_files import read_predictions
from e2h_cli.rl.checkpoint_selection import Validation
from e2h_cli.rl.rewards import RewardShaping
from e2h_cli.settings.rl import OnPolicySettings, RLSettings


@dataclass(frozen=True, slots=True)
class Setup:
    """A run's questions and rewards.

    ``problems``: those that may be graded have their gold answer, the others None; ``read``:
    fingerprints of the files that were read.
    """

    problems: list[Problem]
    validation: Validation
    decoding: SamplingParameters
    read: dict[str, str]


def set_up(context: StageContext[RLSettings], grader: Grader) -> Setup:
    """Gather a run's questions and check that its settings go together.

    Raises:
        InputError: settings that contradict each other, or an input is missing.
    """
    settings = context.settings
    # In the main process alone, so that a mistake is told once.
    distributed.run_on_main(lambda: _check(context, settings))
    problems, read = training_problems(context, settings)
    place = context.input_path("problems")
    votes = read_predictions(context.input_path("votes")) if context.inputs["votes"] else {}
    validation = read_split(place, "validation")
    read["validation.jsonl"] = fingerprint(split_file(place, "validation"))
    decoding = sampling_parameters(settings)
    measured = Validation(validation, max_level(place), votes, grader, decoding)
    if not measured.sizes[settings.checkpoint_rule]:
        raise InputError(
            f"--checkpoint-rule {settings.checkpoint_rule}: no validation problem to measure it on",
            where=context.model_or_path("problems"),
            hint="take another --checkpoint-rule, or a split and votes with such problems",
        )
    return Setup(problems, measured, decoding, read)


def training_problems(
    context: StageContext[RLSettings], settings: RLSettings
) -> tuple[list[Problem], dict[str, str]]:
    """The questions, with gold answers where the settings allow, and the files that were read.

    Hard gold answers lie in a file of their own, which is opened only for ``--answers all``.
    """
    problems, read = read_training_problems(
        context.input_path("problems"), settings.questions, hard_answers=settings.answers == "all"
    )
    return [p.hidden() for p in problems] if settings.answers == "none" else problems, read


def shaping_of(settings: OnPolicySettings) -> RewardShaping:
    """The reward's constants."""
    return RewardShaping(
        scheme=settings.shaping,
        bound=settings.reward_upper_bound,
        step_scale=settings.step_reward_scale,
        step_bonus=settings.step_bonus,
        answer_reward=settings.answer_reward,
        unknown_reward=settings.unknown_answer_reward,
        format_penalty=settings.format_penalty,
    )


def _check(context: StageContext[RLSettings], settings: RLSettings) -> None:
    if not context.input_path("problems").is_dir():
        raise InputError(
            "not a split, and hard answers must stay hidden",
            where=context.model_or_path("problems"),
            hint="make one with: e2h split",
        )
    if settings.temperature == 0:
        raise InputError("--temperature 0: there is nothing to learn from one greedy solution")
    on_policy = isinstance(settings, OnPolicySettings)
    if on_policy and settings.rollout_batch_size % settings.num_generations:
        raise InputError(
            f"--rollout-batch-size {settings.rollout_batch_size} is no multiple of "
            f"--num-generations {settings.num_generations}",
            hint="a step asks rollout_batch_size / num_generations questions",
        )
    if settings.checkpoint_rule == "vote" and not context.inputs["votes"]:
        raise InputError(
            "--checkpoint-rule vote needs the votes of the first generator's validation samples",
            hint="give --votes, a rerank stage; or take --checkpoint-rule easy",
        )
    scored = settings.algo == "dpo" or (on_policy and settings.shaping != "none")
    if scored and not context.inputs["reward_model"]:
        raise InputError(
            f"--algo {settings.algo} needs a reward model",
            hint="give --reward-model, or take --shaping none for final answers only",
        )
    if not scored:
        blind = settings.answers == "none" or (
            settings.answers == "easy" and settings.questions == "hard"
        )
        if blind:
            raise InputError(
                f"--questions {settings.questions} --answers {settings.answers}: no answer may be "
                "looked at, and nothing else gives a reward",
                hint="take --answers all, or a reward model",
            )


def questions_of_step(
    problems: Sequence[Problem], count: int, step: int, seed: int
) -> list[Problem]:
    """The distinct questions of a step; every epoch has an order of its own.

    Raises:
        InputError: there are fewer questions than a step asks.
    """
    per_epoch = len(problems) // count
    if not per_epoch:
        raise InputError(
            f"a step asks {count:,} questions, and there are {len(problems):,}",
            hint="lower --rollout-batch-size, or raise --num-generations",
        )
    epoch, place = divmod(step, per_epoch)
    order = list(problems)
    random.Random(f"questions {seed} {epoch}").shuffle(order)
    return order[place * count : (place + 1) * count]


def record(setup: Setup, counts: dict[str, Any]) -> dict[str, Any]:
    """A stage's counts, with the files that it read."""
    return {"questions": len(setup.problems), **counts, "read": setup.read}
