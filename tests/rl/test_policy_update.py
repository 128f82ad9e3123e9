"""From rollouts to gradients: masks, end of text, tokenizers, and a loop that anybody can check."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForTokenClassification, PreTrainedTokenizerFast

from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.grading import get_grader
from e2h_cli.inference.engines.base import SamplingParameters
from e2h_cli.inference.engines.transformers_engine import TransformersEngine
from e2h_cli.models.loading import load_generator
from e2h_cli.models.reward_formats import open_reward_model
from e2h_cli.models.reward_model import new_reward_model
from e2h_cli.rl import policy_update as learner_module
from e2h_cli.rl.policy_engine import refresh
from e2h_cli.rl.policy_models import Actors, load_actors
from e2h_cli.rl.policy_update import Batch, Learner, make_batch, token_logprobs, token_values
from e2h_cli.rl.rewards import Rewards, RewardShaping, differences
from e2h_cli.rl.rollouts import (
    Rollout,
    judge,
    open_store,
    read_solutions,
    rewards_of_tokens,
    step_tokens,
    write_solutions,
)
from e2h_cli.settings.rl import RLSettings
from tests import builders

QUESTIONS = [Problem(f"q{i}", f"a{i} b+4 c*2", 1, "", "", answer="1") for i in range(8)]
TEXTS = ["b=3+4=7\n\nc=7*2=4\n\n# Answer\n\n4", "b=1\n\n# Answer\n\n1", "", "b=2+4=6\n\nc=6*"]


def rollout(
    tokens: PreTrainedTokenizerFast, problem: Problem, text: str, finished: bool, rewards: Rewards
) -> Rollout:
    ids = tokens(text, add_special_tokens=False).input_ids
    ids = [*ids, tokens.eos_token_id] if finished else ids or [tokens.eos_token_id]
    return Rollout(
        problem, 0, text, finished, ids, template.parse(text, finished=finished), rewards=rewards
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    texts = [template.prompt(q.problem) for q in QUESTIONS] + TEXTS + ["0123456789+-*abc=#"]
    tokens = builders.tokenizer("character", texts)
    return builders.llama(tmp_path_factory.mktemp("policy"), tokens)


def made(model: Path, **changes: Any) -> tuple[Actors, Learner, RLSettings]:
    own = RLSettings(batch_size=64, learning_rate=1e-2, warmup=0.0, temperature=1.0, **changes)
    actors = load_actors(str(model), None, own)
    return actors, Learner(actors, own, updates=10), own


def some_rollouts(actors: Actors) -> list[Rollout]:
    rewards = [Rewards([0.1, -0.4], 0.7, 0, 0), Rewards([-0.2], 0.3, 0, 0),
               Rewards([], -1.0, 0, 0), Rewards([0.2], -0.6, 0, 0)]  # fmt: skip
    return [
        rollout(actors.tokenizer, q, text, i != 3, r)
        for i, (q, text, r) in enumerate(zip(QUESTIONS, TEXTS, rewards, strict=False))
    ]


def padded(actors: Actors, more: int) -> Batch:
    batch = make_batch(some_rollouts(actors), actors.tokenizer)
    for field in ("ids", "attention", "written", "rewards", "earned"):
        setattr(batch, field, torch.nn.functional.pad(getattr(batch, field), (0, more)))
    return batch


@pytest.mark.parametrize("algo", ["ppo", "grpo"])
def test_padding_changes_nothing(model: Path, algo: str) -> None:
    found = []
    for more in (0, 100):
        actors, learner, _ = made(model, algo=algo, whiten_rewards=algo == "ppo")
        metrics = learner.learn(padded(actors, more), 0)
        found.append((metrics, torch.cat([p.flatten() for p in actors.policy.parameters()])))
    for key, value in found[0][0].items():
        assert value == pytest.approx(found[1][0][key], rel=1e-4, abs=1e-6), key
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def naive_losses(
    actors: Actors, rollouts: list[Rollout], own: RLSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """PPO's two losses, one solution and one token at a time, as the formulas are written."""
    rows = []
    for r in rollouts:
        prompt = actors.tokenizer(template.prompt(r.problem.problem)).input_ids
        ids = torch.tensor([prompt + r.ids])
        logits = actors.policy(input_ids=ids).logits[0].log_softmax(-1)
        with torch.no_grad(), actors.reference() as reference:
            first = reference(input_ids=ids).logits[0].log_softmax(-1)
        values = actors.value(input_ids=ids).logits[0, :, 0]
        given = [0.0] * len(r.ids)
        for place, reward in rewards_of_tokens(r, actors.tokenizer):
            given[place] += reward
        row = []
        for k, token in enumerate(r.ids):
            before = len(prompt) + k - 1
            kl = (logits[before, token] - first[before, token]).item()
            row.append((logits[before, token], values[before], given[k] - own.kl_coef * kl))
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


