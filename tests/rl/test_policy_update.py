"""From rollouts to gradients: masks, end of text, tokenizers, and a loop that anybody can check."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from e2h_cli.data import template
from e2h_cli.grading import get_grader
from e2h_cli.inference.engines.base import SamplingParameters
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.models.loading import load_generator
from e2h_cli.models.reward_formats import open_reward_model
from e2h_cli.models.reward_model import new_reward_model
from e2h_cli.rl.grpo import GRPOUpdater
from e2h_cli.rl.losses import token_logprobs, token_values
from e2h_cli.rl.policy_models import PolicyModels, load_policy_models, sync_weights
from e2h_cli.rl.policy_update import PolicyUpdater
from e2h_cli.rl.ppo import PPOUpdater
from e2h_cli.rl.rewards import Rewards, differences
from e2h_cli.rl.rollout_batch import Batch, make_batch
from e2h_cli.rl.rollout_scoring import score_rollouts, token_rewards
from e2h_cli.rl.rollouts import Rollout, open_store, read_solutions, sample_solutions
from e2h_cli.settings.rl import GRPOSettings, PPOSettings, RewardSettings
from tests import builders
from tests.rl.conftest import QUESTIONS, rollout

TEXTS = ["b=3+4=7\n\nc=7*2=4\n\n# Answer\n\n4", "b=1\n\n# Answer\n\n1", "", "b=2+4=6\n\nc=6*"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    texts = [template.prompt(q.problem) for q in QUESTIONS] + TEXTS + ["0123456789+-*abc=#"]
    tokens = builders.tokenizer("character", texts)
    return builders.llama(tmp_path_factory.mktemp("policy"), tokens)


def made(model: Path, algo: str = "ppo", **changes: Any) -> PolicyUpdater[Any]:
    """An updater of ten optimizer steps, each on a whole batch."""
    own: dict[str, Any] = {
        "batch_size": 64, "rollout_batch_size": 64, "steps": 10, "learning_rate": 1e-2,
        "warmup_ratio": 0.0, "temperature": 1.0, **changes,
    }  # fmt: skip
    if algo == "ppo":
        settings = PPOSettings(**own)
        return PPOUpdater(load_policy_models(str(model), None, settings), settings)
    group = GRPOSettings(**own)
    return GRPOUpdater(load_policy_models(str(model), None, group), group)


def some_rollouts(models: PolicyModels) -> list[Rollout]:
    rewards = [Rewards([0.1, -0.4], 0.7, 0, 0), Rewards([-0.2], 0.3, 0, 0),
               Rewards([], -1.0, 0, 0), Rewards([0.2], -0.6, 0, 0)]  # fmt: skip
    return [
        rollout(models.tokenizer, q, text, i != 3, r)
        for i, (q, text, r) in enumerate(zip(QUESTIONS, TEXTS, rewards, strict=False))
    ]


def some_batch(models: PolicyModels, padding: int = 0) -> Batch:
    batch = make_batch(some_rollouts(models), models.tokenizer)
    for field in (
        "ids",
        "attention_mask",
        "completion_mask",
        "return_mask",
        "rewards",
        "reward_mask",
    ):
        setattr(batch, field, torch.nn.functional.pad(getattr(batch, field), (0, padding)))
    return batch


@pytest.mark.parametrize("algo", ["ppo", "grpo"])
def test_padding_changes_nothing(model: Path, algo: str) -> None:
    found = []
    for padding in (0, 100):
        updater = made(model, algo, **({"whiten_rewards": "scale"} if algo == "ppo" else {}))
        metrics = updater.update(some_batch(updater.models, padding), 0)
        policy = updater.models.policy
        found.append((metrics, torch.cat([p.flatten() for p in policy.parameters()])))
    for key, value in found[0][0].items():
        assert value == pytest.approx(found[1][0][key], rel=1e-4, abs=1e-6), key
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def naive_losses(
    models: PolicyModels, rollouts: list[Rollout], kl_coef: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """PPO's two losses, one solution and one token at a time, as the formulas are written."""
    rows = []
    for r in rollouts:
        prompt = models.tokenizer(template.prompt(r.problem.problem)).input_ids
        ids = torch.tensor([prompt + r.ids])
        logits = models.policy(input_ids=ids).logits[0].log_softmax(-1)
        with torch.no_grad(), models.reference_policy() as reference:
            first = reference(input_ids=ids).logits[0].log_softmax(-1)
        values = models.value(input_ids=ids).logits[0, :, 0]
        given = [0.0] * len(r.ids)
        for position, reward in token_rewards(r, models.tokenizer):
            given[position] += reward
        row = []
        for k, token in enumerate(r.ids):
            before = len(prompt) + k - 1
            kl = (logits[before, token] - first[before, token]).item()
            row.append((logits[before, token], values[before], given[k] - kl_coef * kl))
        rows.append(row)
    # lambda = gamma = 1: the advantage is what is still to come, less what was expected.
    every = []
    for row in rows:
        for k, (logprob, value, _) in enumerate(row):
            to_come = sum(reward for _, _, reward in row[k:])
            every.append((logprob, value, to_come, to_come - value.item()))
    advantages = [a for *_, a in every]
    mean = sum(advantages) / len(advantages)
    deviation = math.sqrt(sum((a - mean) ** 2 for a in advantages) / len(advantages))
    policy = sum(-torch.exp(p - p.detach()) * (a - mean) / deviation for p, _, _, a in every)
    value = sum(0.5 * (v - to_come) ** 2 for _, v, to_come, _ in every)
    return policy / len(every), value / len(every)  # type: ignore[operator,return-value]


