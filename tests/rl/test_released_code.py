"""The preset ``paper`` beside the released code: its reading, rewards, padding and settings."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from e2h_cli.common.files import read_jsonl
from e2h_cli.data import template
from e2h_cli.data.problem import Problem
from e2h_cli.grading.verdict import Verdict
from e2h_cli.models.reward_formats import RewardModel, open_reward_model
from e2h_cli.models.reward_formats.llemma import (
    encode_llemma,
    encode_windows,
    scored_ends,
    window_positions,
)
from e2h_cli.pipeline import recipe as recipes
from e2h_cli.pipeline.recipe_file import find
from e2h_cli.rl.advantages import gae, whiten, whiten_rewards
from e2h_cli.rl.policy_models import load_policy_models
from e2h_cli.rl.ppo import PPOUpdater
from e2h_cli.rl.rewards import Rewards, format_cost, released_answer
from e2h_cli.rl.rollout_batch import Batch, make_batch
from e2h_cli.rl.rollout_scoring import score_rollouts, token_rewards
from e2h_cli.rl.rollouts import Rollout
from e2h_cli.settings.rl import PPOSettings
from tests import builders
from tests.conftest import DATA
from tests.rl.conftest import QUESTIONS, rollout


def preset(name: str, **changes: Any) -> PPOSettings:
    return PPOSettings.model_validate(PPOSettings.expand_preset({"preset": name, **changes}))


PAPER = preset("paper")
WHOLE = "ab\n\nc\n\n# Answer\n\n3"


@pytest.fixture(scope="module")
def characters() -> PreTrainedTokenizerFast:
    """Every character is a token, newlines too, as they are for Llemma."""
    rows = [row["text"] for _, row in read_jsonl(DATA / "golden/paper_rewards.jsonl")]
    prompts = [template.prompt(q.problem) for q in QUESTIONS]
    return builders.tokenizer("character", [*rows, *prompts, "0123456789", WHOLE])


class ByNumber:
    """A grader that takes the gold answer for the verdict."""

    name = version = "test"

    def grade(self, pairs: Any) -> list[Verdict]:
        return [Verdict("right" if gold == "yes" else "wrong", "") for gold, _ in pairs]

    def classes(self, answers: Any) -> list[int]:
        raise NotImplementedError


def reads(tokens: PreTrainedTokenizerFast, logits: dict[tuple[int, ...], list[float]]) -> Any:
    """A reward model that gives known logits to the tokens of known sequences."""

    def backbone(input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> Any:
        features = torch.zeros(*input_ids.shape, 1)
        for row, length in enumerate(attention_mask.sum(1).tolist()):
            known = logits[tuple(input_ids[row, :length].tolist())]
            features[row, :length, 0] = torch.tensor(known)
        return SimpleNamespace(last_hidden_state=features)

    return RewardModel(
        "llemma", "prm", tokens, backbone, lambda x: x[..., 0].sigmoid(),
        lambda *_: pytest.fail("the windows are read instead"), torch.device("cpu"),
    )  # fmt: skip


def scored(tokens: PreTrainedTokenizerFast, text: str, logits: list[float]) -> Rollout:
    """A finished rollout scored by a reward model with these logits at the text's characters."""
    problem = Problem("q", "a0 b+4 c*2", 1, "", "", answer=None)
    r = rollout(tokens, problem, text, True, Rewards([], 0.0, 0.0, 0.0))
    e = encode_windows(tokens, problem.problem, text, True)
    given = [9.0] * e.solution_start + logits + [-9.0]
    score_rollouts([r], ByNumber(), PAPER, reads(tokens, {tuple(e.input_ids): given}), 4096)
    return r