def test_the_gradient_is_that_of_a_naive_loop(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner_module, "_MAX_NORM", 1e9)
    monkeypatch.setattr(Learner, "_fit_values", lambda *_: None)  # has a test of its own
    actors, learner, own = made(model, kl=0.1, batch_tokens=80)
    # The policy has moved away from its reference, and values are not all 0.
    with torch.no_grad():
        for p in [*actors.policy.parameters(), *actors.value.parameters()]:
            p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    rollouts = some_rollouts(actors)
    policy, value = naive_losses(actors, rollouts, own)
    wanted = {
        name: torch.autograd.grad(loss, [p for p in net.parameters() if p.requires_grad])
        for name, loss, net in (("policy", policy, actors.policy), ("value", value, actors.value))
    }
    for optimiser in learner.optimisers.values():
        monkeypatch.setattr(optimiser, "step", lambda: None)
        monkeypatch.setattr(optimiser, "zero_grad", lambda set_to_none: None)
    metrics = learner.learn(make_batch(rollouts, actors.tokenizer), 0)
    for name, net in learner.models().items():
        for found, expected in zip(
            (p.grad for p in net.parameters() if p.requires_grad), wanted[name], strict=True
        ):
            assert torch.allclose(found, expected, atol=1e-5), name
    assert metrics["value_loss"] == pytest.approx(value.item(), rel=1e-4)
    assert metrics["policy_loss"] == pytest.approx(policy.item(), abs=1e-5)


@pytest.mark.parametrize("algo", ["ppo", "grpo"])
def test_ending_is_learned(model: Path, algo: str) -> None:
    """Of two beginnings that are equal the one that ends is rewarded: it ends more often."""
    actors, learner, _ = made(model, algo=algo)
    text = "b=1\n\nc=2"
    ends = rollout(actors.tokenizer, QUESTIONS[0], text, True, Rewards([], 1.0, 0, 0))
    goes_on = rollout(actors.tokenizer, QUESTIONS[0], text + "+", False, Rewards([], 0.0, 0, 0))
    batch = make_batch([ends, goes_on], actors.tokenizer)

    def chance() -> float:
        with torch.no_grad():
            logprobs = token_logprobs(actors.policy, batch.ids, batch.attention, 1.0)
        return float(logprobs[0, batch.lengths[0] - 1].exp())

    before = chance()
    for step in range(3):
        learner.learn(batch, step)
    assert chance() > 1.2 * before


def test_low_rank_updates_are_merged_and_taken_away(model: Path) -> None:
    actors, learner, _ = made(model, lora=4)
    batch = make_batch(some_rollouts(actors), actors.tokenizer)
    with torch.no_grad():
        for name, p in actors.policy.named_parameters():
            if "lora_B" in name:
                p.normal_(std=0.1)
        adapted = token_logprobs(actors.policy, batch.ids, batch.attention, 1.0)
        with actors.reference() as reference:
            first = token_logprobs(reference, batch.ids, batch.attention, 1.0)
        plain = load_generator(str(model))
        assert torch.allclose(first, token_logprobs(plain, batch.ids, batch.attention, 1.0))
        _, weights = actors.whole_policy()
        plain.load_state_dict(weights)
        merged = token_logprobs(plain, batch.ids, batch.attention, 1.0)
    assert not torch.allclose(adapted, first, atol=1e-3)
    assert torch.allclose(adapted, merged, atol=1e-5)
    # The head of the value model is trained whole, and scaled to the returns.
    with torch.no_grad():
        head = actors.value.base_model.model.score.modules_to_save["default"]
        head.weight.normal_()
    before = head.weight.clone()
    learner.learn(batch, 0)
    assert not torch.allclose(head.weight, before, rtol=0.1)