class NoOptimizer:
    """Leaves weights and gradients as they are."""

    def __init__(self) -> None:
        self.param_groups: list[dict[str, Any]] = [{}]

    def step(self) -> None:
        pass

    def zero_grad(self, set_to_none: bool) -> None:
        pass


def test_the_gradient_is_that_of_a_naive_loop(model: Path) -> None:
    updater = made(model, kl_coef=0.1, batch_tokens=80)
    updater.optimizer_steps = 1  # fitting the value head to the first returns has its own test
    models = updater.models
    # The policy has moved away from its reference, and values are not all 0.
    with torch.no_grad():
        for p in [*models.policy.parameters(), *models.value.parameters()]:
            p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    rollouts = some_rollouts(models)
    policy, value = naive_losses(models, rollouts, 0.1)
    expected = {}
    for name, loss in (("policy", policy), ("value", value)):
        trained = [p for p in models.trained[name].parameters() if p.requires_grad]
        gradients = torch.autograd.grad(loss, trained)
        # Clipped to norm 1 (paper p.20).
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        expected[name] = [g / max(1.0, norm) for g in gradients]
    updater.optimizers = dict.fromkeys(models.trained, NoOptimizer())  # type: ignore[arg-type]
    metrics = updater.update(make_batch(rollouts, models.tokenizer), 0)
    for name, net in models.trained.items():
        for found, wanted in zip(
            (p.grad for p in net.parameters() if p.requires_grad), expected[name], strict=True
        ):
            assert torch.allclose(found, wanted, atol=1e-5), name
    assert metrics["value_loss"] == pytest.approx(value.item(), rel=1e-4)
    assert metrics["policy_loss"] == pytest.approx(policy.item(), abs=1e-5)


@pytest.mark.parametrize("padding", [False, True])
def test_micro_batches_change_no_gradient(model: Path, padding: bool) -> None:
    """A batch of 16 solutions whole, and in micro-batches of 4."""
    found: dict[int, list[torch.Tensor]] = {}
    for size in (16, 4):
        options = {"whiten_rewards": "keep-mean", "count_padding": True} if padding else {}
        updater = made(model, micro_batch_size=size, batch_size=16, max_tokens=32, **options)
        many = [r for _ in range(4) for r in some_rollouts(updater.models)]
        batch = make_batch(many, updater.models.tokenizer, updater.settings.padded_length)
        with builders.gradients() as found[size]:
            updater.update(batch, 0)
    assert len(found[4]) == len(found[16]) == 2  # of policy and value model
    for whole, cut in zip(found[16], found[4], strict=True):
        assert float((whole - cut).norm()) <= 1e-6 * float(whole.norm())


@pytest.mark.parametrize("algo", ["ppo", "grpo"])
def test_ending_is_learned(model: Path, algo: str) -> None:
    """Of two beginnings that are equal the one that ends is rewarded: it ends more often."""
    updater = made(model, algo)
    models = updater.models
    text = "b=1\n\nc=2"
    ends = rollout(models.tokenizer, QUESTIONS[0], text, True, Rewards([], 1.0, 0, 0))
    goes_on = rollout(models.tokenizer, QUESTIONS[0], text + "+", False, Rewards([], 0.0, 0, 0))
    batch = make_batch([ends, goes_on], models.tokenizer)

    def chance() -> float:
        with torch.no_grad():
            logprobs = token_logprobs(models.policy, batch, 1.0)
        return float(logprobs[0, batch.lengths[0] - 1].exp())

    before = chance()
    for step in range(3):
        updater.update(batch, step)
    assert chance() > 1.2 * before


