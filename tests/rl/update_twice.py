"""Two updates of a policy with a checkpoint between them, for ``test_sharding``.

Arguments: the algorithm; folders of the generator, the reward model and the split; a file of
rollouts; a folder for checkpoints. The second update is made twice: ``again.pt`` is the one of new
models that start from the checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from e2h_cli.common import distributed
from e2h_cli.data.split_files import read_split
from e2h_cli.rl import sharding
from e2h_cli.rl.grpo import GRPOUpdater
from e2h_cli.rl.policy_models import load_policy_models
from e2h_cli.rl.policy_update import PolicyUpdater
from e2h_cli.rl.ppo import PPOUpdater
from e2h_cli.rl.rewards import Rewards
from e2h_cli.rl.rollout_batch import make_batch
from e2h_cli.rl.rollouts import read_solutions
from e2h_cli.settings.rl import GRPOSettings, PPOSettings


def new_updater(algo: str, generator: str, reward_model: str) -> PolicyUpdater[Any]:
    options: dict[str, Any] = {
        "steps": 4, "rollout_batch_size": 16, "batch_size": 8, "learning_rate": 1e-3,
        "batch_tokens": 300,
    }  # fmt: skip
    if algo == "grpo":
        grpo = GRPOSettings(algo="grpo", num_generations=4, **options)
        return GRPOUpdater(load_policy_models(generator, None, grpo), grpo)
    ppo = PPOSettings(**options)
    return PPOUpdater(load_policy_models(generator, reward_model, ppo), ppo)


def main(arguments: Sequence[str]) -> None:
    algo, generator, reward_model, split, file, results = arguments
    distributed.wait_for_everyone()
    problems = {p.id: p for part in ("easy", "hard") for p in read_split(Path(split), part)}
    rollouts = read_solutions(Path(file), problems)
    for i, r in enumerate(rollouts):
        r.rewards = Rewards([], (i * 7 % 5) / 4, 0.0, 0.0)

    def update(updater: PolicyUpdater[Any], step: int, name: str) -> None:
        metrics = updater.update(make_batch(rollouts, updater.models.tokenizer), step)
        memory = sharding.memory_of_parts(updater.models.trained, updater.optimizers)
        state = {"metrics": metrics, "memory": memory}
        updater.save_checkpoint(Path(results) / name, state)
        distributed.wait_for_everyone()

    updater = new_updater(algo, generator, reward_model)
    update(updater, 0, "first.pt")
    update(updater, 1, "second.pt")
    again = new_updater(algo, generator, reward_model)
    again.load_checkpoint(Path(results) / "first.pt")
    update(again, 1, "again.pt")


if __name__ == "__main__":
    import tests.fsdp_on_cpu  # noqa: F401

    main(sys.argv[1:])