def test_all_rewards_of_the_released_code(characters: PreTrainedTokenizerFast) -> None:
    """600 solutions, from logits at tokens to rewards: read, graded and shaped.

    The logit of a step stands at one token of its window, in turn, and everything else is higher.
    """
    rows = [row for _, row in read_jsonl(DATA / "golden/paper_rewards.jsonl")]
    rollouts, known = [], {}
    for i, row in enumerate(rows):
        gold = {True: "yes", False: "no", None: None}[row["right"]]
        # Questions differ, so that no two sequences are equal.
        problem = Problem(str(i), f"a{i} b+4 c*2", 1, "", "", answer=gold)
        r = rollout(characters, problem, row["text"], True, Rewards([], 0.0, 0.0, 0.0))
        rollouts.append(r)
        e = encode_windows(characters, problem.problem, r.text, True)
        logits = [9.0] * len(e.input_ids)
        for k, logit in enumerate(row["step_logits"]):
            logits[e.step_positions[3 * k + (i + k) % 3]] = logit
        known[tuple(e.input_ids)] = logits
    score_rollouts(rollouts, ByNumber(), PAPER, reads(characters, known), 65536)
    differences: Counter[str] = Counter()
    for r, row in zip(rollouts, rows, strict=True):
        cost = format_cost(*released_answer(r.text))
        differences["format_cost"] += cost != row["format_cost"]
        differences["last_reward"] += r.rewards.last != pytest.approx(row["last_reward"], abs=1e-6)
        if r.rewards.steps != pytest.approx(row["step_rewards"], abs=1e-6):
            differences["step_rewards"] += 1
            # These values were made without the reading, which finds an empty first step.
            assert r.text.startswith("\n\n") and row["step_rewards"] == []
            assert r.rewards.steps == pytest.approx([1 / (1 + math.exp(4.44)) - 0.5 + 0.25])
    assert differences == {"format_cost": 0, "step_rewards": 71, "last_reward": 0}


def test_a_window_is_the_last_character_and_both_newlines() -> None:
    # Steps end at 3 and 6. First by characters; then with ".\n\n" as one token, with "\n\n" as one;
    # then with a word of several characters.
    text = "ab.\n\nc\n\n# Answer\n\n3"
    assert scored_ends(text) == [3, 6]
    each = [(i, i + 1) for i in range(len(text))]
    assert window_positions(each, [3, 6]) == [2, 3, 4, 5, 6, 7]
    merged = [(0, 2), (2, 5), (5, 6), (6, 8), (8, 16), (16, 18), (18, 19)]
    assert window_positions(merged, [3, 6]) == [1, 1, 1, 2, 3, 3]
    words = [(0, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 19)]
    assert window_positions(words, [3, 6]) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (WHOLE, ["ab", "c"]),
        ("ab\n\nc\n\nde", ["ab"]),  # unfinished: the last two pieces
        ("ab\n\nc", []),
        ("ab", []),
        (WHOLE + "\n\nmore", ["ab", "c", "# Answer"]),  # text after the answer
        ("ab\n\n\nc\n\n# Answer\n\n3", ["ab", "\nc"]),  # the third newline is the next step's
        ("ab\n\n\n\nc\n\n# Answer\n\n3", ["ab", "", "c"]),  # four newlines are an empty step
        ("a\nb\n\n# Answer\n\n3", ["a\nb"]),  # one newline ends no step
    ],
)
def test_which_steps_are_scored(text: str, steps: list[str]) -> None:
    ends = scored_ends(text)
    begins = [0, *(end + 2 for end in ends)]
    assert [text[a:b] for a, b in zip(begins, ends, strict=False)] == steps


def released_reading(ids: list[int], start: int, newline: int) -> list[tuple[int, list[int]]]:
    """(first newline, window) of each scored step, on tokens alone, after the released code.

    From the left, two newline tokens end a piece; the last two pieces are not scored.
    """
    found, position = [], start
    while position + 1 < len(ids):
        if ids[position] == ids[position + 1] == newline:
            found.append((position, [position - 1, position, position + 1]))
            position += 2
        else:
            position += 1
    return found[:-1]


@given(st.lists(st.sampled_from(["a", "bc", " ", "\n", "\n\n", "\n\n# Answer\n\n", "$3$"])))
@settings(max_examples=200, deadline=None)
def test_reading_by_characters_is_reading_by_tokens(
    characters: PreTrainedTokenizerFast, pieces: list[str]
) -> None:
    text = "".join(pieces)
    e = encode_windows(characters, "a0 b+4", text, False)
    newline = characters("\n", add_special_tokens=False).input_ids[0]
    expected = released_reading(e.input_ids, e.solution_start, newline)
    assert e.step_positions == [p for _, window in expected for p in window]