def test_lora_is_merged_and_taken_away(model: Path) -> None:
    updater = made(model, lora_rank=4)
    models = updater.models
    batch = some_batch(models)
    with torch.no_grad():
        for name, p in models.policy.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.1)
        adapted = token_logprobs(models.policy, batch, 1.0)
        with models.reference_policy() as reference:
            first = token_logprobs(reference, batch, 1.0)
        plain = load_generator(str(model))
        assert torch.allclose(first, token_logprobs(plain, batch, 1.0))
        _, weights = models.merged_policy()
        plain.load_state_dict(weights)
        merged = token_logprobs(plain, batch, 1.0)
    assert not torch.allclose(adapted, first, atol=1e-3)
    assert torch.allclose(adapted, merged, atol=1e-5)
    # The head of the value model is trained whole, and scaled to the returns.
    with torch.no_grad():
        head = models.value.base_model.model.score.modules_to_save["default"]
        head.weight.normal_()
    before = head.weight.clone()
    updater.update(batch, 0)
    assert not torch.allclose(head.weight, before, rtol=0.1)


def test_checkpointing_activations_changes_nothing(model: Path) -> None:
    found = []
    for on in (False, True):
        updater = made(model, gradient_checkpointing=on)
        batch = some_batch(updater.models)
        updater.update(batch, 0)
        found.append(updater.update(batch, 1))
    for key, value in found[0].items():
        assert value == pytest.approx(found[1][key], rel=1e-3, abs=1e-5), key


def test_a_damaged_checkpoint_is_set_aside(model: Path, tmp_path: Path) -> None:
    updater, file = made(model), tmp_path / "checkpoint.pt"
    updater.save_checkpoint(file, {"step": 3})
    assert made(model).load_checkpoint(file) == {"step": 3}
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a checkpoint"):
        file.write_bytes(damaged)
        assert made(model).load_checkpoint(file) == {}
        assert not file.exists()
        assert (tmp_path / "torn-checkpoint.pt").read_bytes() == damaged


def test_values_begin_at_the_scale_of_returns(model: Path) -> None:
    updater = made(model, value_lr_multiplier=1e-9)
    models = updater.models
    with torch.no_grad():
        models.value.score.weight.normal_(std=20)
    batch = some_batch(models)
    metrics = updater.update(batch, 0)
    assert 0 <= metrics["explained_variance"] <= 1
    # What was fitted is in the model, not only in this step's numbers.
    again = updater.update(batch, 1)
    assert again["explained_variance"] == pytest.approx(metrics["explained_variance"], abs=0.05)


def test_values_stand_before_their_tokens(model: Path) -> None:
    models = made(model).models
    with torch.no_grad():
        for p in models.value.parameters():
            p.add_(0.02)
        batch = some_batch(models)
        row = batch.lengths.index(min(batch.lengths))
        start, length = batch.starts[row], batch.lengths[row]
        found = token_values(models.value, batch)[row]
        whole = models.value(input_ids=batch.ids[row : row + 1, :length]).logits[0, :, 0]
    assert not found[:start].any() and not found[length:].any()
    assert found[start:length].tolist() == pytest.approx(whole[start - 1 : length - 1].tolist())


def test_a_policy_of_characters_learns_from_a_reward_model_of_word_pieces(
    model: Path, tmp_path: Path
) -> None:
    """Byte-level pairs on one side, characters on the other: the reward still rises."""
    torch.manual_seed(1)
    place = builders.llama(tmp_path / "base", builders.tokenizer("byte-bpe"))
    scorer = new_reward_model(str(place), "prm")
    # A taste of its own: some texts it likes, others not.
    torch.nn.init.normal_(scorer.score.weight, std=3.0)
    scorer.save_pretrained(tmp_path / "rm")
    builders.tokenizer("byte-bpe").save_pretrained(tmp_path / "rm")
    reward = open_reward_model(str(tmp_path / "rm"))
    updater = made(model, kl_coef=0.0)
    models = updater.models
    assert models.tokenizer.get_vocab() != reward.tokenizer.get_vocab()
    engine = TransformersEngine(models.policy, models.tokenizer)
    settings = RewardSettings(shaping="differences")
    means, placed = [], 0
    with get_grader("exact") as grader:
        for step in range(8):
            store = open_store(tmp_path / f"{step}.parquet", tmp_path / f"parts-{step}", "a")
            sample_solutions(
                engine, QUESTIONS, 8, SamplingParameters(1.0, 0, max_tokens=24), step, store
            )
            store.merge(q.id for q in QUESTIONS)
            hidden = {q.id: q.hidden() for q in QUESTIONS}
            rollouts = read_solutions(tmp_path / f"{step}.parquet", hidden)
            score_rollouts(rollouts, grader, settings, reward, 2048)
            for r in rollouts:
                # Steps are paid as they are scored; wherever it ends, the last score counts, since
                # nothing here writes whole solutions.
                steps = differences([*r.scores.steps, r.scores.outcome])
                r.rewards = Rewards(steps[:-1], steps[-1], 0, 0)
            placed += sum(len(r.rewards.steps) for r in rollouts)
            means.append(sum(r.rewards.total for r in rollouts) / len(rollouts))
            updater.update(make_batch(rollouts, models.tokenizer), step)
            sync_weights(engine, models)
    assert sum(means[-2:]) > sum(means[:2]) + 0.2, means
    assert placed > 20
