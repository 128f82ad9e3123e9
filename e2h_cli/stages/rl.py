"""``e2h rl``: train a generator by PPO, GRPO, ReST-EM or iterative DPO.

Reads: problems (a split), model, and where given reward_model and votes (a rerank stage).
Writes: the model of the best checkpoint, log.jsonl, tensorboard/, training.png and .svg; PPO and
GRPO write rollouts/, ReST-EM and DPO a folder per iteration.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from e2h_cli.common import distributed
from e2h_cli.common.console import console
from e2h_cli.common.errors import InputError, RunError, reason_of
from e2h_cli.common.files import fingerprint
from e2h_cli.common.tracking import Tracker
from e2h_cli.data.problem import Problem, solved_by_programs
from e2h_cli.data.split_files import max_level, read_split, read_training_problems, split_file
from e2h_cli.grading import get_grader
from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.engines.select import sampling_parameters
from e2h_cli.inference.sampling import style_of
from e2h_cli.models.reward_formats import open_reward_model
from e2h_cli.pipeline.lineage import SEEN, seen_levels
from e2h_cli.pipeline.stage_context import StageContext
from e2h_cli.reports.result_files import read_predictions
from e2h_cli.rl.checkpoint_selection import ValidationSet, best_checkpoint, compare_rules
from e2h_cli.rl.dpo import IterativeDPOTrainer
from e2h_cli.rl.grpo import GRPOUpdater
from e2h_cli.rl.iterated import IteratedTrainer
from e2h_cli.rl.memory_plan import log_memory_plan
from e2h_cli.rl.on_policy import OnPolicyTrainer, questions_of_step
from e2h_cli.rl.policy_models import load_policy_models, open_policy_engine
from e2h_cli.rl.policy_update import PolicyUpdater
from e2h_cli.rl.ppo import PPOUpdater
from e2h_cli.rl.rest_em import RestEMTrainer
from e2h_cli.rl.run_log import plot_training
from e2h_cli.settings.rl import CheckpointRule, OnPolicySettings, RLSettings

Context = StageContext[RLSettings]
Trainer = OnPolicyTrainer | IteratedTrainer[Any]
_ITERATED: dict[str, type[IteratedTrainer[Any]]] = {
    "rest-em": RestEMTrainer,
    "dpo": IterativeDPOTrainer,
}
_ON_POLICY: dict[str, type[PolicyUpdater[Any]]] = {"ppo": PPOUpdater, "grpo": GRPOUpdater}


def run(context: Context) -> dict[str, Any]:
    """Train a generator by reinforcement learning; the stage's folder is the model."""
    settings = context.settings
    # On rank 0 alone, so that a mistake is reported once.
    distributed.run_on_main(lambda: _check(context))
    split = context.input_path("problems")
    with (
        context.tracker() as tracker,
        get_grader(settings.grader, cache=context.verdict_cache) as grader,
    ):
        # Hard gold answers are in a file of their own, which is opened for --answers all only.
        problems, read = read_training_problems(
            split, settings.questions, hard_answers=settings.answers == "all"
        )
        if settings.answers == "none":
            problems = [p.hidden() for p in problems]
        validation = _validation_set(context, grader)
        read["validation.jsonl"] = fingerprint(split_file(split, "validation"))
        with _runtime_errors_in_one_line(context.stage):
            trainer = _trainer(context, problems, validation, grader, tracker)
            trainer.train()
            best = best_checkpoint(trainer.history, settings.checkpoint_rule)
            assert best is not None  # there are validation problems
            trainer.save_model(best["step"], context.output_dir)
            if not distributed.is_main_process():
                return {}
        tracker.finish({"best_step": best["step"], **trainer.counts})
    choices = compare_rules(trainer.history, settings.checkpoint_rule, trainer.unit)
    for line in choices:
        console.print(line)
    plot_training(
        trainer.log.lines,
        context.output_dir / "training",
        note=f"{context.stage}, {context.made_at}; chosen: {trainer.unit} {best['step']}",
        unit=trainer.unit,
    )
    return {
        "questions": len(problems),
        **trainer.counts,
        "checkpoint_rule": settings.checkpoint_rule,
        "best_step": best["step"],
        "best": {rule: value for rule, value in best.items() if rule != "step"},
        "choices": choices,
        "read": read,
        SEEN: _seen(problems, validation, settings.checkpoint_rule),
    }


def _seen(
    problems: Sequence[Problem], validation: ValidationSet, rule: CheckpointRule
) -> dict[str, list[int]]:
    """Levels of the questions, of the gold answers that gave rewards, and of those that chose."""
    return seen_levels(
        questions=problems,
        answers=[problem for problem in problems if problem.answer is not None],
        choice=validation.answers_read(rule),
    )