@pytest.mark.parametrize("kind", [k for k in builders.KINDS if k != "wordpiece"])
def test_windows_of_other_tokenizers(kind: str) -> None:
    tokens = builders.tokenizer(kind)
    text = "We add.\n\nSo 1 + 2 = 3.\n\n# Answer\n\n3"
    e = encode_windows(tokens, "What is 1 + 2?", text, True)
    assert len(e.step_positions) == 6
    for k, end in enumerate(scored_ends(text)):
        before, first, second = e.step_positions[3 * k : 3 * k + 3]
        assert e.solution_start <= before <= first <= second <= before + 2
        # One token less, and the character is not written yet.
        for token, character in ((before, end - 1), (first, end), (second, end + 1)):
            written = [len(tokens.decode(e.input_ids[e.solution_start : t])) for t in
                       (token, token + 1)]  # fmt: skip
            assert written[0] <= character < written[1]


def test_a_released_reward_model_is_read_at_the_window(tmp_path: Path) -> None:
    tokens = builders.reward_tokenizer("character")
    path = builders.reward_model(tmp_path, AutoModelForCausalLM, tokens)
    reward = open_reward_model(path, "llemma")
    r = rollout(tokens, QUESTIONS[0], "We add.\n\nSo.\n\n# Answer\n\n3", True, Rewards([], 0, 0, 0))
    score_rollouts([r], ByNumber(), PAPER, reward, 4096)
    e = encode_windows(tokens, QUESTIONS[0].problem, r.text, True)
    model = AutoModelForCausalLM.from_pretrained(path)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([e.input_ids])).logits[0].mean(-1)
    start = e.solution_start
    expected = [logits[start + a : start + a + 3].min().sigmoid() for a in (6, 11)]
    assert r.scores.steps == pytest.approx([float(x) for x in expected], abs=1e-6)


@pytest.mark.parametrize("text", ["ab\n\nc", "ab\nc", "ab\n"])
def test_a_step_near_the_end_is_read_at_its_first_newline(
    characters: PreTrainedTokenizerFast, text: str
) -> None:
    for length in range(1, 20):
        e = encode_llemma(characters, "a" * length, text, True)
        assert e.step_positions == [e.solution_start + 2], length


def test_short_first_steps_and_unfinished_texts(characters: PreTrainedTokenizerFast) -> None:
    # "a", then "s1": a first step of one token has the logit -4.44 whatever the model says.
    text = "s\n\ns1\n\n# Answer\n\n5"
    r = scored(characters, text, [9.0] * len(text))
    low = 1 / (1 + math.exp(4.44))
    assert r.scores.steps == pytest.approx([low, 1.0], abs=1e-3)
    assert r.rewards.steps == pytest.approx([low - 0.5 + 0.125, 0.125], abs=1e-6)
    # An unfinished text: "s1" is scored, the next two are not, and there is no answer.
    text = "s1\n\ns2\n\ns3"
    r = scored(characters, text, [-9.0 if c == "2" else 9.0 for c in text])
    assert r.rewards.steps == pytest.approx([0.25])
    assert r.rewards.last == pytest.approx(0.25 - 1.0)


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("one\n\nSo \\boxed{7}.\n\n# Answer\n\n7", 0.0),
        ("So \\boxed{7}.\n\none\n\n# Answer\n\n7", 0.0),
        ("one\n\nSo $7$.\n\n# Answer\n\n7", 0.5),
        ("one\n\nSo $7.$\n\n# Answer\n\n7", 0.5),
        ("one\n\nSo 7.\n\n# Answer\n\n7", 0.75),
        ("So 7.\n\none\n\n# Answer\n\n7", 1.0),
        ("one\n\nSo \\boxed{7}.\n\n# Answer\n\n7\n\nmore", 1.0),
        ("one\n\nSo 7.\n\n# Answer\n\n ", 1.0),
        ("one\n\nSo 7.", 1.0),
    ],
)
def test_the_form_of_an_answer(text: str, cost: float) -> None:
    assert format_cost(*released_answer(text)) == cost


