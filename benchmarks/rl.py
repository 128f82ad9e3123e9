"""A step of reinforcement learning: solutions per second, where the time goes, and TRL's trainer.

python -m benchmarks.rl [--model DIR --reward DIR] [--steps 3] [--rollouts 256] [--cpu-seconds]

--model, --reward: as runs/experiment-tiny/sft and runs/experiment-tiny/train-rm. Without them a
model of half a million random parameters samples, and scores itself. --cpu-seconds: beside other
jobs, with OMP_NUM_THREADS=1.
Both are compared with TRL's GRPOTrainer per solution: the same model, questions, rewards, batch, KL
and number of optimiser steps, in this process. PPO also trains a value model, which TRL's has not.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from e2h_cli.data import chain_arithmetic, template
from e2h_cli.data.problem import Problem
from e2h_cli.grading import get_grader
from e2h_cli.grading.verdict import Grader
from e2h_cli.inference.engines.base import SamplingParameters
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.models import tiny
from e2h_cli.models.reward_formats import RewardModel, open_reward_model
from e2h_cli.models.reward_model import new_reward_model
from e2h_cli.rl.grpo import GRPOUpdater
from e2h_cli.rl.policy_models import load_policy_models
from e2h_cli.rl.policy_update import PolicyUpdater
from e2h_cli.rl.ppo import PPOUpdater
from e2h_cli.rl.rollout_batch import make_batch
from e2h_cli.rl.rollout_scoring import score_rollouts
from e2h_cli.rl.rollouts import Rollout, open_store, read_solutions, sample_solutions
from e2h_cli.settings.rl import GRPOSettings, PPOSettings, RewardSettings

# A value head on the policy has no target of its own.
TARGETS = {"ppo": 1.5, "ppo, shared value head": 1.5, "grpo": 2.5}
_N = 16
_BATCH = 64
_TOKENS = 96
_PASS = 2048


def main() -> None:
    """Print solutions per second of ours and theirs, their ratio, and the shares of our time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--reward")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rollouts", type=int, default=256)
    parser.add_argument(
        "--cpu-seconds", dest="clock", action="store_const", const=time.process_time,
        default=time.perf_counter,
    )  # fmt: skip
    options = parser.parse_args()
    torch.manual_seed(0)
    print(f"{torch.get_num_threads()} threads, {options.rollouts} solutions a step")
    with tempfile.TemporaryDirectory() as name, get_grader("exact") as grader:
        place = Path(name)
        model = options.model or _random(place / "model")
        reward = open_reward_model(options.reward or _random_reward(model, place / "reward"))
        # The first step of every kind warms up.
        ours = {algo: _ours(algo, model, reward, grader, place / algo, options) for algo in TARGETS}
        theirs = _theirs(model, reward, grader, place / "trl", options)
    print(f"TRL's GRPOTrainer: {theirs:.1f} solutions/s")
    for algo, target in TARGETS.items():
        ratio = ours[algo] / theirs
        below = "" if ratio >= target else "   BELOW TARGET"
        print(f"{algo}: ratio {ratio:.2f} (target {target}){below}")


def _random(folder: Path) -> str:
    tokenizer = tiny.tokenizer()
    tiny.model(tokenizer, hidden_size=96, num_layers=4, num_heads=6).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def _random_reward(model: str, folder: Path) -> str:
    new_reward_model(model, "prm").save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return str(folder)


def _problems(count: int, seed: int) -> list[Problem]:
    rng = random.Random(seed)
    found = []
    for i in range(count):
        chain = chain_arithmetic.draw(1 + i % 5, rng)
        answer = chain_arithmetic.solve(chain)[1]
        found.append(Problem(f"p{seed}-{i}", chain.question, 1 + i % 5, "", "", answer=answer))
    return found


def _updater(algo: str, model: str, rollouts: int) -> PolicyUpdater[Any]:
    settings = {
        "num_generations": _N, "rollout_batch_size": rollouts, "batch_size": _BATCH,
        "learning_rate": 1e-5, "temperature": 1.0,
    }  # fmt: skip
    if algo.startswith("ppo"):
        ppo = PPOSettings.model_validate({**settings, "shared_value_head": algo != "ppo"})
        return PPOUpdater(load_policy_models(model, None, ppo), ppo)
    grpo = GRPOSettings.model_validate(settings)
    return GRPOUpdater(load_policy_models(model, None, grpo), grpo)


def _ours(
    algo: str, model: str, reward: RewardModel, grader: Grader, place: Path, options: Any
) -> float:
    updater = _updater(algo, model, options.rollouts)
    models = updater.models
    engine = TransformersEngine(models.policy, models.tokenizer)
    spent = {"rollout": 0.0, "score": 0.0, "learn": 0.0}
    for step in range(options.steps + 1):
        problems = _problems(options.rollouts // _N, step)
        marks = [options.clock()]
        store = open_store(place / f"{step}.parquet", place / f"parts-{step}")
        sample_solutions(
            engine, problems, _N, SamplingParameters(1.0, 0, max_tokens=_TOKENS), step, store
        )
        store.merge(p.id for p in problems)
        rollouts = read_solutions(store.target, {p.id: p for p in problems})
        marks.append(options.clock())
        score_rollouts(rollouts, grader, RewardSettings(), reward, _PASS)
        marks.append(options.clock())
        updater.update(make_batch(rollouts, models.tokenizer), step)
        marks.append(options.clock())
        if step:
            for name, begin, end in zip(spent, marks, marks[1:], strict=False):
                spent[name] += end - begin
    total = sum(spent.values())
    speed = options.rollouts * options.steps / total
    shares = ", ".join(f"{name} {part / total:.0%}" for name, part in spent.items())
    print(f"{algo}: {speed:.1f} solutions/s ({shares})")
    return speed


def _theirs(model: str, reward: RewardModel, grader: Grader, place: Path, options: Any) -> float:
    import datasets
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(model)
    problems = [p for step in range(options.steps + 1)
                for p in _problems(options.rollouts // _N, step)]  # fmt: skip
    known = {template.prompt(p.problem): p for p in problems}

    def total_rewards(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        rollouts = [
            Rollout(known[prompt], i, text, True, [], template.parse(text))
            for i, (prompt, text) in enumerate(zip(prompts, completions, strict=True))
        ]
        score_rollouts(rollouts, grader, RewardSettings(), reward, _PASS)
        return [r.rewards.total for r in rollouts]

    updates = options.rollouts // _BATCH

    class StepClock(TrainerCallback):
        begin = end = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == updates:
                self.begin = options.clock()
            self.end = options.clock()

    clock = StepClock()
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        reward_funcs=total_rewards,
        args=GRPOConfig(
            output_dir=str(place), per_device_train_batch_size=_BATCH, num_generations=_N,
            steps_per_generation=updates, max_steps=updates * (options.steps + 1),
            max_completion_length=_TOKENS, temperature=1.0, top_k=0, beta=0.01,
            learning_rate=1e-5, use_cpu=not torch.cuda.is_available(), bf16=False,
            gradient_checkpointing=False, save_strategy="no", report_to="none",
            disable_tqdm=True, logging_steps=1000, dataloader_pin_memory=False, seed=0,
        ),
        train_dataset=datasets.Dataset.from_list([{"prompt": prompt} for prompt in known]),
        processing_class=tokenizer,
        callbacks=[clock],
    )  # fmt: skip
    trainer.train()
    return options.rollouts * options.steps / (clock.end - clock.begin)


if __name__ == "__main__":
    main()
