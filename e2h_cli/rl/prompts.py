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
from e2h_cli.data.split_files import max_level, part_file, read_levels, read_part
from e2h_cli.evaluation.predictions import read_winners
from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.engines.base import Decoding
from e2h_cli.inference.engines.select import decoding_of
from e2h_cli.pipeline.runner import Work
from e2h_cli.rl.checkpoint_selection import Validation
from e2h_cli.rl.rewards import Shaping
from e2h_cli.settings.rl import RLSettings


@dataclass(frozen=True, slots=True)
class Setup:
    """A run's questions and rewards.

    ``problems``: those that may be graded have their gold answer, the others None; ``read``:
    fingerprints of the files that were read.
    """

    problems: list[Problem]
    validation: Validation
    shaping: Shaping
    decoding: Decoding
    read: dict[str, str]


def set_up(work: Work, grader: Grader) -> Setup:
    """Gather a run's questions and check that its settings go together.

    Raises:
        InputError: settings that contradict each other, or an input is missing.
    """
    settings = work.settings
    assert isinstance(settings, RLSettings)
    # In the main process alone, so that a mistake is told once.
    distributed.main_decides(lambda: _check(work, settings))
    problems, read = training_problems(work, settings)
    place = work.path("problems")
    votes = read_winners(work.path("votes")) if work.inputs["votes"] else {}
    validation = read_part(place, "validation")
    read["validation.jsonl"] = fingerprint(part_file(place, "validation"))
    decoding = decoding_of(settings)
    measured = Validation(validation, max_level(place), votes, grader, decoding)
    if not measured.sizes[settings.rule]:
        raise InputError(
            f"--rule {settings.rule}: no validation problem to measure it on",
            where=work.place("problems"),
            hint="take another --rule, or a split and votes with such problems",
        )
    return Setup(problems, measured, shaping_of(settings), decoding, read)


def training_problems(work: Work, settings: RLSettings) -> tuple[list[Problem], dict[str, str]]:
    """The questions, with gold answers where the settings allow, and the files that were read.

    Hard gold answers lie in a file of their own, which is opened only for ``--answers all``.
    """
    problems, read = read_levels(
        work.path("problems"), settings.questions, hidden=settings.answers == "all"
    )
    return [p.hidden() for p in problems] if settings.answers == "none" else problems, read


def shaping_of(settings: RLSettings) -> Shaping:
    """The reward's constants."""
    return Shaping(
        scheme=settings.shaping,
        bound=settings.bound,
        step_scale=settings.step_scale,
        step_bonus=settings.step_bonus,
        answer_reward=settings.answer_reward,
        unknown_reward=settings.unknown_reward,
        format_penalty=settings.format_penalty,
    )


def _check(work: Work, settings: RLSettings) -> None:
    if not work.path("problems").is_dir():
        raise InputError(
            "not a split, and hard answers must stay hidden",
            where=work.place("problems"),
            hint="make one with: e2h split",
        )
    if settings.temperature == 0:
        raise InputError("--temperature 0: there is nothing to learn from one greedy solution")
    if settings.algo in ("ppo", "grpo"):
        if settings.steps is None:
            raise InputError(f"--algo {settings.algo} needs --steps")
        if settings.rollouts % settings.n:
            raise InputError(
                f"--rollouts {settings.rollouts} is no multiple of --n {settings.n}",
                hint="a step asks rollouts / n questions",
            )
    elif settings.steps is not None:
        raise InputError(
            f"--steps is not for {settings.algo}",
            hint="--rounds and --epochs say how long it trains",
        )
    if settings.algo in ("grpo", "dpo") and settings.n < 2:
        raise InputError(f"--algo {settings.algo} compares solutions: --n must be 2 at least")
    if settings.rule == "vote" and not work.inputs["votes"]:
        raise InputError(
            "--rule vote needs the votes of the first generator's validation samples",
            hint="give --votes, a rerank stage; or take --rule easy",
        )
    scored = settings.algo == "dpo" or (
        settings.algo in ("ppo", "grpo") and settings.shaping != "none"
    )
    if scored and not work.inputs["reward"]:
        raise InputError(
            f"--algo {settings.algo} with --shaping {settings.shaping} needs a reward model",
            hint="give --reward, or take --shaping none for final answers only",
        )
    if settings.algo == "rest-em" or settings.shaping == "none":
        blind = settings.answers == "none" or (
            settings.answers == "easy" and settings.questions == "hard"
        )
        if blind and settings.algo != "dpo":
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
            hint="lower --rollouts, or raise --n",
        )
    epoch, place = divmod(step, per_epoch)
    order = list(problems)
    random.Random(f"questions {seed} {epoch}").shuffle(order)
    return order[place * count : (place + 1) * count]


def record(setup: Setup, counts: dict[str, Any]) -> dict[str, Any]:
    """A stage's counts, with the files that it read."""
    return {"questions": len(setup.problems), **counts, "read": setup.read}