def test_a_step_is_paid_at_both_newlines(characters: PreTrainedTokenizerFast) -> None:
    r = rollout(characters, QUESTIONS[0], WHOLE, True, Rewards([0.2, -0.4], 1.0, 0, 0))
    r.reward_characters = [(end, end + 1) for end in scored_ends(WHOLE)]
    assert token_rewards(r, characters) == [
        (2, 0.1), (3, 0.1), (5, -0.2), (6, -0.2), (len(WHOLE), 1.0)
    ]  # fmt: skip


def test_padding_counts(characters: PreTrainedTokenizerFast) -> None:
    """Statistics, returns and advantages of two solutions by hand, on 24 positions each."""
    short = rollout(characters, QUESTIONS[0], WHOLE, True, Rewards([0.2, -0.4], 1.0, 0, 0))
    cut = rollout(characters, QUESTIONS[1], "s1\n\ns2", False, Rewards([], -0.75, 0, 0))
    nothing = rollout(characters, QUESTIONS[2], "", True, Rewards([], -0.5, 0, 0))
    width = 24
    batch = make_batch([short, cut, nothing], characters, width)
    assert batch.return_mask.sum(1).tolist() == [width] * 3
    # End-of-text is no sampled token; the last reward stands on the last character before it.
    assert batch.completion_mask.sum(1).tolist() == [len(WHOLE), 6, 0]
    starts = [len(characters(template.prompt(q.problem)).input_ids) for q in QUESTIONS[:3]]
    rewards = torch.stack(
        [batch.rewards[i, start : start + width] for i, start in enumerate(starts)]
    )
    assert rewards[0].nonzero().flatten().tolist() == [3, 6, len(WHOLE) - 1]
    assert rewards[1].nonzero().flatten().tolist() == [5]
    assert rewards[2].nonzero().flatten().tolist() == [width - 1]
    x = rewards.double()
    expected = (x - x.mean()) / (x.std(unbiased=False) + 1e-8) + x.mean()
    found = whiten_rewards(batch.rewards, batch.return_mask, "keep-mean")
    for i, start in enumerate(starts):
        inside = found[i, start : start + width].tolist()
        assert inside == pytest.approx(expected[i].tolist(), abs=1e-5)
    values = torch.full_like(found, 0.3) * batch.return_mask
    advantages, returns = gae(found, values, batch.return_mask, 1.0, 1.0)
    for i, start in enumerate(starts):
        to_come = expected[i].flip(0).cumsum(0).flip(0)
        inside = returns[i, start : start + width].tolist()
        assert inside == pytest.approx(to_come.tolist(), abs=1e-4)
    whole = whiten(advantages, batch.return_mask)[batch.return_mask.bool()]
    assert float(whole.mean()) == pytest.approx(0, abs=1e-5)
    assert float(whole.var(unbiased=False)) == pytest.approx(1, abs=1e-5)


def test_whitening_by_hand() -> None:
    # Four positions: mean 0.25 and standard deviation sqrt(3)/4. At a position without a reward
    # there is 0.25 - 1/sqrt(3), and at the one with reward 1 there is 0.25 + sqrt(3).
    x = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    found = whiten_rewards(x, torch.ones(2, 2), "keep-mean").flatten().tolist()
    none = 0.25 - 1 / math.sqrt(3)
    assert found == pytest.approx([none, 0.25 + math.sqrt(3), none, none], abs=1e-6)


@pytest.fixture
def updater(characters: PreTrainedTokenizerFast, tmp_path: Path) -> PPOUpdater:
    torch.manual_seed(0)
    model = builders.llama(tmp_path, characters)
    sizes: dict[str, Any] = {"rollout_batch_size": 4, "batch_size": 4, "max_tokens": 24}
    own = preset("paper", **sizes, precision="fp32", freeze=False, learning_rate=1e-3)
    return PPOUpdater(load_policy_models(str(model), None, own), own)