def test_checkpointing_activations_changes_nothing(model: Path) -> None:
    found = []
    for on in (False, True):
        actors, learner, _ = made(model, gradient_checkpointing=on)
        batch = make_batch(some_rollouts(actors), actors.tokenizer)
        learner.learn(batch, 0)
        found.append(learner.learn(batch, 1))
    for key, value in found[0].items():
        assert value == pytest.approx(found[1][key], rel=1e-3, abs=1e-5), key


def test_values_begin_at_the_scale_of_returns(model: Path) -> None:
    actors, learner, _ = made(model, value_rate=1e-9)
    with torch.no_grad():
        actors.value.score.weight.normal_(std=20)
    batch = make_batch(some_rollouts(actors), actors.tokenizer)
    metrics = learner.learn(batch, 0)
    assert 0 <= metrics["explained_variance"] <= 1
    # What was fitted is in the model, not only in this step's numbers.
    again = learner.learn(batch, 1)
    assert again["explained_variance"] == pytest.approx(metrics["explained_variance"], abs=0.05)


def test_values_stand_before_their_tokens(model: Path) -> None:
    actors, _, _ = made(model)
    with torch.no_grad():
        for p in actors.value.parameters():
            p.add_(0.02)
        ids = torch.tensor([[5, 6, 7]])
        found = token_values(actors.value, ids, torch.ones_like(ids))
        whole = actors.value(input_ids=ids).logits[..., 0]
    assert found[0].tolist() == pytest.approx([0.0, float(whole[0, 0]), float(whole[0, 1])])


words = st.text("abc =+*\n", min_size=1, max_size=12)


@pytest.mark.parametrize("kind", builders.KINDS)
@given(st.lists(words, min_size=1, max_size=5), st.booleans())
@settings(max_examples=25, deadline=None)
def test_rewards_land_on_the_tokens_of_the_same_characters(
    kind: str, pieces: list[str], split: bool
) -> None:
    """Whatever reads the steps, the policy's reward stands where the step ends in its tokens."""
    tokens = TOKENIZERS.setdefault(kind, builders.tokenizer(kind))
    # Tokens as encoding gives them, or every character by itself, which a policy may draw, too.
    whole = "\n\n".join(pieces)
    drawn = whole if split else [whole]
    ids = [i for part in drawn for i in tokens(part, add_special_tokens=False).input_ids]
    text = tokens.decode(ids, skip_special_tokens=True)
    ids = [*ids, tokens.eos_token_id]
    parsed = template.parse(text)
    r = Rollout(QUESTIONS[0], 0, text, True, ids, parsed)
    closed = [s for s in parsed.steps if s.separator_end is not None]
    places = step_tokens(r, tokens)
    assert len(places) == len(closed)
    for step, place in zip(closed, places, strict=True):
        assert step.separator_end is not None
        # What is written up to that token holds the whole step, and one token less does not.
        upto = tokens.decode(ids[: place + 1], skip_special_tokens=True)
        assert len(upto) >= step.separator_end or place == len(ids) - 1
        if place:
            less = tokens.decode(ids[:place], skip_special_tokens=True)
            assert len(less) < step.separator_end


TOKENIZERS: dict[str, PreTrainedTokenizerFast] = {}