def _check(context: Context) -> None:
    """Raise InputError if the settings do not agree with each other or with the inputs."""
    settings = context.settings
    settings.refuse_unused()
    style_of(settings, context.model_or_path("model"))  # refuses a model without a chat template
    on_policy = settings if isinstance(settings, OnPolicySettings) else None
    if on_policy and on_policy.shaping == "paper" and settings.is_chat:
        raise InputError(
            "--shaping paper reads solutions in e2h's template", hint="take --shaping minimum"
        )
    split = context.input_path("problems")
    if not split.is_dir():
        raise InputError(
            "not a split, and hard answers must stay hidden",
            where=split,
            hint="make one with: e2h split",
        )
    if solved_by_programs(read_split(split, "easy")):
        message = "rewards are of answers and steps, and these problems are solved by programs"
        raise InputError(message, where=split)
    if settings.temperature == 0:
        raise InputError("--temperature 0: there is nothing to learn from one greedy solution")
    if on_policy and on_policy.rollout_batch_size % settings.num_generations:
        raise InputError(
            f"--rollout-batch-size {on_policy.rollout_batch_size} is no multiple of "
            f"--num-generations {settings.num_generations}",
            hint="a step asks rollout_batch_size / num_generations questions",
        )
    if settings.checkpoint_rule == "vote" and not context.optional_input("votes"):
        raise InputError(
            "--checkpoint-rule vote needs the votes of the initial generator's validation samples",
            hint="give --votes, a rerank stage; or take --checkpoint-rule easy",
        )
    needs_reward_model = on_policy.shaping != "none" if on_policy else settings.algo == "dpo"
    if needs_reward_model:
        if not context.optional_input("reward_model"):
            other = ", or take --shaping none for final answers only" if on_policy else ""
            raise InputError(
                f"--algo {settings.algo} needs a reward model", hint=f"give --reward-model{other}"
            )
    elif settings.answers == "none" or (settings.answers, settings.questions) == ("easy", "hard"):
        raise InputError(
            f"--questions {settings.questions} --answers {settings.answers}: no answer may be "
            "looked at, and nothing else gives a reward",
            hint="take --answers all, or a reward model",
        )


def _validation_set(context: Context, grader: Grader) -> ValidationSet:
    """The validation problems with the votes. Raises InputError if the rule has none."""
    settings, split = context.settings, context.input_path("problems")
    votes = context.optional_input("votes")
    style = style_of(settings, context.model_or_path("model"))
    validation = ValidationSet(
        read_split(split, "validation"),
        max_level(split),
        read_predictions(context.input_path("votes")) if votes else {},
        grader,
        replace(sampling_parameters(settings), stop_token_ids=style.stop_token_ids),
        style,
    )
    if not validation.sizes[settings.checkpoint_rule]:
        raise InputError(
            f"--checkpoint-rule {settings.checkpoint_rule}: no validation problem to measure it on",
            where=split,
            hint="take another --checkpoint-rule, or a split and votes with such problems",
        )
    return validation


def _trainer(
    context: Context,
    problems: Sequence[Problem],
    validation: ValidationSet,
    grader: Grader,
    tracker: Tracker,
) -> Trainer:
    """The trainer of the algorithm of the settings."""
    settings, model = context.settings, context.model_or_path("model")
    reward_model, scorer = context.optional_input("reward_model"), None
    outputs = (context.output_dir, context.scratch_dir, context.stage, tracker)
    if isinstance(settings, OnPolicySettings) and settings.shaping == "none":
        reward_model = None
    log_memory_plan(model, reward_model, settings)
    if not isinstance(settings, OnPolicySettings):
        trainer = _ITERATED[settings.algo]
        return trainer(problems, validation, model, reward_model, settings, grader, *outputs)
    # Fails before the models are loaded if there are too few questions.
    questions_of_step(problems, settings, 0)
    models = load_policy_models(model, reward_model, settings)
    questions = [*problems, *validation.problems]
    prompts = list({validation.style.prompt(p.problem) for p in questions})
    engine = open_policy_engine(models, model, settings, prompts, context.scratch_dir)
    if reward_model:
        scorer = open_reward_model(reward_model, settings.family)
        if settings.shaping == "paper" and scorer.family == "sequence-classification":
            raise InputError(
                "--shaping paper pays steps, and this reward model scores whole solutions only",
                where=reward_model,
                hint="take --shaping minimum",
            )
    updater = _ON_POLICY[settings.algo](models, settings)
    return OnPolicyTrainer(problems, validation, updater, engine, scorer, grader, *outputs)


@contextlib.contextmanager
def _runtime_errors_in_one_line(stage: str) -> Iterator[None]:
    """Turn errors such as a lack of memory into a RunError with a hint."""
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        hint = "the same command goes on from the last checkpoint"
        raise RunError(f"{stage} failed: {reason_of(error)}", hint=hint) from error