def a_batch(updater: PPOUpdater, tokens: PreTrainedTokenizerFast) -> Batch:
    many = [
        rollout(tokens, QUESTIONS[0], WHOLE, True, Rewards([0.2, -0.4], 1.0, 0, 0)),
        rollout(tokens, QUESTIONS[1], "s1\n\ns2", True, Rewards([], -0.75, 0, 0)),
    ]
    return make_batch(many, tokens, updater.settings.padded_length)


def test_the_losses_are_those_of_padded_completions(
    updater: PPOUpdater, characters: PreTrainedTokenizerFast
) -> None:
    """Both gradients, against the formulas of the released code on rows of 24 positions."""
    models, batch = updater.models, a_batch(updater, characters)
    with torch.no_grad():
        for p in models.value.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    width = updater.settings.max_tokens
    policy_loss, value_loss = torch.zeros(()), torch.zeros(())
    starts = [len(characters(template.prompt(q.problem)).input_ids) for q in QUESTIONS[:2]]
    rows = [batch.ids[i, : s + width][None] for i, s in enumerate(starts)]
    raw = torch.stack([batch.rewards[i, s : s + width] for i, s in enumerate(starts)])
    rewards = (raw - raw.mean()) / (raw.std(unbiased=False) + 1e-8) + raw.mean()
    returns = rewards.flip(1).cumsum(1).flip(1)
    values = torch.cat([models.value(input_ids=row).logits[:, s - 1 : -1, 0]
                        for row, s in zip(rows, starts, strict=True)])  # fmt: skip
    advantages = returns - values.detach()
    advantages = (advantages - advantages.mean()) / advantages.std(unbiased=False)
    for i, (row, s) in enumerate(zip(rows, starts, strict=True)):
        logprobs = (models.policy(input_ids=row).logits[0] / 0.7).log_softmax(-1)
        chosen = logprobs[s - 1 : -1].gather(-1, row[0, s:, None])[:, 0]
        text = batch.completion_mask[i, s : s + width]
        policy_loss = (
            policy_loss - (torch.exp(chosen - chosen.detach()) * advantages[i] * text).sum()
        )
        value_loss = value_loss + 0.5 * ((values[i] - returns[i]) ** 2).sum()
    losses = {"policy": policy_loss / (2 * width), "value": 0.1 * value_loss / (2 * width)}
    expected = {}
    for name, loss in losses.items():
        gradients = torch.autograd.grad(loss, list(models.trained[name].parameters()))
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        expected[name] = torch.cat([(g / max(1.0, norm)).flatten() for g in gradients])
    with builders.gradients() as found:
        updater.update(batch, 0)
    for gradient, name in zip(found, updater.optimizers, strict=True):
        assert torch.allclose(gradient, expected[name], atol=1e-5), name


def test_the_value_model_starts_from_a_released_reward_model(tmp_path: Path) -> None:
    tokens = builders.reward_tokenizer("character")
    path = builders.reward_model(tmp_path, AutoModelForCausalLM, tokens)
    own = preset("paper", precision="fp32", family="llemma")
    ids = torch.tensor([tokens("We add.").input_ids])
    with torch.no_grad():
        found = load_policy_models(path, path, own).value(input_ids=ids).logits[..., 0]
        expected = AutoModelForCausalLM.from_pretrained(path)(input_ids=ids).logits.mean(-1)
    torch.testing.assert_close(found, expected)


def test_end_of_text_is_not_trained(
    updater: PPOUpdater, characters: PreTrainedTokenizerFast
) -> None:
    batch = a_batch(updater, characters)
    eos = characters.eos_token_id
    assert not (batch.ids == eos).any()
    mended = make_batch(
        [rollout(characters, QUESTIONS[0], WHOLE, True, Rewards([0.2, -0.4], 1.0, 0, 0))],
        characters, preset("paper-mended").padded_length,
    )  # fmt: skip
    assert (mended.ids[mended.completion_mask.bool()] == eos).sum() == 1


def test_policy_and_value_model_have_the_same_adam(updater: PPOUpdater) -> None:
    assert set(updater.optimizers) == {"policy", "value"}
    for optimizer in updater.optimizers.values():
        [group] = optimizer.param_groups
        assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.95), 1e-5, 0.0)