def test_a_policy_of_characters_learns_from_a_reward_model_of_word_pieces(
    model: Path, tmp_path: Path
) -> None:
    """Byte-level pairs on one side, characters on the other: the reward still rises."""
    torch.manual_seed(1)
    place = builders.llama(tmp_path / "base", builders.tokenizer("byte-bpe"))
    judge_model = new_reward_model(str(place), "prm")
    # A taste of its own: some texts it likes, others not.
    torch.nn.init.normal_(judge_model.score.weight, std=3.0)
    judge_model.save_pretrained(tmp_path / "rm")
    builders.tokenizer("byte-bpe").save_pretrained(tmp_path / "rm")
    reward = open_reward_model(str(tmp_path / "rm"))
    actors, learner, _ = made(model, kl=0.0)
    assert actors.tokenizer.get_vocab() != reward.tokenizer.get_vocab()
    engine = TransformersEngine(actors.policy, actors.tokenizer)
    shaping = RewardShaping("differences")
    means, placed = [], 0
    with get_grader("exact") as grader:
        for step in range(8):
            store = open_store(tmp_path / f"{step}.parquet", tmp_path / f"parts-{step}", "a")
            write_solutions(
                engine, QUESTIONS, 8, SamplingParameters(1.0, 0, max_tokens=24), step, store
            )
            store.merge(q.id for q in QUESTIONS)
            hidden = {q.id: q.hidden() for q in QUESTIONS}
            rollouts = read_solutions(tmp_path / f"{step}.parquet", hidden)
            judge(rollouts, grader, shaping, reward, 2048)
            for r in rollouts:
                # Steps are paid as they are scored; wherever it ends, the last score counts, since
                # nothing here writes whole solutions.
                steps = differences([*r.scores.steps, r.scores.outcome])
                r.rewards = Rewards(steps[:-1], steps[-1], 0, 0)
            placed += sum(len(r.rewards.steps) for r in rollouts)
            means.append(sum(r.rewards.total for r in rollouts) / len(rollouts))
            learner.learn(make_batch(rollouts, actors.tokenizer), step)
            refresh(engine, actors)
    assert sum(means[-2:]) > sum(means[:2]) + 0.2, means
    assert placed > 20


def test_the_released_code_takes_the_lowest_of_three_tokens(tmp_path: Path) -> None:
    """A reward model whose score is the number of the token says which tokens were read."""
    tokens = builders.tokenizer("character", ["abc\n# Answer0123"])
    config = LlamaConfig(
        vocab_size=len(tokens), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=1, num_labels=1, pad_token_id=0, max_position_embeddings=512,
    )  # fmt: skip
    net = LlamaForTokenClassification(config)
    reward = load_family_of(net, tokens)
    r = rollout(tokens, QUESTIONS[0], "ab\n\nc\n\n# Answer\n\n3", True, Rewards([], 0, 0, 0))
    with get_grader("exact") as grader:
        judge([r], grader, RewardShaping("paper", bound=0.5), reward, 4096)
        lowest = r.scores
        judge([r], grader, RewardShaping("minimum"), reward, 4096)
    reading = reward.encode(r.problem.problem, r.text, True)
    with torch.no_grad():
        values = net(input_ids=torch.tensor([reading.input_ids])).logits[0, :, 0].sigmoid()
    assert r.scores.steps == pytest.approx(
        [float(values[p]) for p in reading.step_positions], abs=1e-6
    )
    assert lowest.steps == pytest.approx(
        [float(values[p - 2 : p + 1].min()) for p in reading.step_positions], abs=1e-6
    )


def load_family_of(net: LlamaForTokenClassification, tokens: PreTrainedTokenizerFast) -> Any:
    """A model of ours that was never saved."""
    from e2h_cli.models.reward_formats import EncodedSolution, RewardModel
    from e2h_cli.models.token_spans import encode

    def read(question: str, text: str, finished: bool) -> EncodedSolution:
        encoded = encode(tokens, template.prompt(question), text, finished=finished)
        return EncodedSolution(encoded.input_ids, encoded.step_positions, encoded.outcome_position)

    return RewardModel(
        "e2h", "prm", tokens, net.eval().base_model, lambda x: net.score(x)[..., 0].sigmoid(),
        read, torch.device("cpu"),
    )  # fmt: skip