def test_every_setting_of_the_released_code() -> None:
    """The arguments of the released command on PRM800K, by the names that e2h has for them."""
    released = {
        "rollout_batch_size": 512, "batch_size": 64, "update_epochs": 1, "learning_rate": 2e-5,
        "warmup_ratio": 5 / 500, "min_lr_ratio": 0.01, "adam_beta2": 0.95, "temperature": 0.7,
        "top_k": 50, "max_tokens": 768, "kl_coef": 0.01, "kl_estimator": "k1-clamped",
        "whiten_rewards": "keep-mean", "count_padding": True, "gamma": 1.0, "gae_lambda": 1.0,
        "clip_range": 0.2, "value_clip_range": 0.2, "vf_coef": 0.1, "value_lr_multiplier": 1.0,
        "fit_value_head": False, "eval_steps": 10, "checkpoint_rule": "paper",
        "grader": "official", "shaping": "paper", "reward_upper_bound": 0.5, "step_bonus": 0.25,
        "step_reward_scale": 1.0, "answer_reward": 1.0, "unknown_answer_reward": 0.25,
        "format_penalty": -1.0, "freeze": True, "precision": "bf16", "steps": 500,
        "num_generations": 1, "lora_rank": 0, "questions": "all", "answers": "easy",
    }  # fmt: skip
    assert {name: getattr(PAPER, name) for name in released} == released
    mended = {name: getattr(preset("paper-mended"), name) for name in released}
    assert {name for name in released if mended[name] != released[name]} == {
        "shaping", "kl_estimator", "whiten_rewards", "count_padding", "fit_value_head", "top_k",
        "grader", "checkpoint_rule",
    }  # fmt: skip


def test_table2_at_paper_scale_is_the_papers() -> None:
    stages = recipes.load(find("table2"), "paper").stages
    # Without what no result depends on, and what tells the rows apart.
    own = {"seed", "questions", "answers", "shaping", "micro_batch_size"}
    human = PAPER.model_dump(exclude=own)
    # Paper p.20, MetaMath.
    automatic = human | {
        "batch_size": 256, "learning_rate": 5e-6, "kl_coef": 0.002, "temperature": 1.2
    }  # fmt: skip
    rows = {"rl": human, "ppo-prm-automatic": automatic}
    for data in ("easy", "hard", "all"):
        rows |= {f"ppo-{data}-human": human, f"ppo-{data}-automatic": automatic}
    for name, expected in rows.items():
        assert stages[name].settings.model_dump(exclude=own) == expected, name
        shaping = "paper" if name in ("rl", "ppo-prm-automatic") else "none"
        assert stages[name].settings.model_dump()["shaping"] == shaping
    both = {"grader": "prm800k", "checkpoint_rule": "paper", "adam_beta2": 0.999}
    rest_em = {
        **both, "num_generations": 32, "temperature": 1.0, "top_k": 40, "iterations": 2,
        "max_correct_per_problem": 10, "epochs": 3, "batch_size": 128, "learning_rate": 2e-5,
        "warmup_ratio": 0.0667, "min_lr_ratio": 0.01, "max_length": 768,
    }  # fmt: skip
    dpo = {
        **both, "num_generations": 8, "temperature": 1.0, "top_k": 20, "iterations": 5,
        "min_score_gap": 1.0, "max_pairs_per_problem": 3, "beta": 0.1, "epochs": 1,
        "batch_size": 64, "learning_rate": 2e-6, "warmup_ratio": 0.2, "min_lr_ratio": 0,
    }  # fmt: skip
    # Of MetaMath p.19: the temperature, and the settings of SFT.
    rest_em_automatic = rest_em | {"temperature": 1.2, "learning_rate": 8e-6, "max_length": 1024}
    checked = 0
    for name, stage in stages.items():
        ours = rest_em_automatic if name.endswith("automatic") else rest_em
        for algo, values in (("rest-em", ours), ("dpo", dpo)):
            if name.startswith(algo):
                found = stage.settings.model_dump()
                assert {key: found[key] for key in values} == values, name
                checked += 1
    assert checked == 12
    for name in ("votes-human", "votes-automatic", "table2"):
        assert stages[name].settings.model_dump()["grader"] == "prm800k"
